"""Equalised channels share a step, and the network computes what it did."""

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from edgeseg.graph.equalize import MOST, equalizable_tensors, equalized, peaks_graph
from edgeseg.graph.nodes import constants, producers
from edgeseg.graph.quantize import activation_tensors, quantized
from edgeseg.graph.tap import tapped
from tests.graph.growing import SHAPE, Growing, random_core
from tests.networks import picture, pixels_of
from tests.oracle import run, run_all

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

Array = np.ndarray


def some_pixels(seed: int = 0) -> Array:
    return np.random.default_rng(100 + seed).normal(0, 1.5, SHAPE).astype(np.float32)


def peaks_of(
    core: ModelProto, pixels: Array | None = None, names: list[str] | None = None
) -> dict[str, Array]:
    """The largest magnitude of each channel of the tensors that may be scaled, or of `names`."""
    names = equalizable_tensors(core) if names is None else names
    seen = run_all(tapped(core, names), {"pixels": some_pixels() if pixels is None else pixels})
    return {name: np.abs(x).max((0, 2, 3)) for name, x in zip(names, seen, strict=True)}


def assert_same_function(core: ModelProto, changed: ModelProto, pixels: Array) -> None:
    onnx.checker.check_model(changed, full_check=True)
    wanted, found = run(core, {"pixels": pixels}), run(changed, {"pixels": pixels})
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("seed", range(8))
def test_the_network_computes_what_it_did(seed: int) -> None:
    """On a picture that exceeds the peaks as well."""
    core = random_core(seed)
    changed = equalized(core, peaks_of(core))
    weights = {node.input[1] for node in changed.graph.node if len(node.input) > 1}
    assert any("_equalized_" in name for name in weights)
    assert_same_function(core, changed, 3 * some_pixels(1))


def test_the_shipped_constructs_compute_what_they_did(core: ModelProto) -> None:
    """Strides, Expand, Resize and image pooling as well."""
    peaks = peaks_of(core, pixels_of(picture()))
    assert set(peaks) == set(activation_tensors(core)) - {"pixels"}
    assert_same_function(core, equalized(core, peaks), pixels_of(picture(seed=1)))


def unevenness(peaks: Mapping[str, Array]) -> float:
    """The mean factor, in powers of ten, between the widest channel of a tensor and each other."""
    live = [peak[peak > 0] for peak in peaks.values()]
    return float(np.mean(np.concatenate([np.log10(peak.max() / peak) for peak in live])))


@pytest.mark.parametrize("seed", range(8))
def test_the_peaks_of_the_channels_come_closer(seed: int) -> None:
    core = random_core(seed)
    before = peaks_of(core)
    after = peaks_of(equalized(core, before), names=list(before))
    assert unevenness(after) < 0.8 * unevenness(before)


@pytest.mark.parametrize("op", ["Relu", "Clip"])
def test_channels_that_only_depthwise_layers_read_get_one_peak(op: str) -> None:
    net = Growing(0)
    act = net.act(net.conv("pixels", 8, kernel=3), op)
    core = net.core(net.act(net.depthwise(act), "Sigmoid"))
    before = peaks_of(core)
    assert list(before) == [act]
    assert before[act].max() / before[act].min() > 5
    changed = equalized(core, before)
    after = peaks_of(changed, names=[act])
    np.testing.assert_allclose(after[act], before[act].max(), rtol=1e-5)


@pytest.mark.parametrize("reader", ["convolution", "transposed convolution of one output"])
def test_channels_that_a_dense_layer_reads_are_scaled_half_way(reader: str) -> None:
    net = Growing(1)
    act = net.act(net.conv("pixels", 8, kernel=3), "Relu")
    core = net.core(act if reader == "convolution" else net.act(net.up(act, 1), "Sigmoid"))
    before = peaks_of(core)
    assert list(before) == [act]
    after = peaks_of(equalized(core, before), names=[act])
    np.testing.assert_allclose(after[act], np.sqrt(before[act].max() * before[act]), rtol=1e-5)


