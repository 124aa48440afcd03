"""What a DLA without Q/DQ is given: graph and cache fit each other and the folder."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from edgeseg.calibration import check_fits
from edgeseg.dla import dla_parts
from edgeseg.errors import EngineMismatch, UsageError
from edgeseg.ranges import read_ranges

pytestmark = pytest.mark.needs("onnx", "onnxsim", "openvino", "onnxruntime")


@pytest.fixture(scope="module")
def parts(small_int8: Path) -> tuple[bytes, dict[str, float]]:
    """The graph, and the scales as TensorRT reads them."""
    graph, cache, _ = dla_parts(small_int8, "10.3.0")
    header, *lines = cache.decode().splitlines()
    assert header == "TRT-100300-EntropyCalibration2"
    pairs = (line.rsplit(": ", 1) for line in lines)
    return graph, {name: struct.unpack(">f", bytes.fromhex(text))[0] for name, text in pairs}


def test_every_float_tensor_that_a_frame_changes_has_a_scale_and_nothing_else(
    parts: tuple[bytes, dict[str, float]],
) -> None:
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(parts[0]))
    floats = {
        value.name
        for value in (*model.graph.value_info, *model.graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    moved = {"frame"}
    for node in model.graph.node:
        if moved.intersection(node.input):
            moved.update(node.output)

    assert parts[1].keys() == floats & moved


def test_scales_are_those_of_the_ranges(
    parts: tuple[bytes, dict[str, float]], small_int8: Path
) -> None:
    ranges = read_ranges(small_int8 / "ranges.json").tensors

    assert parts[1]["bytes"] == pytest.approx(255 / 127)
    for name in ("pixels", "logits"):
        assert parts[1][name] == pytest.approx(ranges[name].amax / 127)
    assert parts[1]["full_logits"] == parts[1]["logits"]


def test_ranges_were_measured_on_the_core_in_the_folder(small_int8: Path) -> None:
    import onnx

    check_fits(read_ranges(small_int8 / "ranges.json"), onnx.load(small_int8 / "float.onnx"))


def test_the_graph_is_the_float_one_without_qdq(
    parts: tuple[bytes, dict[str, float]], small_int8: Path
) -> None:
    import onnx

    from tests.oracle import bilinear, labels_and_decided, run

    frame = np.random.default_rng(0).integers(0, 256, (1, 90, 120, 3)).astype(np.uint8)
    core = onnx.load(small_int8 / "float.onnx")
    manifest = json.loads((small_int8 / "manifest.json").read_text())
    planes = bilinear(frame[0].transpose(2, 0, 1), (96, 128))
    gain, bias = (np.reshape(manifest[key], (3, 1, 1)) for key in ("gain", "bias"))

    labels = run(parts[0], {"frame": frame})[0]

    logits = run(core, {"pixels": (planes * gain + bias)[None].astype(np.float32)})[0]
    wanted, decided = labels_and_decided(logits, (90, 120))
    assert (labels == wanted)[decided].mean() > 0.9999
    assert not {node.op_type for node in onnx.load_model_from_string(parts[0]).graph.node} & {
        "QuantizeLinear",
        "DequantizeLinear",
    }


def test_what_int8_would_spoil_and_what_the_build_left_in_float_stay_out_of_it(
    small_int8: Path,
) -> None:
    import onnx

    graph, _, float_nodes = dla_parts(small_int8, "10.3.0")
    names = [node.name for node in onnx.load_model_from_string(graph).graph.node]
    core = {node.name: node for node in onnx.load(small_int8 / "float.onnx").graph.node}
    left = json.loads((small_int8 / "manifest.json").read_text())["float_layers"]
    (last,) = (name for name, node in core.items() if "logits" in node.output)

    assert float_nodes == {*(name for name in names if name not in core), last, *left}
    assert core[last].op_type == "Conv"


def test_a_float_engine_has_no_scales(small_fp32: Path) -> None:
    with pytest.raises(EngineMismatch, match="no ranges"):
        dla_parts(small_fp32, "10.3.0")


def test_tensorrt_11_takes_the_qdq_graph_instead(small_int8: Path) -> None:
    with pytest.raises(UsageError, match="removed in 11"):
        dla_parts(small_int8, "11.4.0")
