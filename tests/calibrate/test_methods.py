"""Ranges against numpy on the values themselves."""

import numpy as np
import pytest

from edgeseg.calibrate import METHODS, Observer
from edgeseg.calibrate.methods import (
    auto,
    best_method,
    entropy,
    minmax,
    mse,
    percentile,
    squared_errors,
)
from edgeseg.calibrate.observe import BINS
from edgeseg.tables import pick

Array = np.ndarray


def samples(kind: str) -> Array:
    rng = np.random.default_rng(0)
    return {
        "normal": rng.normal(0, 2, (1, 10, 60, 80)),
        "relu": np.maximum(rng.normal(0, 2, (1, 10, 60, 80)), 0),
        "laplace": rng.laplace(0, 1, (1, 10, 60, 80)),
        "uniform": rng.uniform(-3, 3, (1, 10, 60, 80)),
        "outlier": np.where(
            rng.uniform(size=(1, 10, 60, 80)) < 1e-4, 50, rng.normal(0, 1, (1, 10, 60, 80))
        ),
    }[kind].astype(np.float32)


KINDS = ["normal", "relu", "laplace", "uniform", "outlier"]


def observed(values: Array) -> Observer:
    seen = Observer()
    for row in np.array_split(values, 3, axis=2):
        seen.see(row)
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_minmax_is_the_largest_magnitude(kind: str) -> None:
    values = samples(kind)
    assert minmax(observed(values)) == np.abs(values).max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("percent", [50, 99, 99.9, 99.99, 100])
def test_percentile_is_numpys_to_one_bin(kind: str, percent: float) -> None:
    values, seen = np.abs(samples(kind)), observed(samples(kind))
    found = percentile(seen, percent=percent)
    low = np.percentile(values, percent, method="lower")
    high = np.percentile(values, percent, method="higher")
    step = seen.range / BINS
    assert low - step <= found <= high + step
    assert found <= seen.amax


def test_percentile_is_9999_unless_told() -> None:
    seen = observed(samples("laplace"))
    assert percentile(seen) == percentile(seen, percent=99.99) < minmax(seen)


def quantisation_error(values: Array, limit: float) -> float:
    step = limit / 127
    restored = np.clip(np.rint(values / step), -127, 127) * step
    return float(np.mean((values - restored) ** 2, dtype=np.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_mse_is_as_good_as_the_best_range_that_search_finds(kind: str) -> None:
    values = samples(kind).astype(np.float64)
    amax = np.abs(values).max()
    best = min(quantisation_error(values, amax * share) for share in np.linspace(0.02, 1.2, 237))
    found = quantisation_error(values, mse(observed(samples(kind))))
    assert found <= 1.02 * best


def test_mse_clips_what_is_rare_and_keeps_what_is_common() -> None:
    laplace, uniform = observed(samples("laplace")), observed(samples("uniform"))
    assert mse(laplace) < 0.95 * laplace.amax
    assert mse(uniform) > 0.98 * uniform.amax


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.77, 1.0])
def test_the_error_on_the_histogram_is_that_of_the_values(kind: str, share: float) -> None:
    values, seen = samples(kind).astype(np.float64), observed(samples(kind))
    limit = share * seen.amax
    found = squared_errors(seen, np.array([limit]))[0]
    assert found == pytest.approx(quantisation_error(values, limit), rel=0.02)


def divergence(counts: Array, stop: int) -> float:
    """Migacz's pseudocode, line by line, with 128 levels."""
    reference = counts[:stop].astype(float)
    reference[-1] += counts[stop:].sum()
    level = np.arange(stop) * 128 // stop
    filled = counts[:stop] > 0
    share = np.bincount(level, counts[:stop]) / np.maximum(np.bincount(level, filled), 1)
    candidate = np.where(filled, share[level], 0)
    p, q = reference / reference.sum(), candidate / max(candidate.sum(), 1)
    if ((q == 0) & (p > 0)).any():
        return np.inf
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


@pytest.mark.parametrize("kind", KINDS)
def test_entropy_is_the_least_divergence_that_brute_force_finds(kind: str) -> None:
    seen = observed(samples(kind))
    counts = seen.counts.copy()
    counts[0] -= int((samples(kind) == 0).sum())
    top = int(np.flatnonzero(counts)[-1]) + 1
    best = min(range(top, 127, -2), key=lambda stop: divergence(counts, stop))
    width = seen.range / BINS
    found = round(entropy(seen) / width)
    assert divergence(counts, found) == pytest.approx(divergence(counts, best), rel=1e-6, abs=1e-9)
    assert entropy(seen) == pytest.approx(min(seen.amax, best * width), abs=2 * width)


def test_entropy_clips_where_minmax_does_not() -> None:
    seen = observed(samples("laplace"))
    assert 0.1 * seen.amax < entropy(seen) < 0.9 * minmax(seen)


def test_a_constant_tensor_keeps_its_range() -> None:
    seen = observed(np.full((1, 4, 9, 9), -3.25, np.float32))
    assert {minmax(seen), percentile(seen), entropy(seen), auto(seen)} == {3.25}
    assert mse(seen) == pytest.approx(3.25)


@pytest.mark.parametrize("kind", KINDS)
def test_auto_takes_a_method_whose_error_is_within_two_percent_of_the_least(kind: str) -> None:
    values, seen = samples(kind).astype(np.float64), observed(samples(kind))
    name, chosen = best_method(seen)
    others = [
        minmax(seen), entropy(seen), mse(seen), *(
            percentile(seen, percent=percent) for percent in (99.9, 99.99, 99.999)
        )
    ]  # fmt: skip
    errors = [quantisation_error(values, limit) for limit in others]
    assert quantisation_error(values, chosen) <= 1.03 * min(errors)
    assert chosen in others
    assert auto(seen) == chosen
    assert name.partition(":")[0] in METHODS


def test_auto_does_not_clip_where_clipping_gains_nothing() -> None:
    assert best_method(observed(samples("uniform"))) == (
        "minmax",
        observed(samples("uniform")).amax,
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_a_range_within_what_was_seen(name: str) -> None:
    seen = observed(samples("normal"))
    found = pick(METHODS, name, kind="calibration method")(seen)
    assert isinstance(found, float)
    assert 0.2 * seen.amax <= found <= seen.amax
