"""The range of every tensor of the float frame graph, against what it has on extreme frames."""

import numpy as np
import pytest
from onnx import ModelProto, helper

from edgeseg.errors import BuildError
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.plain_int8 import frame_ranges, spoilt_by_int8
from edgeseg.graph.tap import float_activations, tapped
from edgeseg.types import PixelFormat, Size
from tests.networks import CLASSES, SIZE, small_graph
from tests.oracle import run_all

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

GAIN, BIAS = (1 / 64, 1 / 50, 1 / 80), (-2.0, -2.25, -1.5)
FRAME = Size(60, 80)


def framed(core: ModelProto, pixel_format: PixelFormat = PixelFormat.RGB8) -> ModelProto:
    spec = FrameSpec(
        size=FRAME, pixel_format=pixel_format, order="bgr", gain=GAIN, bias=BIAS, mask_size=FRAME
    )
    return frame_graph(core, spec)


def extreme(pixel_format: PixelFormat) -> list[np.ndarray]:
    """Frames of bytes 0 and 255 in every mixture."""
    shape = (1, *pixel_format.frame_shape(FRAME))
    bits = np.random.default_rng(0).integers(0, 2, (6, *shape))
    flat = [np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)]
    return [*flat, *(bits * 255).astype(np.uint8)]


def magnitudes(graph: ModelProto, frames: list[np.ndarray]) -> dict[str, float]:
    """The largest magnitude of each float tensor over `frames`, seen in ONNX Runtime."""
    names = float_activations(graph)
    model = tapped(graph, names)
    seen = [[np.abs(x).max() for x in run_all(model, {"frame": frame})] for frame in frames]
    return dict(zip(names, np.max(seen, 0).tolist(), strict=True))


@pytest.fixture(scope="module")
def calibrated(core: ModelProto) -> dict[str, float]:
    """Of the core's tensors, each another value."""
    return {name: 1.0 + index for index, name in enumerate(float_activations(core))}


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_head_and_tail_never_leave_their_range_and_come_near_its_end(
    core: ModelProto, pixel_format: PixelFormat
) -> None:
    graph = framed(core, pixel_format)
    seen = magnitudes(graph, extreme(pixel_format))
    calibrated = {name: seen[name] for name in float_activations(core)}

    found = frame_ranges(graph, calibrated)

    assert found.keys() == seen.keys()
    around = found.keys() - calibrated.keys() - {"float_ids"}
    assert {"bytes", "scaled", "full_logits"} <= around
    for name in around:
        assert 0.55 * found[name] <= seen[name] <= found[name] * 1.00001, name


def test_ids_reach_the_last_class(core: ModelProto, calibrated: dict[str, float]) -> None:
    assert frame_ranges(framed(core), calibrated)["float_ids"] == CLASSES - 1


def test_the_core_keeps_the_ranges_that_were_calibrated(
    core: ModelProto, calibrated: dict[str, float]
) -> None:
    shared = {
        name
        for node in core.graph.node
        if node.op_type in {"Concat", "MaxPool", "AveragePool"}
        for name in (*node.input, *node.output)
    }

    found = frame_ranges(framed(core), calibrated)

    assert shared
    assert {n: found[n] for n in calibrated.keys() - shared} == {
        n: calibrated[n] for n in calibrated.keys() - shared
    }


def test_what_a_dla_joins_has_one_range_through_a_chain() -> None:
    nodes = [
        helper.make_node("Relu", ["pixels"], ["a"]),
        helper.make_node("Sigmoid", ["pixels"], ["b"]),
        helper.make_node("Concat", ["a", "b"], ["c"], axis=1),
        helper.make_node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Tanh", ["d"], ["logits"]),
    ]
    core = small_graph(nodes, {}, shape=(1, 3, *SIZE), out=(1, 6, SIZE[0] // 2, SIZE[1] // 2))
    known = {"pixels": 2.0, "a": 2.0, "b": 0.5, "c": 1.75, "d": 3.0, "logits": 1.0}

    found = frame_ranges(framed(core), known)

    assert {found[name] for name in "abcd"} == {3.0}
    assert (found["pixels"], found["logits"], found["full_logits"]) == (2.0, 1.0, 1.0)


def test_a_tensor_of_the_core_without_a_range_is_named(
    core: ModelProto, calibrated: dict[str, float]
) -> None:
    convolved = next(node.output[0] for node in core.graph.node if node.op_type == "Clip")
    known = {name: amax for name, amax in calibrated.items() if name != convolved}
    graph = framed(core)
    for node in graph.graph.node:  # an operator that tells nothing about what comes out
        if node.output[0] == convolved:
            node.op_type = "Relu"
            del node.input[1:]

    with pytest.raises(BuildError, match=convolved):
        frame_ranges(graph, known)


def test_the_last_layers_of_each_branch_are_spoilt_by_int8_and_those_before_are_not() -> None:
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(3, 3, 1, 1)).astype(np.float32) for name in "abc"}
    nodes = [
        helper.make_node("Conv", ["pixels", "a"], ["first"], "first"),
        helper.make_node("Conv", ["first", "b"], ["left"], "left"),
        helper.make_node("Conv", ["pixels", "c"], ["right"], "right"),
        helper.make_node("Sigmoid", ["right"], ["gate"], "gate"),
        helper.make_node("Mul", ["left", "gate"], ["logits"], "gated"),
    ]
    core = small_graph(nodes, weights, shape=(1, 3, 48, 64), out=(1, 3, 48, 64))
    graph = framed(core)
    around = {node.name for node in graph.graph.node} - {node.name for node in nodes}

    assert spoilt_by_int8(graph, core) == around | {"left", "right", "gate", "gated"}
    assert {"Mul_scaled", "ArgMax_ids"} <= around
