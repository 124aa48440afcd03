"""Integer weights against brute force, against rounding to the nearest, and against least squares.

What counts is the error of a layer's outputs on the inputs that were seen, mean removed: the bias
takes that up.
"""

import itertools

import numpy as np
import pytest

from edgeseg.calibrate.rounding import BLOCK, PatchMoments, rounded
from edgeseg.types import Array, RoundedWeights


def _inputs(seed: int, taps: int, *, count: int = 600) -> Array:
    """float32 (count, taps) that vary together, with means."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(0, 1, (count, taps)) @ rng.normal(0, 1, (taps, taps))
    return (mixed + rng.normal(0, 2, taps)).astype(np.float32)


def _weight(seed: int, outputs: int, taps: int) -> Array:
    return np.random.default_rng(seed + 1000).normal(0, 1, (outputs, taps))


def _on_grid(values: Array, step: float, top: int = 127) -> Array:
    return (np.clip(np.rint(values / step), -top, top) * step).astype(np.float32)


def _seen(plain: Array, quantized: Array | None = None) -> PatchMoments:
    moments = PatchMoments(1, plain.shape[1])
    moments.see(plain[None], (plain if quantized is None else quantized)[None])
    return moments


def _found(
    weight: Array, plain: Array, quantized: Array | None = None, **steps: bool
) -> RoundedWeights:
    found = rounded(weight[None], _seen(plain, quantized), **steps)
    return found._replace(integers=found.integers[0])


def _kept(found: RoundedWeights) -> Array:
    return found.integers * found.scales.astype(np.float64)[:, None]


def _error(weight: Array, kept: Array, plain: Array, quantized: Array | None = None) -> Array:
    """The variance of each output's error, float64 (outputs,)."""
    read = plain if quantized is None else quantized
    return np.var(plain @ weight.T - read @ kept.T, axis=0, dtype=np.float64)


def _nearest(weight: Array, scales: Array) -> Array:
    steps = scales.astype(np.float64)[:, None]
    return np.clip(np.rint(weight / steps), -127, 127) * steps


@pytest.mark.parametrize("taps", [24, BLOCK + 7])
def test_outputs_are_never_further_off_than_with_the_nearest_integers(taps: int) -> None:
    gains = [_gains(_inputs(seed, taps), _weight(seed, 6, taps), whole=True) for seed in range(12)]

    assert np.max(gains) < 1
    assert np.mean(gains) < 0.6


def test_depthwise_channels_gain_by_a_quarter() -> None:
    gains = [_gains(_windows(seed), _weight(seed, 1, 9)) for seed in range(60)]

    assert np.mean(gains) < 0.75


def test_no_depthwise_channel_is_further_off_than_with_the_nearest_integers() -> None:
    gains = [_gains(_windows(seed), _weight(seed, 1, 9)) for seed in range(60)]

    assert np.max(gains) <= 1


def _gains(plain: Array, weight: Array, *, whole: bool = False) -> Array:
    """The error over that of the nearest integers on the same scales, for each output."""
    found = _found(weight, plain)
    own = _error(weight, _kept(found), plain)
    nearest = _error(weight, _nearest(weight, found.scales), plain)
    return own.sum() / nearest.sum() if whole else own / nearest


def _windows(seed: int) -> Array:
    """float32 (600, 9): 3x3 patches of a map that is smooth and nowhere negative."""
    rng = np.random.default_rng(seed)
    ends = np.pad(np.cumsum(rng.normal(0, 1, (2, 46)), 1), ((0, 0), (1, 0)))
    slow = ends[:, 7:] - ends[:, :-7]
    waves = slow[0][:, None] + slow[1]
    rows, columns = rng.integers(0, 38, (2, 600))
    taken = [waves[rows + i, columns + j] for i in range(3) for j in range(3)]
    return np.maximum(np.stack(taken, 1) + rng.normal(0, 0.2, (600, 9)), 0).astype(np.float32)


def test_tiny_layers_come_close_to_the_best_of_all_integers() -> None:
    ratios, of_nearest = [], []
    for seed in range(12):
        plain, weight = _inputs(seed, 4, count=200), _weight(seed, 4, 4)
        found = _found(weight, plain)
        best = _brute_force(weight, found.scales, plain)
        ratios.extend(_error(weight, _kept(found), plain) / best)
        of_nearest.extend(_error(weight, _nearest(weight, found.scales), plain) / best)

    assert min(ratios) > 1 - 1e-6  # else the search by brute force would be none
    assert np.median(ratios) < 1.2
    assert np.percentile(ratios, 90) < 0.5 * np.percentile(of_nearest, 90)


