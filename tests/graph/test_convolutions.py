"""The values of a convolution say all of it: numpy computes the layer from nothing else."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from onnx import ModelProto, helper

from edgeseg.graph.convolutions import convolutions
from edgeseg.types import Convolution
from tests.networks import small_graph
from tests.oracle import run

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

Array = np.ndarray
PLANE = (11, 9)


def by_hand(layer: Convolution, x: Array) -> Array:
    """The layer on `x` (C, H, W) in float64, without its bias."""
    (top, left, bottom, right), (down, along) = pads_of(layer, x.shape[1:]), layer.dilations
    padded = np.pad(x.astype(np.float64), ((0, 0), (top, bottom), (left, right)))
    height, width = layer.weight.shape[2:]
    reach = ((height - 1) * down + 1, (width - 1) * along + 1)
    windows = sliding_window_view(padded, reach, (1, 2))[
        :, :: layer.strides[0], :: layer.strides[1], ::down, ::along
    ]
    split = [np.split(each, layer.groups) for each in (windows, layer.weight)]
    parts = zip(*split, strict=True)
    return np.concatenate([np.einsum("chwij,ocij->ohw", part, rows) for part, rows in parts])


def pads_of(layer: Convolution, plane: tuple[int, ...]) -> tuple[int, ...]:
    """SAME gives ceil(size / stride) outputs; the odd pixel lies behind for UPPER."""
    if layer.same is None:
        return layer.pads
    before, after = [], []
    for size, kernel, stride, dilation in zip(
        plane, layer.weight.shape[2:], layer.strides, layer.dilations, strict=True
    ):
        total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        small, large = total // 2, total - total // 2
        before.append(small if layer.same == "SAME_UPPER" else large)
        after.append(large if layer.same == "SAME_UPPER" else small)
    return (*before, *after)


def single(kernel: tuple[int, int] = (3, 3), group: int = 1, **attributes: object) -> ModelProto:
    rows = np.random.default_rng(0).normal(size=(6, 4 // group, *kernel)).astype(np.float32)
    conv = helper.make_node("Conv", ["pixels", "w"], ["logits"], "only", group=group, **attributes)
    return small_graph([conv], {"w": rows}, shape=(1, 4, *PLANE), out=(1, 6, "h", "w"))


CASES = {
    "nothing said": {},
    "pointwise": {"kernel": (1, 1)},
    "stride": {"strides": [2, 3]},
    "dilation": {"dilations": [2, 1]},
    "four different pads": {"pads": [0, 1, 2, 3]},
    "wide kernel": {"kernel": (1, 5), "pads": [0, 2, 0, 2]},
    "groups": {"group": 2, "pads": [1, 1, 1, 1]},
    "all at once": {"group": 2, "strides": [2, 1], "dilations": [1, 2], "pads": [1, 2, 0, 1]},
    "valid": {"auto_pad": "VALID", "strides": [2, 2]},
    "same, odd pixel behind": {"auto_pad": "SAME_UPPER", "kernel": (4, 4), "strides": [2, 2]},
    "same, odd pixel before": {"auto_pad": "SAME_LOWER", "kernel": (4, 4), "strides": [2, 2]},
    "same with a stride beyond the kernel": {"auto_pad": "SAME_LOWER", "strides": [4, 4]},
}


@pytest.mark.parametrize("case", CASES)
def test_numpy_computes_the_layer_from_its_values(case: str) -> None:
    model = single(**CASES[case])
    (layer,) = convolutions(model)
    assert (layer.name, layer.reads, layer.weight.dtype) == ("only", "pixels", np.float32)
    pixels = np.random.default_rng(1).normal(size=(1, 4, *PLANE)).astype(np.float32)
    wanted = run(model, {"pixels": pixels})[0]
    np.testing.assert_allclose(by_hand(layer, pixels[0]), wanted, rtol=1e-4, atol=1e-5)


def test_layers_come_in_the_order_of_the_graph_with_what_they_read(core: ModelProto) -> None:
    nodes = [node for node in core.graph.node if node.op_type == "Conv"]
    found = [(layer.name, layer.reads) for layer in convolutions(core)]
    assert found == [(node.name, node.input[0]) for node in nodes]
    assert len(found) == 13


def test_kept_layers_are_left_out_by_their_exact_names(core: ModelProto) -> None:
    every = [layer.name for layer in convolutions(core)]
    found = [layer.name for layer in convolutions(core, keep=["stem", "fuse", "de*"])]
    assert found == [name for name in every if name not in {"stem", "fuse"}]


def test_other_layers_with_weights_are_none_of_them() -> None:
    """A transposed one, one of one dimension, and one whose weights are computed."""
    rng = np.random.default_rng(0)
    weights = {
        "up_w": rng.normal(size=(4, 4, 2, 2)).astype(np.float32),
        "row_w": rng.normal(size=(4, 4, 3)).astype(np.float32),
        "flat": np.array([1, 4, -1], np.int64),
        "gate": np.array([4, 1, 1, 1], np.int64),
        "plane": np.array([1, 4, 16, 16], np.int64),
        "last_w": rng.normal(size=(2, 4, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("ConvTranspose", ["pixels", "up_w"], ["big"], "up", strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["pixels"], ["mean"], "mean"),
        helper.make_node("Reshape", ["mean", "gate"], ["rows"], "rows"),
        helper.make_node("Conv", ["big", "rows"], ["gated"], "gated", group=4),
        helper.make_node("Reshape", ["gated", "flat"], ["line"], "line"),
        helper.make_node("Conv", ["line", "row_w"], ["smooth"], "row", pads=[1, 1]),
        helper.make_node("Reshape", ["smooth", "plane"], ["back"], "back"),
        helper.make_node("Conv", ["back", "last_w"], ["logits"], "last"),
    ]
    model = small_graph(nodes, weights, shape=(1, 4, 8, 8), out=(1, 2, 16, 16))
    (layer,) = convolutions(model)
    assert layer.name == "last"
    np.testing.assert_array_equal(layer.weight, weights["last_w"])