def scaled_rows(core: ModelProto, changed: ModelProto, name: str) -> Array:
    """By how much the output channels of the convolution `name` have grown, from its biases."""
    pairs = []
    for model in (core, changed):
        node = next(node for node in model.graph.node if node.name == name)
        pairs.append(constants(model)[node.input[2]].astype(float))
    return pairs[1] / pairs[0]


def test_no_channel_is_scaled_by_more_than_the_limit_and_a_dead_one_not_at_all() -> None:
    net = Growing(2)
    conv = net.conv("pixels", 4)
    act = net.act(conv, "Relu")
    core = net.core(net.act(net.depthwise(act), "Sigmoid"))
    changed = equalized(core, {act: np.array([5.0, 0.5, 5.0 / 1000, 0.0])})
    np.testing.assert_allclose(scaled_rows(core, changed, conv), [1, 10, MOST, 1], rtol=1e-6)
    assert_same_function(core, changed, some_pixels())


def test_the_branches_of_a_sum_have_one_factor_by_the_widest_peak_of_all() -> None:
    net = Growing(3)
    left, right = net.conv("pixels", 3), net.conv("pixels", 3)
    both = net.add("Add", [left, right], 3)
    acts = [net.act(net.depthwise(source), "Sigmoid") for source in (left, both)]
    core = net.core(net.add("Concat", acts, 6, axis=1))
    peaks = {left: np.array([1.0, 2.0, 3.0]), both: np.array([8.0, 1.0, 1.0])}
    assert set(equalizable_tensors(core)) == set(peaks)
    changed = equalized(core, peaks)
    for conv in (left, right):
        np.testing.assert_allclose(scaled_rows(core, changed, conv), [1, 4, 8 / 3], rtol=1e-6)
    assert_same_function(core, changed, some_pixels())


def test_tensors_that_share_channels_are_scaled_half_way_if_one_of_them_is() -> None:
    """Depthwise layers read two Concats of three maps; a dense one reads the first map alone."""
    net = Growing(6)
    maps = [net.conv("pixels", 2) for _ in range(3)]
    both = [net.add("Concat", maps[at : at + 2], 4, axis=1) for at in (0, 1)]
    ends = [net.act(net.depthwise(each), "Sigmoid") for each in both]
    ends.append(net.act(net.conv(maps[0], 3), "Sigmoid"))
    core = net.core(net.add("Concat", ends, 11, axis=1))
    peaks = {
        both[0]: np.array([1.0, 16.0, 4.0, 1.0]),
        both[1]: np.array([4.0, 1.0, 1.0, 4.0]),
        maps[0]: np.array([1.0, 16.0]),
    }
    assert list(peaks) == equalizable_tensors(core)
    changed = equalized(core, peaks)
    factors = [scaled_rows(core, changed, conv).tolist() for conv in maps]
    assert factors == [pytest.approx(each) for each in ([4, 1], [2, 4], [4, 2])]


def test_unsure_tensors_keep_their_channels_and_so_does_what_shares_them() -> None:
    net = Growing(8)
    maps = [net.conv("pixels", 2) for _ in range(3)]
    both = net.add("Concat", maps[:2], 4, axis=1)
    ends = [net.act(net.depthwise(each), "Sigmoid") for each in (maps[0], both, maps[2])]
    core = net.core(net.add("Concat", ends, 8, axis=1))
    peaks = {maps[0]: np.array([1.0, 2.0]), both: np.arange(1.0, 5), maps[2]: np.array([1.0, 5.0])}
    assert set(peaks) == set(equalizable_tensors(core))
    changed = equalized(core, peaks, unsure=[maps[0]])
    factors = [scaled_rows(core, changed, conv).tolist() for conv in maps]
    assert factors == [[1, 1], [1, 1], [pytest.approx(5), 1]]
    assert_same_function(core, changed, some_pixels())