def _brute_force(weight: Array, scales: Array, plain: Array) -> Array:
    """The least error of every output over all integers within three of the float weights."""
    centred = (plain - plain.mean(0)).astype(np.float64)
    around = np.array(list(itertools.product(range(-2, 4), repeat=weight.shape[1])))
    best = []
    for row, step in zip(weight, scales.astype(np.float64), strict=True):
        tried = np.floor(row / step) + around
        tried = tried[np.abs(tried).max(1) <= 127]
        best.append(np.square(centred @ (tried * step - row).T).mean(0).min())
    return np.array(best)


def test_every_later_column_is_what_least_squares_makes_of_the_earlier_errors() -> None:
    """Column by column, solved anew each time: over more columns than one block has."""
    taps = BLOCK + 20
    plain, weight = _inputs(3, taps), _weight(3, 2, taps)
    found = _found(weight, plain)
    own = np.cov(plain.T.astype(np.float64), bias=True)
    own += 0.01 * np.diagonal(own).mean() * np.eye(taps)
    order = np.argsort(-np.diagonal(own))
    left, steps = weight.copy(), found.scales.astype(np.float64)
    for done, column in enumerate(order):
        off = left[:, column] - np.clip(np.rint(left[:, column] / steps), -127, 127) * steps
        rest = order[done + 1 :]
        left[:, rest] += np.outer(off, np.linalg.solve(own[np.ix_(rest, rest)], own[rest, column]))
        left[:, column] -= off

    assert np.mean(np.rint(left / steps[:, None]) == found.integers) > 0.99


def test_independent_inputs_are_rounded_to_the_nearest() -> None:
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], np.float32)
    plain = np.concatenate([signs, -signs]) * np.array([1, 2, 3, 4], np.float32)
    weight = _weight(0, 5, 4)

    found = _found(weight, plain)

    np.testing.assert_allclose(_kept(found), _nearest(weight, found.scales), atol=1e-9)


def test_integers_make_up_for_what_int8_does_to_the_inputs() -> None:
    """Two inputs say nearly the same; one of them is cut off, so the other takes over."""
    plain = _inputs(5, 6)
    plain[:, 1] = plain[:, 0] + np.random.default_rng(0).normal(0, 0.05, len(plain))
    cut = plain.copy()
    cut[:, 0] = np.clip(plain[:, 0], -0.5, 0.5)
    weight = _weight(5, 4, 6)

    fitted = _error(weight, _kept(_found(weight, plain, cut)), plain, cut)
    left = _error(weight, _kept(_found(weight, plain, cut, rounding=False)), plain, cut)

    assert np.all(fitted < 0.1 * left)


