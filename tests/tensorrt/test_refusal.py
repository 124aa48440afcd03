"""What TensorRT does not take or build, in its own words and with what to do about it."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

from edgeseg.errors import BuildError
from edgeseg.graph.frame import frame_graph
from edgeseg.graph.quantize import quantized
from edgeseg.graph.typed import typed
from edgeseg.types import CompileOptions, Precision
from tests.networks import small_graph
from tests.tensorrt.conftest import Installed
from tests.tensorrt.running import on
from tests.tensorrt.small_graphs import SPEC, broken, written

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim")

INT8 = CompileOptions(precision=Precision.INT8)
NO_KERNEL = "Error Code 10: Internal Error (Could not find any implementation for node "


def test_an_operator_that_the_parser_lacks_is_named_with_its_node(
    trt: Installed, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match=r'"middle/odd" \(Unique\)') as caught:
        trt.module.compile(broken(tmp_path, "Unique", "middle/odd"), CompileOptions())
    assert "edgeseg lint" in caught.value.fix
    assert "--backend openvino" in caught.value.fix


@on("10.16.1.11")
def test_many_refused_nodes_are_counted_and_not_all_quoted(trt: Installed, tmp_path: Path) -> None:
    model = onnx.load(written(tmp_path, "float"))
    for node in model.graph.node:
        node.op_type = "Unique"
    count = len(model.graph.node)
    (tmp_path / "graph.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BuildError, match=rf"(?s)Unique.*and {count - 8} more") as caught:
        trt.module.compile(tmp_path / "graph.onnx", CompileOptions())
    assert caught.value.problem.count("(Unique)") == 8


@on("10.3.0")
def test_a_file_that_is_no_graph_is_a_build_error(trt: Installed, tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(BuildError, match="Failed to parse"):
        trt.module.compile(path, CompileOptions())


@on("8.6.1")
def test_a_refused_build_carries_the_words_of_tensorrt(trt: Installed, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="networks with Q/DQ layers need the INT8 flag"):
        trt.module.compile(written(tmp_path, "int8"), CompileOptions())


def enlarging(*, per_tensor_deconv: bool) -> ModelProto:
    """The frame graph of a network that is one ConvTranspose in INT8."""
    weight = np.random.default_rng(0).normal(size=(3, 5, 2, 2)).astype(np.float32)
    nodes = [
        helper.make_node("ConvTranspose", ["pixels", "w"], ["logits"], "decoder/up", strides=[2, 2])
    ]
    core = small_graph(nodes, {"w": weight}, shape=(1, 3, 24, 32), out=(1, 5, 48, 64))
    core = quantized(core, {"pixels": 4.0}, per_tensor_deconv=per_tensor_deconv)
    return frame_graph(core, SPEC)


@pytest.mark.parametrize(
    "trt", [("8.6.1", {}), ("11.4.0.106", {})], indirect=True, ids=["8.6.1", "11.4"]
)
def test_a_deconvolution_without_a_kernel_is_named_with_what_keeps_it_in_float(
    trt: Installed, tmp_path: Path
) -> None:
    wide = trt.module.dialect() == "wide"
    path = tmp_path / ("graph.onnx" if wide else "graph.typed.onnx")
    for per_tensor in (True, False):
        graph = enlarging(per_tensor_deconv=per_tensor)
        path.write_bytes((graph if wide else typed(graph)).SerializeToString())
        if per_tensor:
            assert trt.module.compile(path, INT8)
            continue
        with pytest.raises(BuildError, match=r"implementation for node .*decoder/up") as caught:
            trt.module.compile(path, INT8)
        assert "--keep-fp16 decoder/up" in caught.value.fix


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        (f"{NO_KERNEL}w + w_dq + up one.)", "--keep-fp16 'up one',"),
        (f"{NO_KERNEL}down.)\n{NO_KERNEL}up one.)", "--keep-fp16 down --keep-fp16 'up one',"),
        (f"{NO_KERNEL}{{ForeignNode[down...up one]}}.)", "edgeseg lint"),
        (f"{NO_KERNEL}down due to insufficient workspace. See verbose log.)", "larger --workspace"),
        ("Error Code 4: Internal Error (down: shape mismatch)", "edgeseg lint"),
    ],
)
@on("10.3.0")
def test_the_fix_goes_by_what_tensorrt_says(trt: Installed, line: str, fix: str) -> None:
    refusal = importlib.import_module("edgeseg.backends.tensorrt.refusal")
    log = importlib.import_module("edgeseg.backends.tensorrt.log").LOG
    kinds = {"down": "CONVOLUTION", "relu": "ACTIVATION", "up one": "DECONVOLUTION"}
    layers = [SimpleNamespace(name=n, type=SimpleNamespace(name=k)) for n, k in kinds.items()]
    network = SimpleNamespace(num_layers=len(layers), get_layer=lambda index: layers[index])
    log.clear()
    log.log(trt.tensorrt.ILogger.Severity.ERROR, line)

    found = refusal.unbuilt(network, "graph.onnx", int8=True)

    assert fix in found.fix
    assert line in found.problem
    assert "--keep-fp16" not in refusal.unbuilt(network, "graph.onnx", int8=False).fix
