"""The weight map of U-Net against distances measured pixel by pixel."""

import numpy as np
import pytest

pytest.importorskip("cv2", reason="OpenCV is not installed here")

import cv2

from edgeseg.datasets.border_weights import border_weights
from edgeseg.types import Array, Floats, Pixels

CELLS = np.zeros((30, 40), np.uint8)
CELLS[3:12, 4:15] = 1
CELLS[3:14, 18:30] = 1
CELLS[17:28, 8:24] = 2
CELLS[20:25, 32:40] = 1
"""Four regions, one of them at the picture's edge."""


def _by_brute_force(mask: Pixels, regions: list[Array], w0: float, sigma_px: float) -> Floats:
    """From each pixel to each border pixel of each region: one with a neighbour outside of it."""
    distances = []
    for region in regions:
        padded = np.pad(region, 1, mode="edge")
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        border = np.argwhere(region & ~inner)
        grid = np.stack(np.indices(mask.shape), axis=-1)
        distances.append(np.linalg.norm(grid[:, :, None] - border, axis=-1).min(-1))
    first, second = np.sort(distances, axis=0)[:2]
    return 1 + w0 * np.exp(-((first + second) ** 2) / (2 * sigma_px**2))


def test_cells_on_a_background() -> None:
    parts = cv2.connectedComponents((CELLS == 1).astype(np.uint8))[1]
    regions = [CELLS == 2, parts == 1, parts == 2, parts == 3]
    expected = _by_brute_force(CELLS, regions, 10.0, 5.0)
    np.testing.assert_allclose(border_weights(CELLS, background=0), expected, atol=1e-5)
    assert expected[7, 16] > 7  # between two cells three pixels apart
    assert expected[29, 0] < 1.1


@pytest.mark.parametrize(("w0", "sigma_px"), [(10.0, 5.0), (3.0, 2.0)])
def test_classes_without_background(w0: float, sigma_px: float) -> None:
    mask = np.repeat(np.repeat(np.arange(6, dtype=np.uint8).reshape(2, 3), 15, 0), 12, 1)
    expected = _by_brute_force(mask, [mask == value for value in range(6)], w0, sigma_px)
    weights = border_weights(mask, w0=w0, sigma_px=sigma_px)
    np.testing.assert_allclose(weights, expected, atol=1e-5)


def test_class_weights_are_added_and_ignored_pixels_weigh_nothing() -> None:
    mask = np.array([[0, 0, 1, 255]], np.uint8).repeat(3, axis=0)
    weights = border_weights(mask, class_weights=np.array([2.0, 5.0], np.float32), w0=0.0)
    np.testing.assert_array_equal(weights, np.array([[2, 2, 5, 0]]).repeat(3, axis=0))


def test_one_region_alone_has_no_neighbour_to_be_kept_from() -> None:
    whole = np.zeros((20, 20), np.uint8)
    np.testing.assert_array_equal(border_weights(whole), 1)
    whole[5:9, 5:9] = 3
    np.testing.assert_array_equal(border_weights(whole, background=0), 1)


def test_nothing_but_ignored_pixels_weighs_nothing() -> None:
    np.testing.assert_array_equal(border_weights(np.full((4, 4), 255, np.uint8)), 0)
