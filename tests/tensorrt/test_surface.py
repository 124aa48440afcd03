"""The recorded surfaces are what NVIDIA's bindings have."""

import json
from pathlib import Path

import pytest

from tests.tensorrt.surface import VERSIONS, parameters, surface


@pytest.mark.parametrize("version", VERSIONS)
def test_surface_agrees_with_an_independent_recording(version: str, shared: Path) -> None:
    other = json.loads((shared / "tensorrt_api" / f"{version}.json").read_text())
    ours = surface(version)
    assert ours.version == other["version"]
    assert ours.constants == tuple(other["constants"])
    severity = {"ILogger.Severity": other["classes"]["ILogger"]["nested"]["Severity"]["members"]}
    enums = other["enums"] | severity
    assert ours.enums == {name: enums[name] for name in ours.enums}
    for name, known in ours.classes.items():
        found = other["classes"][name]
        assert set(known.methods) <= set(found.get("methods", {})), name
        settable = {key: item["rw"] for key, item in found.get("properties", {}).items()}
        assert {k: text.endswith("rw") for k, text in known.properties.items()} == {
            key: settable[key] for key in known.properties
        }


@pytest.mark.parametrize("version", VERSIONS)
def test_every_signature_can_be_read(version: str) -> None:
    for name, known in surface(version).classes.items():
        for method, signatures in known.methods.items():
            for signature in signatures:
                for item in parameters(signature):
                    assert item.name.isidentifier(), f"{name}.{method}{signature}"


def test_parameters_have_names_types_and_defaults() -> None:
    given = parameters("(shape: list[tuple[int, str]], s: S = <S.A: 0>, path: str = None) -> bool")
    assert [(item.name, item.kind, item.default) for item in given] == [
        ("shape", "list[tuple[int, str]]", None),
        ("s", "S", "<S.A: 0>"),
        ("path", "str", "None"),
    ]
    assert parameters("() -> None") == ()


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        ("IProgressMonitor", VERSIONS[1:]),
        ("BuilderFlag.FP16", VERSIONS[:-1]),
        ("IInt8EntropyCalibrator2.get_batch_size", VERSIONS[:-1]),
        ("NetworkDefinitionCreationFlag.EXPLICIT_BATCH", VERSIONS[:-1]),
        ("ICudaEngine.device_memory_size_v2", VERSIONS[1:]),
        ("ICudaEngine.get_tensor_name", VERSIONS),
        ("Logger.Severity", VERSIONS),
        ("OnnxParserFlag.ADJUST_FOR_DLA", VERSIONS[-2:]),
        ("ICudaEngine.num_bindings", ()),
    ],
)
def test_surface_says_which_versions_have_a_name(name: str, versions: tuple[str, ...]) -> None:
    assert tuple(version for version in VERSIONS if surface(version).has(name)) == versions
