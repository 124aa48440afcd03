"""The layers of a plan, asked of the TensorRT that made it."""

import importlib
from pathlib import Path

import onnx
import pytest

from edgeseg.backends.layers import Layer
from edgeseg.backends.plans import packed, unpacked
from edgeseg.errors import EngineMismatch
from edgeseg.types import CompileOptions, Precision
from tests.tensorrt.conftest import Installed
from tests.tensorrt.small_graphs import written

pytestmark = pytest.mark.needs("onnx", "onnxruntime")


def on(version: str, **board: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("trt", [(version, board)], indirect=True, ids=[version])


def compiled(trt: Installed, folder: Path, **options: object) -> bytes:
    kind = trt.module.dialect().replace("wide", "int8")
    plan: bytes = trt.module.compile(
        written(folder, kind), CompileOptions(precision=Precision.INT8, **options)
    )  # type: ignore[arg-type]
    return plan


def layers_of(plan: bytes) -> list[Layer]:
    module = importlib.import_module("edgeseg.backends.tensorrt.layers")
    found: list[Layer] = module.layers(plan)
    return found


def test_every_convolution_is_in_a_layer_that_says_its_type(trt: Installed, tmp_path: Path) -> None:
    plan = compiled(trt, tmp_path)
    (path,) = tmp_path.glob("*.onnx")
    wanted = {n.name for n in onnx.load(path).graph.node if n.op_type == "Conv"}

    found = layers_of(plan)

    kinds = {node: layer.precision for layer in found for node in layer.nodes}
    assert wanted <= kinds.keys()
    assert None not in {kinds[name] for name in wanted}
    assert all(layer.name and layer.kind and layer.output for layer in found)
    if trt.gpu is not None:
        assert trt.gpu.leaks() == []


@on("10.3.0")
def test_an_altered_plan_never_reaches_tensorrt(trt: Installed, tmp_path: Path) -> None:
    header, body = unpacked(compiled(trt, tmp_path))

    with pytest.raises(EngineMismatch, match="altered"):
        layers_of(packed(header, body[:-1]))

    assert trt.fake.deserialized == 0


@on("10.3.0")
def test_a_plan_that_tensorrt_refuses_is_said_in_its_words(trt: Installed, tmp_path: Path) -> None:
    plan = compiled(trt, tmp_path)
    gpu = trt.gpu
    assert gpu is not None
    gpu.compute_capability = (5, 3)

    with pytest.raises(EngineMismatch, match="incompatible device"):
        layers_of(plan)

    assert gpu.leaks() == []


@on("10.3.0")
def test_a_plan_for_later_versions_is_read_too(trt: Installed, tmp_path: Path) -> None:
    assert layers_of(compiled(trt, tmp_path, version_compatible=True))