def test_channels_that_keep_their_scale_have_no_say_in_that_of_others() -> None:
    net = Growing(7)
    conv = net.conv("pixels", 2)
    core = net.core(net.act(net.depthwise(net.add("Concat", ["pixels", conv], 5, axis=1)), "Tanh"))
    (name,) = equalizable_tensors(core)
    changed = equalized(core, {name: np.array([50.0, 0.1, 9.0, 3.0, 1.0])})
    np.testing.assert_allclose(scaled_rows(core, changed, conv), [1, 3], rtol=1e-6)
    assert_same_function(core, changed, some_pixels())


def test_what_a_nonlinear_op_reads_or_gives_is_not_scaled() -> None:
    net = Growing(4)
    conv = net.conv("pixels", 4)
    act = net.act(conv, "Relu")
    gates = net.act(act, "Sigmoid")
    core = net.core(net.add("Concat", [net.depthwise(act), net.depthwise(gates)], 8, axis=1))
    names = equalizable_tensors(core)
    assert act not in names
    assert gates not in names
    changed = equalized(core, peaks_of(core))
    np.testing.assert_array_equal(scaled_rows(core, changed, conv), 1)
    assert_same_function(core, changed, some_pixels())


def test_a_relu6_of_scaled_channels_ends_at_a_bound_for_each() -> None:
    net = Growing(5)
    conv = net.conv("pixels", 4)
    act = net.act(conv)
    core = net.core(net.act(net.depthwise(act), "Sigmoid"))
    changed = equalized(core, {act: np.array([6.0, 3.0, 2.0, 0.6])})
    bound = producers(changed)[act]
    assert (bound.op_type, producers(changed)[bound.input[0]].op_type) == ("Min", "Relu")
    ends = constants(changed)[bound.input[1]]
    np.testing.assert_allclose(ends, 6 * np.array([1, 2, 3, 10]).reshape(1, 4, 1, 1), rtol=1e-6)
    assert_same_function(core, changed, 20 * some_pixels())


def test_once_quantised_the_bounds_are_gone_and_int8_saturates_at_the_least() -> None:
    net = Growing(5)
    act = net.act(net.conv("pixels", 4))
    core = net.core(net.act(net.depthwise(act), "Sigmoid"))
    changed = equalized(core, {act: np.array([5.0, 3.0, 2.0, 0.6])})
    amax = dict.fromkeys(activation_tensors(changed), 50.0)
    model = quantized(changed, amax)
    assert {"Min", "Clip"}.isdisjoint(node.op_type for node in model.graph.node)
    pixels = 20 * some_pixels()
    before, after = run_all(
        tapped(model, [producers(model)[f"{act}_q"].input[0], f"{act}_dq"]), {"pixels": pixels}
    )
    step = np.float32(np.float16(6 / 127))
    np.testing.assert_array_equal(after, np.minimum(np.rint(before / step), 127) * step)
    assert before.max() > 6 + step


@pytest.mark.parametrize("seed", [0, 1])
def test_the_graph_of_peaks_gives_the_largest_magnitude_of_each_channel(seed: int) -> None:
    core = random_core(seed)
    wanted = peaks_of(core)
    model = peaks_graph(core, list(wanted))
    onnx.checker.check_model(model, full_check=True)
    assert [output.name for output in model.graph.output] == [f"{name}_peak" for name in wanted]
    for found, peak in zip(run_all(model, {"pixels": some_pixels()}), wanted.values(), strict=True):
        assert found.shape == (1, len(peak), 1, 1)
        np.testing.assert_allclose(found.reshape(-1), peak, rtol=1e-5)


def test_the_given_graph_stays_as_it_is(core: ModelProto) -> None:
    peaks = peaks_of(core, pixels_of(picture()))
    before = core.SerializeToString(deterministic=True)
    equalized(core, peaks)
    peaks_graph(core, list(peaks))
    assert core.SerializeToString(deterministic=True) == before
