"""Backends by name: the nearest one on a typo, the pip line for one that is missing."""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from edgeseg.backends import BACKENDS, EXTRAS, backend, preferred, why_not
from edgeseg.backends.floats import float_runner
from edgeseg.errors import MissingPackage, UsageError
from tests.networks import picture, pixels_of
from tests.oracle import run


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> object:
    """Make packages look as if they were not installed."""

    def hide(*packages: str) -> None:
        for name in [*sys.modules]:
            if name.partition(".")[0] in packages:
                monkeypatch.delitem(sys.modules, name)
            if name in {f"edgeseg.backends.{package}" for package in packages}:
                monkeypatch.delitem(sys.modules, name)
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    return hide


@pytest.mark.parametrize(
    ("typo", "near"),
    [("onnxrutime", "onnxruntime"), ("tensort", "tensorrt"), ("open-vino", "openvino")],
)
def test_a_typo_is_answered_with_the_nearest_name(typo: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"no backend '{typo}'") as caught:
        backend(typo)
    assert f"did you mean '{near}'?" in caught.value.fix
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("openvino", "pip install 'edgeseg[openvino]'"),
        ("onnxruntime", "pip install 'edgeseg[ort]'"),
    ],
)
def test_a_missing_package_is_named_with_its_pip_line(
    name: str, line: str, without: object
) -> None:
    without(name)
    with pytest.raises(MissingPackage, match=f"'{name}', which is not installed") as caught:
        backend(name)
    assert caught.value.fix == line
    assert caught.value.exit_code == 3
    assert line in str(why_not(name))


def test_every_extra_of_a_backend_is_one_that_pip_knows(root: Path) -> None:
    tomllib = pytest.importorskip("tomllib")
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(EXTRAS) == set(BACKENDS)
    assert set(EXTRAS.values()) <= set(extras)


@pytest.mark.needs("openvino", "onnxruntime")
@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is here")
def test_auto_prefers_openvino_then_onnx_runtime_and_never_null(without: object) -> None:
    assert preferred() == "openvino"
    without("openvino")
    assert preferred() == "onnxruntime"
    assert backend("auto").__name__ == "edgeseg.backends.onnxruntime"
    without("onnxruntime")
    with pytest.raises(MissingPackage, match="no backend is installed") as caught:
        backend("auto")
    assert "pip install" in caught.value.fix


def test_null_needs_nothing() -> None:
    assert why_not("null") is None


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is here")
def test_tensorrt_without_its_package_says_where_it_comes_from() -> None:
    with pytest.raises(MissingPackage, match="'tensorrt', which is not installed") as caught:
        backend("tensorrt")
    assert "JetPack" in caught.value.fix


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ('__version__ = "10.3.0"', "is not NVIDIA's"),
        ("raise ImportError('libnvinfer.so.10: cannot open shared object file')", "libnvinfer"),
        ("raise FileNotFoundError('Could not find: libnvinfer.so.10')", "libnvinfer"),
    ],
)
def test_tensorrt_that_cannot_be_loaded_is_a_missing_package(
    tmp_path: Path, package: str, said: str
) -> None:
    """In a process of its own, with a stand-in for the package."""
    (tmp_path / "tensorrt.py").write_text(package)
    code = (
        "from edgeseg.backends import backend, preferred\n"
        "from edgeseg.errors import MissingPackage\n"
        "try:\n"
        "    backend('tensorrt')\n"
        "except MissingPackage as error:\n"
        "    print(error.problem, '|', error.fix, '|', preferred())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{Path.cwd()}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=True,
    )
    problem, fix, other = done.stdout.strip().split(" | ")
    assert said in problem
    assert "python3-libnvinfer" in fix
    assert other in {"openvino", "onnxruntime"}


@pytest.mark.needs("openvino", "onnxruntime")
@pytest.mark.parametrize("hidden", [(), ("openvino",)])
def test_float_graphs_run_on_either_package(
    core: ModelProto, hidden: tuple[str, ...], without: object
) -> None:
    without(*hidden)
    run_float = float_runner(core.SerializeToString())
    feeds: Mapping[str, np.ndarray] = {"pixels": pixels_of(picture())}
    found = run_float(feeds)
    wanted = run(core, dict(feeds))
    assert list(found) == ["logits"]
    np.testing.assert_allclose(found["logits"], wanted, atol=1e-4 * np.abs(wanted).max())


def test_float_graphs_without_either_package_are_refused(core: ModelProto, without: object) -> None:
    without("openvino", "onnxruntime")
    with pytest.raises(MissingPackage, match="needs OpenVINO or ONNX Runtime"):
        float_runner(core.SerializeToString())
