"""Figures of each channel, against numpy on all pictures together."""

import numpy as np
import pytest

from edgeseg.calibrate.channels import ChannelObserver


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    spread = np.array([0.1, 1, 30, 0, 5]).reshape(1, 5, 1, 1)
    return [rng.normal(2, 1, (n, 5, 7, 9)).astype(np.float32) * spread for n in (1, 2, 1)]


def test_every_figure_is_numpys() -> None:
    seen = ChannelObserver()
    for picture in pictures():
        seen.see(picture.astype(np.float32))
    every = np.concatenate(pictures()).astype(np.float32).astype(np.float64)
    axes = (0, 2, 3)
    np.testing.assert_array_equal(seen.minimum, every.min(axes))
    np.testing.assert_array_equal(seen.maximum, every.max(axes))
    np.testing.assert_array_equal(seen.amax, np.abs(every).max(axes))
    np.testing.assert_allclose(seen.mean, every.mean(axes), rtol=1e-10)
    np.testing.assert_allclose(seen.mean_square, (every**2).mean(axes), rtol=1e-10)


def test_vectors_of_channels_count_as_maps_of_one_pixel() -> None:
    seen = ChannelObserver()
    seen.see(np.array([[1, -4, 0]], np.float32))
    seen.see(np.array([[3, 2, 0]], np.float32))
    assert seen.amax.tolist() == [3, 4, 0]
    assert seen.mean.tolist() == [2, -1, 0]
    assert seen.mean_square.tolist() == [5, 10, 0]


def test_a_nan_stays_in_its_channel() -> None:
    seen = ChannelObserver()
    seen.see(np.array([[1, np.nan]], np.float32))
    seen.see(np.array([[2, 5]], np.float32))
    assert np.isnan(seen.amax).tolist() == [False, True]


def test_memory_does_not_grow_with_pictures() -> None:
    seen = ChannelObserver()
    for picture in pictures() * 3:
        seen.see(picture)
    held = [value for value in vars(seen).values() if isinstance(value, np.ndarray)]
    assert {value.shape for value in held} == {(5,)}


@pytest.mark.parametrize("figure", ["minimum", "maximum", "amax", "mean", "mean_square"])
def test_nothing_seen_is_an_empty_figure(figure: str) -> None:
    assert getattr(ChannelObserver(), figure).shape == (0,)
