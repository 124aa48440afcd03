"""The simulated graph gives what integer arithmetic gives; the integers are numpy's."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from onnx import ModelProto, helper

from edgeseg.backends.floats import float_runner
from edgeseg.graph.nodes import constants, producers
from edgeseg.graph.quantize import quantized
from edgeseg.graph.simulate import simulated
from edgeseg.types import RoundedWeights
from tests.networks import picture, pixels_of, small_graph
from tests.oracle import run

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

Array = np.ndarray
INPUTS, INNER, CLASSES = 3, 6, 4
STEPS = {"pixels": 2.0**-5, "act": 2.0**-4, "shortcut": 2.0**-3}
"""Powers of two, as are those of the weights: then no float in the graph is rounded."""


def integers(x: Array, step: float) -> Array:
    """`x` on the INT8 grid of `step`; ties go to the even integer."""
    return np.clip(np.rint(x / np.float32(step)), -128, 127).astype(np.int64)


def conv(x: Array, rows: Array) -> Array:
    """Sums of integers: `x` (C, H, W) padded so that it keeps its size."""
    edge = rows.shape[2] // 2
    padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge)))
    return np.einsum("chwij,ocij->ohw", sliding_window_view(padded, rows.shape[2:], (1, 2)), rows)


def depthwise(x: Array, rows: Array) -> Array:
    return np.concatenate([conv(x[[c]], rows[[c]]) for c in range(len(x))])


def up(x: Array, rows: Array) -> Array:
    """A transposed convolution whose stride is its kernel; `rows` (C, outputs, k, k)."""
    spread = np.einsum("chw,coij->ohiwj", x, rows)
    return spread.reshape(rows.shape[1], x.shape[1] * rows.shape[2], -1)


class Grid:
    """Random layers on the grid: what `quantized` takes as rounded beforehand."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.weights: dict[str, RoundedWeights] = {}
        self.biases: dict[str, Array] = {}

    def layer(self, name: str, shape: tuple[int, ...], axis: int = 0) -> list[str]:
        """The names of the weight and the bias."""
        outputs = shape[axis] if name != "depthwise" else shape[0]
        scales = 2.0 ** self.rng.integers(-9, -6, outputs)
        rows = self.rng.integers(-127, 128, shape).astype(np.int8)
        none = np.zeros(outputs, np.float32)
        self.weights[name] = RoundedWeights(rows, scales.astype(np.float32), none)
        self.biases[name] = (self.rng.integers(-99, 100, outputs) / 64).astype(np.float32)
        return [f"{name}_w", f"{name}_b"]

    def times(self, name: str, sums: Array, step: float) -> Array:
        """What the integer `sums` of a layer stand for, with its bias."""
        column = (-1, 1, 1)
        scales = step * self.weights[name].scales.astype(np.float64)
        return sums * scales.reshape(column) + self.biases[name].reshape(column)

    def rows(self, name: str) -> Array:
        return self.weights[name].integers.astype(np.int64)

    def values(self) -> dict[str, Array]:
        """Other floats than those on the grid: the ones rounded beforehand are what counts."""
        found = {f"{name}_b": bias for name, bias in self.biases.items()}
        for name, item in self.weights.items():
            found[f"{name}_w"] = item.integers.astype(np.float32)
        return found


def network(grid: Grid) -> ModelProto:
    """conv, ReLU, depthwise, + shortcut, transposed convolution; INT8 throughout."""
    edge = {"pads": [1, 1, 1, 1]}
    first = grid.layer("first", (INNER, INPUTS, 3, 3))
    side = grid.layer("side", (INNER, INPUTS, 1, 1))
    middle = grid.layer("depthwise", (INNER, 1, 3, 3))
    last = grid.layer("up", (INNER, CLASSES, 2, 2), axis=1)
    nodes = [
        helper.make_node("Conv", ["pixels", *side], ["shortcut"], "side"),
        helper.make_node("Conv", ["pixels", *first], ["sums"], "first", **edge),
        helper.make_node("Relu", ["sums"], ["act"], "relu"),
        helper.make_node("Conv", ["act", *middle], ["branch"], "depthwise", group=INNER, **edge),
        helper.make_node("Add", ["branch", "shortcut"], ["both"], "add"),
        helper.make_node("ConvTranspose", ["both", *last], ["logits"], "up", strides=[2, 2]),
    ]
    core = small_graph(nodes, grid.values(), shape=(1, 3, 10, 8), out=(1, CLASSES, 20, 16))
    amax = {name: 127 * step for name, step in (STEPS | {"both": 0.5}).items()}
    return quantized(core, amax, weights=grid.weights)


