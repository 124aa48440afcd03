"""The procedural street: seeded, any size, with labels that fit its pixels."""

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("cv2", reason="OpenCV is not installed here")

from edgeseg.scene import Street
from edgeseg.types import Pixels, Size

CLASSES = 11


@pytest.mark.parametrize("size", [Size(360, 480), Size(97, 131), Size(16, 16), Size(64, 513)])
def test_a_frame_has_exactly_the_size_that_was_asked_for(size: Size) -> None:
    image, labels = Street(3, size).frame(1.0)
    assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
    assert (labels.shape, labels.dtype) == (tuple(size), np.uint8)
    assert labels.max() < CLASSES


def test_a_seed_and_a_time_give_the_same_frame_whatever_came_before() -> None:
    fresh, used = Street(5, Size(90, 120)), Street(5, Size(90, 120))
    used.frame(0.0)
    used.frame(7.25)
    for one, other in zip(fresh.frame(2.5), used.frame(2.5), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_is_another_street() -> None:
    one, other = (Street(seed, Size(90, 120)).frame(0.0)[1] for seed in (1, 2))
    assert (one != other).mean() > 0.1


def test_every_class_occurs_over_the_first_streets() -> None:
    seen = {
        int(label)
        for seed in range(60)
        for label in np.unique(Street(seed, Size(180, 240)).frame(0.37 * seed % 20)[1])
    }
    assert seen == set(range(CLASSES))


def test_labels_move_from_frame_to_frame_but_not_much() -> None:
    street = Street(11, Size(180, 240))
    frames = [street.frame(index / 25)[1] for index in range(5)]
    changed = [float((a != b).mean()) for a, b in pairwise(frames)]
    assert min(changed) > 0
    assert max(changed) < 0.2


@pytest.mark.parametrize("seed", [0, 4, 8])
def test_where_labels_change_colours_change(seed: int) -> None:
    image, labels = Street(seed, Size(240, 320)).frame(3.0)
    changes = labels[:, 2:] != labels[:, :-2]
    steps = _steps(image)
    assert steps[changes].mean() > 3 * steps[~changes].mean()


@pytest.mark.parametrize("seed", [0, 4, 8])
def test_the_labels_are_not_shifted_against_the_picture(seed: int) -> None:
    image, labels = Street(seed, Size(240, 320)).frame(3.0)
    steps = _steps(image)[:, 8:-8]

    def fit(shift: int) -> float:
        moved = np.roll(labels, shift, axis=1)
        return float(steps[(moved[:, 2:] != moved[:, :-2])[:, 8:-8]].mean())

    assert max(range(-4, 5), key=fit) in {-1, 0, 1}
    assert fit(0) > 1.3 * max(fit(-4), fit(4))


def _steps(image: Pixels) -> Pixels:
    """How much brighter or darker the pixel two to the right is; green, which has no noise."""
    green = image[..., 1].astype(int)
    return np.abs(green[:, 2:] - green[:, :-2])
