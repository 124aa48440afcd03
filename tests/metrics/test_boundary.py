"""The band around the borders of the truth, against the distance of every pair of pixels."""

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.metrics.boundary import band_confusion, border_band
from edgeseg.metrics.confusion import mean_iou
from edgeseg.types import IGNORE, Pixels


def _brute_force(truth: Pixels, width_px: int) -> np.ndarray:
    """Pixels with another value within `width_px` steps, each pair looked at."""
    rows, columns = np.indices(truth.shape)
    places = np.stack([rows.ravel(), columns.ravel()], 1)
    far = np.abs(places[:, None] - places[None]).max(2)
    values = truth.ravel()
    near_other = (far <= width_px) & (values[:, None] != values[None])
    return near_other.any(1).reshape(truth.shape)


def _blobs() -> Pixels:
    """Regions of every kind: large, thin, a single pixel, void, at the rim."""
    truth = np.zeros((30, 41), np.uint8)
    truth[4:12, 5:16] = 1
    truth[20, 2:30] = 2
    truth[15:28, 33] = 3
    truth[8, 36] = 4
    truth[26:, :4] = IGNORE
    return truth


@pytest.mark.parametrize("width_px", [1, 2, 3, 4, 5, 7, 40])
def test_the_band_is_what_lies_within_the_distance_of_another_value(width_px: int) -> None:
    np.testing.assert_array_equal(border_band(_blobs(), width_px), _brute_force(_blobs(), width_px))


def test_the_band_of_one_border_is_as_wide_on_both_sides() -> None:
    truth = np.repeat(np.array([[0] * 10 + [1] * 10], np.uint8), 6, 0)

    band = border_band(truth, 3)

    assert [*band[0]] == [False] * 7 + [True] * 6 + [False] * 7


def test_truth_of_one_class_has_no_border() -> None:
    assert not border_band(np.full((9, 9), 3, np.uint8), 4).any()


def test_the_truth_stays_as_it_was() -> None:
    truth = _blobs()
    border_band(truth, 5)
    np.testing.assert_array_equal(truth, _blobs())


def test_only_pixels_of_the_band_are_scored() -> None:
    """Two classes side by side; one wrong pixel at the border, a wrong column far from it."""
    truth = np.repeat(np.array([[0] * 6 + [1] * 6], np.uint8), 4, 0)
    labels = truth.copy()
    labels[0, 5] = 1
    labels[:, 11] = 0

    counts = band_confusion(truth, labels, 2, border_band(truth, 2))

    # 4 rows, 2 pixels on each side; one of class 0 is called 1.
    np.testing.assert_array_equal(counts, [[7, 1], [0, 8]])
    assert mean_iou(counts) == pytest.approx(100 * (7 / 8 + 8 / 9) / 2)


def test_void_makes_a_border_but_does_not_count() -> None:
    truth = np.zeros((1, 8), np.uint8)
    truth[0, 4:] = IGNORE

    counts = band_confusion(truth, np.ones((1, 8), np.uint8), 2, border_band(truth, 2))

    np.testing.assert_array_equal(counts, [[0, 2], [0, 0]])


@pytest.mark.parametrize("width_px", [0, -1])
def test_a_band_without_width_is_refused(width_px: int) -> None:
    with pytest.raises(UsageError, match="at least 1 pixel"):
        border_band(_blobs(), width_px)