def by_integers(grid: Grid, pixels: Array) -> Array:
    read = integers(pixels, STEPS["pixels"])
    shortcut = grid.times("side", conv(read, grid.rows("side")), STEPS["pixels"])
    first = grid.times("first", conv(read, grid.rows("first")), STEPS["pixels"])
    act = integers(np.maximum(first, 0), STEPS["act"])
    branch = grid.times("depthwise", depthwise(act, grid.rows("depthwise")), STEPS["act"])
    held = integers(shortcut, STEPS["shortcut"]) * STEPS["shortcut"]
    both = integers(branch + held, 0.5)
    return grid.times("up", up(both, grid.rows("up")), 0.5)


@pytest.mark.parametrize("seed", range(4))
def test_a_network_on_grids_of_powers_of_two_gives_every_bit(seed: int) -> None:
    grid = Grid(seed)
    model = simulated(network(grid))
    pixels = np.random.default_rng(50 + seed).normal(0, 2, (1, 3, 10, 8)).astype(np.float32)
    wanted = by_integers(grid, pixels[0])
    found = run(model, {"pixels": pixels}, optimized=False)[0]
    np.testing.assert_array_equal(found, wanted)
    assert np.abs(integers(pixels, STEPS["pixels"])).max() >= 127  # INT8 saturates


@pytest.mark.needs("openvino")
def test_openvino_gives_every_bit_too() -> None:
    """It finds no INT8 layer in the simulated graph, so no kernel of it saturates."""
    grid = Grid(0)
    run_graph = float_runner(simulated(network(grid)).SerializeToString())
    pixels = np.random.default_rng(50).normal(0, 2, (1, 3, 10, 8)).astype(np.float32)
    found = run_graph({"pixels": pixels})["logits"][0]
    np.testing.assert_array_equal(found, by_integers(grid, pixels[0]))


@pytest.mark.parametrize("seed", range(4))
def test_a_layer_on_any_grid_differs_by_float_rounding_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(5, 4, 3, 3)) * np.geomspace(1e-3, 1, 5).reshape(-1, 1, 1, 1)
    node = helper.make_node("Conv", ["pixels", "w"], ["logits"], "only", pads=[1, 1, 1, 1])
    weights = {"w": rows.astype(np.float32)}
    core = small_graph([node], weights, shape=(1, 4, 9, 9), out=(1, 5, 9, 9))
    model = quantized(core, {"pixels": 2.2})
    held = constants(model)
    pixels = rng.normal(size=(1, 4, 9, 9)).astype(np.float32)
    sums = conv(integers(pixels[0], held["pixels_scale"]), held["w_s8"].astype(np.int64))
    scales = held["pixels_scale"] * held["w_scale"].astype(np.float64)
    wanted = sums * scales.reshape(-1, 1, 1)
    found = run(simulated(model), {"pixels": pixels}, optimized=False)[0]
    error = np.abs(found - wanted).max((1, 2)) / np.abs(wanted).max((1, 2))
    assert error.max() < 1e-6


def test_a_weight_with_one_scale_for_all_is_dequantised_as_well() -> None:
    weights = {
        "w_s8": np.array([-127, 3, 64], np.int8).reshape(1, 3, 1, 1),
        "w_scale": np.float32(0.25).reshape(()),
        "w_zero": np.int8(0).reshape(()),
    }
    nodes = [
        helper.make_node("DequantizeLinear", list(weights), ["w"], "w_dq"),
        helper.make_node("Conv", ["pixels", "w"], ["logits"], "only"),
    ]
    model = small_graph(nodes, weights, shape=(1, 3, 4, 4), out=(1, 1, 4, 4))
    found = constants(simulated(model))
    assert list(found) == ["w"]
    np.testing.assert_array_equal(found["w"].reshape(-1), [-31.75, 0.75, 16])


def test_weights_become_float_constants_and_activations_keep_their_pairs(
    int8_core: ModelProto,
) -> None:
    model = simulated(int8_core)
    made_by, values = producers(model), constants(model)
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert values[node.input[1]].dtype == np.float32
            assert made_by[node.input[0]].op_type == "DequantizeLinear"
    kinds = [node.op_type for node in model.graph.node]
    wanted = [node.op_type for node in int8_core.graph.node]
    assert kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear") == 12
    assert wanted.count("DequantizeLinear") == 12 + 13
    assert not [name for name in values if name.endswith("_s8")]


def test_the_whole_network_gives_what_the_qdq_graph_gives(int8_core: ModelProto) -> None:
    feeds = {"pixels": pixels_of(picture(seed=3))}
    wanted = run(int8_core, feeds, optimized=False)
    found = run(simulated(int8_core), feeds, optimized=False)
    np.testing.assert_array_equal(found, wanted)


def test_a_float_graph_and_the_given_one_stay_as_they_are(
    core: ModelProto, int8_core: ModelProto
) -> None:
    before = int8_core.SerializeToString(deterministic=True)
    simulated(int8_core)
    assert int8_core.SerializeToString(deterministic=True) == before
    assert simulated(core).graph.node == core.graph.node
