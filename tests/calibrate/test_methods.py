"""Ranges against numpy on the values themselves."""

import numpy as np
import pytest

from edgeseg.calibrate import METHODS, Observer
from edgeseg.calibrate.methods import minmax, mse, percentile
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
    best = min(quantisation_error(values, amax * share) for share in np.linspace(0.1, 1.2, 221))
    found = quantisation_error(values, mse(observed(samples(kind))))
    assert found <= 1.02 * best


def test_mse_clips_what_is_rare_and_keeps_what_is_common() -> None:
    laplace, uniform = observed(samples("laplace")), observed(samples("uniform"))
    assert mse(laplace) < 0.95 * laplace.amax
    assert mse(uniform) > 0.98 * uniform.amax


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_a_range_within_what_was_seen(name: str) -> None:
    seen = observed(samples("normal"))
    found = pick(METHODS, name, kind="calibration method")(seen)
    assert isinstance(found, float)
    assert 0.2 * seen.amax <= found <= seen.amax
