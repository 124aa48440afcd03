"""Rounded weights of a whole network: what they keep, and in how many passes they come."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from onnx import ModelProto, helper

import edgeseg.weight_rounding
from edgeseg.graph.nodes import constants, producers
from edgeseg.graph.quantize import activation_tensors, quantized
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.tap import tapped
from edgeseg.recipe import Quantization
from edgeseg.types import Array, RoundedWeights, Size
from edgeseg.weight_rounding import rounded_weights
from tests.networks import SIZE, picture, pixels_of, small_graph, tiny_core
from tests.oracle import run, run_all

pytestmark = pytest.mark.needs("onnx", "onnxsim", "onnxruntime", "openvino")

STEPS = Quantization()
BARE = Quantization(scales=False, rounding=False, bias=False)
BIAS = Quantization(scales=False, rounding=False)


COUNT = 8
"""Pictures that are learnt from: image pooling has one value of each."""


@dataclass
class Pictures:
    """Pixels that can be started over; counts how often they were."""

    count: int = 3
    first: int = 0
    passes: int = 0
    pixels: list[Array] = field(init=False)

    def __post_init__(self) -> None:
        seeds = range(self.first, self.first + self.count)
        self.pixels = [pixels_of(picture(seed=seed)) for seed in seeds]

    def __call__(self) -> Iterator[Array]:
        self.passes += 1
        yield from self.pixels


@pytest.fixture(scope="module")
def core() -> ModelProto:
    return fixed_core(tiny_core(), Size(*SIZE))


@pytest.fixture(scope="module")
def amax(core: ModelProto) -> dict[str, float]:
    names = activation_tensors(core)
    found = dict.fromkeys(names, 0.0)
    for pixels in Pictures(COUNT).pixels:
        for name, seen in zip(names, run_all(tapped(core, names), {"pixels": pixels}), strict=True):
            found[name] = max(found[name], float(np.abs(seen).max()))
    return found


@pytest.fixture(scope="module")
def found(core: ModelProto, amax: dict[str, float]) -> dict[str, RoundedWeights]:
    return rounded_weights(core, amax, Pictures(COUNT), STEPS)


def _noise_db(core: ModelProto, qdq: ModelProto, pictures: Pictures) -> float:
    """Of the logits, over that of the float ones: the lower the better."""
    power = noise = 0.0
    for pixels in pictures.pixels:
        expected, given = (run(each, {"pixels": pixels}, optimized=False) for each in (core, qdq))
        power, noise = power + np.square(expected).sum(), noise + np.square(given - expected).sum()
    return float(10 * np.log10(noise / power))


def _weights(qdq: ModelProto) -> dict[str, Array]:
    """What each convolution of a Q/DQ graph multiplies with."""
    values, made_by, weights = constants(qdq), producers(qdq), {}
    for node in qdq.graph.node:
        if node.op_type == "Conv":
            stored, scale, _ = made_by[node.input[1]].input
            weights[node.name] = values[stored] * values[scale].reshape(-1, 1, 1, 1)
    return weights


def test_every_convolution_has_weights_of_its_shape(
    core: ModelProto, found: Mapping[str, RoundedWeights]
) -> None:
    values = constants(core)
    shapes = {n.name: values[n.input[1]].shape for n in core.graph.node if n.op_type == "Conv"}

    assert {name: each.integers.shape for name, each in found.items()} == shapes
    assert {each.integers.dtype for each in found.values()} == {np.dtype(np.int8)}
    assert all(each.scales.shape == each.integers.shape[:1] for each in found.values())


def test_weights_stay_those_of_their_own_layer(
    core: ModelProto, amax: dict[str, float], found: dict[str, RoundedWeights]
) -> None:
    """Grouped, dense or 1x1: no row and no tap changes its place."""
    values = constants(core)
    kept = _weights(quantized(core, amax, weights=found))
    for node in core.graph.node:
        if node.op_type == "Conv":
            weight = values[node.input[1]]
            assert np.corrcoef(weight.ravel(), kept[node.name].ravel())[0, 1] > 0.99, node.name


def test_logits_are_nearer_to_float_than_with_the_nearest_integers(
    core: ModelProto, amax: dict[str, float], found: dict[str, RoundedWeights]
) -> None:
    plain, better = quantized(core, amax), quantized(core, amax, weights=found)

    gains = [
        _noise_db(core, plain, pictures) - _noise_db(core, better, pictures)
        for pictures in (Pictures(), Pictures(first=50))
    ]
    assert min(gains) > 0.5, "in dB, on pictures that were learnt from and on others"


def test_all_steps_left_out_are_the_nearest_integers(
    core: ModelProto, amax: dict[str, float]
) -> None:
    bare = rounded_weights(core, amax, Pictures(1), BARE)

    kept, nearest = (_weights(quantized(core, amax, weights=each)) for each in (bare, {}))
    for name, weight in nearest.items():
        np.testing.assert_allclose(kept[name], weight, atol=1e-6, err_msg=name)
    assert not any(each.bias_shift.any() for each in bare.values())


@pytest.mark.parametrize("name", ["stem", "depthwise", "classifier"])
def test_bias_keeps_the_mean_of_every_channel(core: ModelProto, name: str) -> None:
    """On every output of the pictures, of which the steps saw some; ranges that cut off."""
    node = next(node for node in core.graph.node if node.name == name)
    names = activation_tensors(core)
    narrow = dict.fromkeys(names, 1.0)
    pictures = Pictures(4)

    shift = rounded_weights(core, narrow, pictures, BIAS)[name].bias_shift

    alone = [other for other in (n.name for n in core.graph.node) if other != name]
    graphs = [tapped(each, node.output) for each in (core, quantized(core, narrow, keep=alone))]
    off = [
        run(graphs[1], {"pixels": pixels}, optimized=False) - run(graphs[0], {"pixels": pixels})
        for pixels in pictures.pixels
    ]
    means = np.concatenate(off).mean((0, 2, 3))
    assert np.abs(means).max() > 0.05
    assert np.linalg.norm(means + shift) < 0.5 * np.linalg.norm(means)


def test_passes_are_as_many_as_memory_asks_for_and_change_nothing(
    core: ModelProto,
    amax: dict[str, float],
    found: dict[str, RoundedWeights],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once, by_and_by = Pictures(), Pictures(COUNT)
    rounded_weights(core, amax, at_once, BARE)
    monkeypatch.setattr(edgeseg.weight_rounding, "MOMENT_BYTES", 16 * 150**2)
    few = rounded_weights(core, amax, by_and_by, STEPS)

    assert at_once.passes == 1
    assert 1 < by_and_by.passes < 13
    assert list(few) == list(found)
    for name, each in few.items():
        np.testing.assert_array_equal(each.integers, found[name].integers, err_msg=name)


def test_progress_is_told_for_each_layer(core: ModelProto, amax: dict[str, float]) -> None:
    told: list[tuple[str, int, int | None]] = []

    rounded_weights(core, amax, Pictures(1), BARE, on_progress=lambda *each: told.append(each))

    assert told == [("round weights", done, 13) for done in range(1, 14)]


def test_transposed_convolution_is_left_to_the_nearest_integers() -> None:
    weights = {
        "a": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
        "b": np.ones((3, 2, 2, 2), np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["pixels", "a"], ["t"], name="conv"),
        helper.make_node("ConvTranspose", ["t", "b"], ["logits"], name="up", strides=[2, 2]),
    ]
    core = small_graph(nodes, weights, shape=(1, 3, *SIZE), out=(1, 2, 2 * SIZE[0], 2 * SIZE[1]))

    found = rounded_weights(core, {"pixels": 2.0, "t": 2.0}, Pictures(1), STEPS)

    assert list(found) == ["conv"]


def test_one_picture_is_enough(core: ModelProto, amax: dict[str, float]) -> None:
    """Image pooling has one value a channel: over one picture it does not vary."""
    found = rounded_weights(core, amax, Pictures(1), STEPS)

    graph = quantized(core, amax, weights=found)
    pooled = constants(core)["pooled_weight"]
    assert _noise_db(core, graph, Pictures()) < -20
    assert np.linalg.norm(_weights(graph)["pooled"] - pooled) < 0.02 * np.linalg.norm(pooled)
