"""Elastic deformation: picture and mask move alike, smoothly, and as far as asked."""

import numpy as np
import pytest

pytest.importorskip("cv2", reason="OpenCV is not installed here")

from edgeseg.datasets.elastic import displacements, elastic_view
from edgeseg.types import Floats, Pixels, Size

CUBIC = -0.75
"""The free constant of OpenCV's bicubic kernel."""


def _patches() -> tuple[Pixels, Pixels]:
    """A picture of black, grey and white patches, and the mask (0, 1, 2) that it shows."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 3, (6, 8)).astype(np.uint8)
    mask = coarse.repeat(20, axis=0).repeat(20, axis=1)
    return np.repeat((mask * 100)[..., None], 3, axis=2), mask


def _cubic_weights(side: int, cells: int) -> Floats:
    """(side, cells): the share of each coarse cell in each pixel, cells repeated at the ends."""
    shares = np.zeros((side, cells), np.float32)
    places = (np.arange(side) + 0.5) * cells / side - 0.5
    for row, place in enumerate(places):
        for cell in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            x = abs(place - cell)
            near = (CUBIC + 2) * x**3 - (CUBIC + 3) * x**2 + 1
            far = CUBIC * (x**3 - 5 * x**2 + 8 * x - 4)
            shares[row, min(max(cell, 0), cells - 1)] += near if x <= 1 else far
    return shares


def test_displacements_are_bicubic_between_the_coarse_vectors() -> None:
    coarse = np.random.default_rng(3).normal(0, 10, (3, 3, 2)).astype(np.float32)
    expected = np.einsum("ya,xb,abc->yxc", _cubic_weights(60, 3), _cubic_weights(90, 3), coarse)
    np.testing.assert_allclose(displacements(Size(60, 90), coarse), expected, atol=1e-3)


def test_equal_vectors_shift_the_picture_and_mirror_it_at_its_border() -> None:
    class Same(np.random.Generator):
        def normal(self, *args: object) -> Floats:
            del args
            return np.tile(np.array([7.0, -4.0]), (3, 3, 1))  # 7 px from the right, 4 from above

    image, mask = _patches()
    view, labels = elastic_view(image, mask, Same(np.random.PCG64(0)))
    padded = np.pad(mask, [(4, 0), (0, 7)], mode="reflect")[:120, 7:167]
    np.testing.assert_array_equal(labels, padded)
    np.testing.assert_array_equal(view[..., 1], padded * 100)


def test_labels_lie_where_the_view_shows_them() -> None:
    rng = np.random.default_rng(4)
    wrong = []
    for _ in range(8):
        view, labels = elastic_view(*_patches(), rng)
        flat = np.isin(view[..., 0], (0, 100, 200))  # between two patches nobody knows
        wrong.append((view[..., 0] != labels * 100)[flat].mean())
        assert flat.mean() > 0.7
    assert np.mean(wrong) < 0.002


def test_displacements_are_as_wide_as_asked() -> None:
    rng = np.random.default_rng(5)
    ramp = np.arange(250, dtype=np.uint8)[None].repeat(200, axis=0)
    image = np.repeat(ramp[..., None], 3, axis=2)
    moved = []
    for _ in range(300):
        view, _ = elastic_view(image, ramp, rng, sigma_px=6.0)
        moved.append(float(view[100, 125, 0]) - 125)  # the centre of the middle cell
    assert np.mean(moved) == pytest.approx(0, abs=1.0)
    assert np.std(moved) == pytest.approx(6, rel=0.15)


def test_the_same_generator_gives_the_same_view() -> None:
    first = elastic_view(*_patches(), np.random.default_rng(6))
    again = elastic_view(*_patches(), np.random.default_rng(6))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != _patches()[0]).any()


@pytest.mark.parametrize("grid", [1, 2, 5])
def test_any_grid_and_no_displacement_keep_the_picture(grid: int) -> None:
    image, mask = _patches()
    view, labels = elastic_view(image, mask, np.random.default_rng(7), grid=grid, sigma_px=0.0)
    np.testing.assert_array_equal(view, image)
    np.testing.assert_array_equal(labels, mask)
