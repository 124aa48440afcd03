"""Random views: the labels must lie where the view shows them."""

import numpy as np
import pytest

pytest.importorskip("cv2", reason="OpenCV is not installed here")

from edgeseg.datasets.augment import Augmentation, random_view
from edgeseg.types import Pixels, Size

UNLIT = {"light": 0.0, "blur_share": 0.0, "noise_share": 0.0}


def _patches(rng: np.random.Generator, size: Size) -> tuple[Pixels, Pixels]:
    """A picture of large black, grey and white patches, and the mask (0, 1, 2) that it shows."""
    coarse = rng.integers(0, 3, (size.height // 24, size.width // 24)).astype(np.uint8)
    mask = coarse.repeat(24, axis=0).repeat(24, axis=1)
    return np.repeat((mask * 100)[..., None], 3, axis=2), mask


@pytest.mark.parametrize("scale", [(0.4, 0.5), (0.55, 0.7), (0.9, 1.1), (1.5, 2.0)])
def test_labels_lie_where_the_view_shows_them(scale: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    how = Augmentation(crop=Size(96, 128), scale=scale, **UNLIT)
    wrong = []
    for _ in range(12):
        view, labels = random_view(*_patches(rng, Size(288, 384)), how, rng)
        # A 2x2 block that is all one colour shows its label beyond doubt.
        blocks = view[..., 0].reshape(48, 2, 64, 2).transpose(0, 2, 1, 3).reshape(48, 64, 4)
        flat = (np.ptp(blocks.astype(int), axis=2) <= 2) & (labels != 255)
        shown = np.round(blocks.mean(2) / 100)
        wrong.append((shown != labels)[flat].mean())
        assert flat.mean() > 0.2
    assert np.mean(wrong) < 0.002


@pytest.mark.parametrize("scale", [(0.45, 0.59), (0.9, 1.3)])
def test_an_edge_is_at_the_same_place_in_view_and_labels(scale: tuple[float, float]) -> None:
    mask = np.zeros((240, 320), np.uint8)
    mask[:, 160:] = 1
    image = np.repeat((mask * 200)[..., None], 3, axis=2)
    how = Augmentation(crop=Size(80, 120), scale=scale, stretch=0.0, rotation_deg=0.0, **UNLIT)
    rng = np.random.default_rng(2)
    surplus, mirrored = [], []
    for _ in range(600):
        view, labels = random_view(image, mask, how, rng)
        bright = view[40, :, 0] / 200.0
        if bright.min() == bright.max():
            continue  # the edge is not in sight
        surplus.append(2.0 * (labels[20] == 1).sum() - bright.sum())
        mirrored.append(bright[-1] < 0.5)
    wider, flipped = np.array(surplus), np.array(mirrored)
    assert min(flipped.sum(), (~flipped).sum()) > 60
    # Each block rounds, so only means tell: a shift in the source shows in their average over
    # both directions, a shift in the view in their difference.
    assert abs(wider[flipped].mean() + wider[~flipped].mean()) / 2 < 0.12
    assert abs(wider[flipped].mean() - wider[~flipped].mean()) / 2 < 0.12
    assert np.abs(wider).max() <= 1.5


def test_what_lies_outside_the_picture_is_mirrored_and_not_counted() -> None:
    image = np.full((40, 40, 3), 120, np.uint8)
    how = Augmentation(crop=Size(80, 80), scale=(1.0, 1.01), rotation_deg=0.0, **UNLIT)
    view, labels = random_view(image, np.zeros((40, 40), np.uint8), how, np.random.default_rng(0))
    assert view.min() >= 118
    assert set(np.unique(labels)) == {0, 255}
    assert 0.6 < (labels == 255).mean() < 0.85


def test_views_are_as_large_as_asked_and_labels_half_of_it() -> None:
    rng = np.random.default_rng(3)
    how = Augmentation(crop=Size(64, 96), scale=(0.5, 2.0))
    view, labels = random_view(*_patches(rng, Size(120, 168)), how, rng)
    assert (view.shape, view.dtype) == ((64, 96, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((32, 48), np.uint8)


def test_the_same_random_state_gives_the_same_view() -> None:
    image, mask = _patches(np.random.default_rng(4), Size(120, 168))
    how = Augmentation(crop=Size(64, 96), scale=(0.5, 2.0), noise_share=0.0)
    first, second, third = (
        random_view(image, mask, how, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] != third[0]).any()


def test_light_changes_the_view_but_not_the_labels_nor_the_original() -> None:
    image, mask = _patches(np.random.default_rng(7), Size(120, 168))
    before = image.copy(), mask.copy()
    geometry = {"crop": Size(64, 96), "scale": (0.9, 1.1)}
    plain = Augmentation(**geometry, light=0.0, blur_share=0.0, noise_share=0.0)
    lit = Augmentation(**geometry, light=0.5)
    dull_view, dull_labels = random_view(image, mask, plain, np.random.default_rng(8))
    lit_view, lit_labels = random_view(image, mask, lit, np.random.default_rng(8))
    assert np.abs(dull_view.astype(int) - lit_view).mean() > 3
    np.testing.assert_array_equal(dull_labels, lit_labels)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])
