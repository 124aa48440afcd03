"""What a network costs is what one counts by hand."""

import numpy as np
import pytest
from onnx import ModelProto, helper

from edgeseg.graph.cost import cost_of
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.types import PixelFormat, Size
from tests.networks import small_graph


def zeros(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def test_a_convolution_and_a_depthwise_one() -> None:
    nodes = [
        helper.make_node(
            "Conv", ["pixels", "w", "b"], ["mid"], name="full", strides=[2, 2], pads=[1] * 4
        ),
        helper.make_node("Conv", ["mid", "d"], ["logits"], name="depthwise", group=8),
    ]
    weights = zeros(w=(8, 3, 3, 3), b=(8,), d=(8, 1, 3, 3))
    cost = cost_of(small_graph(nodes, weights, shape=(1, 3, 20, 30), out=(1, 8, 8, 13)))
    assert cost.macs_by_node == {
        "full": (10 * 15) * 8 * 3 * 3 * 3,
        "depthwise": (8 * 13) * 8 * 1 * 3 * 3,
    }
    assert cost.macs == sum(cost.macs_by_node.values())
    assert cost.parameters == 8 * 3 * 9 + 8 + 8 * 9


def test_a_transposed_convolution_counts_each_input_position() -> None:
    nodes = [
        helper.make_node("ConvTranspose", ["pixels", "w"], ["logits"], name="up", strides=[2, 2])
    ]
    model = small_graph(nodes, zeros(w=(3, 5, 2, 2)), shape=(1, 3, 4, 6), out=(1, 5, 8, 12))
    assert cost_of(model).macs == (4 * 6) * 3 * 5 * 2 * 2


def test_matrix_products() -> None:
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("Gemm", ["flat", "a", "c"], ["hidden"], name="gemm", transB=1),
        helper.make_node("MatMul", ["hidden", "b"], ["logits"], name="matmul"),
    ]
    weights = zeros(a=(10, 48), c=(10,), b=(10, 7))
    cost = cost_of(small_graph(nodes, weights, shape=(1, 3, 4, 4), out=(1, 7)))
    assert cost.macs_by_node == {"gemm": 48 * 10, "matmul": 10 * 7}
    assert cost.parameters == 480 + 10 + 70


def test_a_weight_that_two_nodes_share_is_counted_once() -> None:
    nodes = [
        helper.make_node("Conv", ["pixels", "w"], ["mid"], name="one"),
        helper.make_node("Conv", ["mid", "w"], ["logits"], name="two"),
    ]
    model = small_graph(nodes, zeros(w=(3, 3, 1, 1)), shape=(1, 3, 4, 4), out=(1, 3, 4, 4))
    cost = cost_of(model)
    assert (cost.parameters, cost.macs) == (9, 2 * 16 * 9)


def test_quantising_and_framing_change_no_cost_of_the_network(
    core: ModelProto, int8_core: ModelProto
) -> None:
    assert cost_of(int8_core) == cost_of(core)
    size = Size(60, 80)
    spec = FrameSpec(
        size=size,
        pixel_format=PixelFormat.RGB8,
        order="rgb",
        gain=(1, 1, 1),
        bias=(0, 0, 0),
        mask_size=size,
    )
    assert cost_of(frame_graph(int8_core, spec)) == cost_of(core)


def test_the_tiny_network_by_hand(core: ModelProto) -> None:
    cost = cost_of(core)
    assert cost.macs_by_node["stem"] == 24 * 32 * 16 * 3 * 9
    assert cost.macs_by_node["down"] == 12 * 16 * 16 * 9
    assert cost.macs_by_node["pooled"] == 24 * 16
    assert len(cost.macs_by_node) == 13


@pytest.fixture
def kept_by_hand(core: ModelProto) -> int:
    return sum(
        int(np.prod(item.dims))
        for item in core.graph.initializer
        if item.name.endswith(("_weight", "_bias"))
    )


def test_parameters_are_all_weights_and_biases(core: ModelProto, kept_by_hand: int) -> None:
    assert cost_of(core).parameters == kept_by_hand
