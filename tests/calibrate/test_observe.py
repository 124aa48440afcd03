"""What is remembered of a tensor is what numpy says of all its values together."""

import numpy as np
import pytest

from edgeseg.calibrate import Observer
from edgeseg.calibrate.methods import auto, entropy, minmax, mse, percentile
from edgeseg.calibrate.observe import BINS, SAMPLES

Array = np.ndarray


def fed(*pictures: Array) -> Observer:
    seen = Observer()
    for picture in pictures:
        seen.see(np.asarray(picture, np.float32))
    return seen


def growing(count: int = 6) -> list[Array]:
    """Pictures whose values grow, by less and by more than a doubling, and shrink again."""
    rng = np.random.default_rng(0)
    return [
        rng.normal(0, spread, (1, 8, 20, 30)).astype(np.float32)
        for spread in (0.3, 0.5, 4.0, 5.0, 90.0, 0.1)[:count]
    ]


def test_one_picture_is_counted_as_numpy_counts_it() -> None:
    (picture,) = growing(1)
    seen = fed(picture)
    wanted, _ = np.histogram(np.abs(picture), bins=BINS, range=(0, np.abs(picture).max()))
    # A value on a bin's edge may fall to either side, in float32 and in float64.
    assert np.abs(np.cumsum(seen.counts) - np.cumsum(wanted)).max() <= 2
    assert seen.range == np.abs(picture).max()


@pytest.mark.parametrize("count", [2, 3, 6])
def test_a_growing_range_counts_as_one_histogram_of_everything_does(count: int) -> None:
    pictures = growing(count)
    seen = fed(*pictures)
    everything = np.abs(np.concatenate(pictures))
    assert seen.counts.sum() == everything.size
    assert seen.range / 2 < everything.max() <= seen.range
    wanted, _ = np.histogram(everything, bins=BINS, range=(0, seen.range))
    difference = np.cumsum(seen.counts) - np.cumsum(wanted)
    assert np.abs(difference).max() <= 5  # of 4800 values a picture


def test_the_order_of_the_pictures_moves_nothing_but_bin_edges() -> None:
    forward, backward = fed(*growing()), fed(*growing()[::-1])
    assert forward.counts.sum() == backward.counts.sum()
    assert percentile(forward, percent=90) == pytest.approx(
        percentile(backward, percent=90), abs=2 * max(forward.range, backward.range) / BINS
    )


def test_the_extremes_are_those_of_every_value_also_of_large_maps() -> None:
    rng = np.random.default_rng(1)
    picture = rng.uniform(-1, 1, (1, 8, 300, 400)).astype(np.float32)
    picture[0, 3, 1, 1], picture[0, 5, 298, 398] = 7.25, -9.5  # on no grid of the samples
    seen = fed(picture)
    assert (seen.minimum, seen.maximum, seen.amax) == (-9.5, 7.25, 9.5)
    assert 0 < seen.counts.sum() < SAMPLES


def test_what_is_counted_of_a_large_map_stands_for_all_of_it() -> None:
    """Also where values lie on a grid of two or four pixels, as upsampled maps have."""
    picture = np.zeros((1, 4, 512, 512), np.float32)
    picture[..., ::2, ::2] = 1.0
    seen = fed(picture)
    assert seen.counts[-1] / seen.counts.sum() == pytest.approx(0.25, abs=0.01)


def test_memory_does_not_grow_with_pictures() -> None:
    seen = Observer()
    for picture in growing():
        seen.see(picture)
    held = sum(value.nbytes for value in vars(seen).values() if isinstance(value, np.ndarray))
    assert held == BINS * 8
    assert all(isinstance(value, np.ndarray | float | int) for value in vars(seen).values())


@pytest.mark.parametrize("method", [minmax, percentile, entropy, mse, auto])
def test_a_tensor_of_zeros_has_the_range_zero(method: object) -> None:
    seen = fed(np.zeros((1, 4, 5, 6)), np.zeros((1, 4, 5, 6)))
    assert (seen.minimum, seen.maximum, seen.amax) == (0, 0, 0)
    assert method(seen) == 0


def test_zeros_seen_before_anything_else_are_not_forgotten() -> None:
    """A branch that is dead on the first picture and alive on the second."""
    values = np.random.default_rng(2).uniform(0, 1, (1, 1, 10, 10))
    before, after = fed(np.zeros((1, 1, 30, 30)), values), fed(values, np.zeros((1, 1, 30, 30)))
    np.testing.assert_array_equal(before.counts, after.counts)
    assert before.counts.sum() == 1000


@pytest.mark.parametrize("method", [minmax, percentile, entropy, mse, auto])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_value_that_is_no_number_leaves_no_usable_range(
    method: object, bad: float, place: int
) -> None:
    """The build then refuses the tensor by name; a range without it would hide the overflow."""
    pictures = growing(3)
    pictures[place][0, 2, 3, 4] = bad
    assert not np.isfinite(method(fed(*pictures)))


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e30])
def test_tiny_and_huge_values_are_counted(scale: float) -> None:
    values = (np.linspace(-1, 1, 200) * scale).reshape(1, 2, 10, 10)
    seen = fed(values)
    assert seen.counts.sum() == 200
    assert seen.amax == pytest.approx(scale, rel=1e-3)


def test_a_tiny_picture_before_an_ordinary_one_costs_no_precision() -> None:
    (picture,) = growing(1)
    seen = fed(np.full((1, 1, 2, 2), 1e-35), picture)
    assert percentile(seen, percent=50) == pytest.approx(np.median(np.abs(picture)), rel=0.02)


def test_a_sample_with_its_extremes_counts_as_the_thinned_map_does() -> None:
    picture = np.random.default_rng(3).normal(0, 1, (1, 8, 300, 400)).astype(np.float32)
    whole, sampled = fed(picture), Observer()
    sampled.see_sample(picture[:, :, ::3, ::3], float(picture.min()), float(picture.max()))
    np.testing.assert_array_equal(whole.counts, sampled.counts)
    assert (whole.minimum, whole.maximum) == (sampled.minimum, sampled.maximum)