@pytest.mark.parametrize("rounding", [True, False])
def test_bias_keeps_the_mean_of_every_output(rounding: bool) -> None:
    plain, weight = _inputs(7, 9), _weight(7, 6, 9)
    coarse = _on_grid(plain, 0.5, top=8)

    found = _found(weight, plain, coarse, rounding=rounding)

    expected = (plain @ weight.T).mean(0)
    without = (coarse @ _kept(found).T).mean(0)
    np.testing.assert_allclose(without + found.bias_shift, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(without - expected).max() > 0.01


def test_each_step_can_be_left_out() -> None:
    plain, weight = _inputs(8, 9), _weight(8, 6, 9)

    bare = _found(weight, plain, scales=False, rounding=False, bias=False)

    steps = (np.abs(weight).max(1) / 127).astype(np.float16)
    np.testing.assert_array_equal(bare.scales, steps.astype(np.float32))
    np.testing.assert_array_equal(_kept(bare), _nearest(weight, bare.scales))
    assert not bare.bias_shift.any()
    assert _found(weight, plain, scales=False, rounding=False).bias_shift.any()


def test_scales_have_the_least_error_for_what_is_read_most() -> None:
    """One outlier that meets no input is given up for all others."""
    rng = np.random.default_rng(2)
    weight = rng.normal(0, 0.1, (3, 40))
    weight[:, 0] = 1.0
    plain = rng.normal(0, 1, (500, 40)).astype(np.float32)
    plain[:, 0] *= 1e-3

    least = _found(weight, plain, rounding=False)
    largest = _found(weight, plain, rounding=False, scales=False)

    assert np.all(least.scales < 0.75 * largest.scales)
    assert np.all(_error(weight, _kept(least), plain) < 0.8 * _error(weight, _kept(largest), plain))


def test_groups_do_not_know_of_each_other() -> None:
    inputs = np.stack([_inputs(seed, 5) for seed in range(3)])
    weights = np.stack([_weight(seed, 2, 5) for seed in range(3)])
    moments = PatchMoments(3, 5)
    moments.see(inputs, inputs)

    together = rounded(weights, moments)

    alone = [_found(weights[group], inputs[group]) for group in range(3)]
    np.testing.assert_array_equal(together.integers, [each.integers for each in alone])
    for name in ("scales", "bias_shift"):
        apart = np.concatenate([getattr(each, name) for each in alone])
        np.testing.assert_allclose(getattr(together, name), apart, atol=1e-6)


def test_form_is_that_of_the_engine() -> None:
    found = rounded(_weight(1, 4, 5)[None] * 1e-3, _seen(_inputs(1, 5)))

    assert [each.shape for each in found] == [(1, 4, 5), (4,), (4,)]
    assert [each.dtype for each in found] == [np.int8, np.float32, np.float32]
    assert found.integers.min() >= -127
    np.testing.assert_array_equal(found.scales.astype(np.float16).astype(np.float32), found.scales)


STILL = [np.full((count, 3), value, np.float32) for count, value in ((20, 0), (20, 1), (1, 1))]
CUT_OFF = "scales and fit are drawn to the smallest where nothing varies"


@pytest.mark.parametrize("plain", STILL, ids=["zeros", "constant", "one position"])
def test_inputs_that_do_not_vary_leave_the_outputs_as_they_were(plain: Array) -> None:
    weight = _weight(4, 3, 3)
    found = _found(weight, plain)

    outputs = plain @ _kept(found).T + found.bias_shift
    np.testing.assert_allclose(outputs, plain @ weight.T, atol=1e-4)


@pytest.mark.parametrize("plain", [*STILL, np.zeros((0, 3), np.float32)])
def test_inputs_that_do_not_vary_cut_off_no_weight(plain: Array) -> None:
    """Other pictures may have them vary: image pooling on one calibration picture is such."""
    weight = _weight(4, 3, 3)

    assert np.abs(_kept(_found(weight, plain)) - weight).max() < 0.02 * np.abs(weight).max()


def test_channel_that_was_silent_keeps_its_weights() -> None:
    inputs, weights = np.stack([_inputs(0, 9), 0 * _inputs(0, 9)]), _weight(0, 2, 9)[:, None]
    moments = PatchMoments(2, 9)
    moments.see(inputs, inputs)

    found = rounded(weights, moments)

    kept = found.integers[1] * found.scales[1]
    assert np.abs(kept - weights[1]).max() < 0.02 * np.abs(weights[1]).max()


def test_constant_inputs_are_rounded_however_many_there_are() -> None:
    plain = np.full((512, 3), 0.2127118644, np.float32)
    moments = PatchMoments(1, 3)
    for _ in range(16):
        moments.see(plain[None], plain[None])

    assert np.isfinite(rounded(_weight(0, 4, 3)[None], moments).bias_shift).all()


def test_large_inputs_that_hardly_vary_are_rounded() -> None:
    plain = (100.1 + 0.01 * _inputs(0, 9)).astype(np.float32)

    assert np.isfinite(_kept(_found(_weight(0, 4, 9), plain))).all()


def test_weights_of_zero_stay_zero() -> None:
    found = _found(np.zeros((2, 4)), _inputs(0, 4))
    assert not np.any(_kept(found))
    assert np.all(found.scales > 0)


def test_moments_are_those_of_numpy_however_the_patches_come() -> None:
    plain = _inputs(9, 4, count=50)
    coarse = _on_grid(plain, 0.3, top=5)
    moments = PatchMoments(1, 4)
    for start, end in ((0, 1), (1, 20), (20, 50)):
        moments.see(plain[None, start:end], coarse[None, start:end])

    own, cross = moments.covariances()

    both = np.cov(np.concatenate([plain, coarse], 1).T.astype(np.float64), bias=True)
    assert moments.count == 50
    np.testing.assert_allclose(moments.means[:, 0], [plain.mean(0), coarse.mean(0)], rtol=1e-5)
    np.testing.assert_allclose(own[0], both[4:, 4:], atol=1e-4)
    np.testing.assert_allclose(cross[0], both[:4, 4:], atol=1e-4)
