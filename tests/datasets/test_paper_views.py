import numpy as np
import pytest

pytest.importorskip("cv2", reason="OpenCV is not installed here")

from edgeseg.datasets.paper_views import PaperView, paper_view
from edgeseg.types import Pixels, Size

IGNORE = 255


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def _patches(rng: np.random.Generator, size: Size) -> tuple[Pixels, Pixels]:
    """A picture of black, grey and white patches of 24 px, and the mask (0, 1, 2) that it shows."""
    coarse = rng.integers(0, 3, (size.height // 24, size.width // 24)).astype(np.uint8)
    mask = coarse.repeat(24, axis=0).repeat(24, axis=1)
    return np.repeat((mask * 100)[..., None], 3, axis=2), mask


@pytest.mark.parametrize(
    "how",
    [
        PaperView(crop=Size(64, 96)),
        PaperView(crop=Size(64, 96), scale=(0.5, 2.0)),
        PaperView(crop=Size(64, 96), rotation_deg=10.0),
        PaperView(crop=Size(64, 96), elastic=True),
        PaperView(crop=Size(300, 400), scale=(0.5, 1.5), rotation_deg=10.0, blur=True),
    ],
    ids=["crop", "scale", "rotation", "elastic", "padded"],
)
def test_labels_lie_where_the_view_shows_them(how: PaperView, rng: np.random.Generator) -> None:
    image, mask = _patches(rng, Size(192, 240))
    right = []
    for _ in range(10):
        view, labels = paper_view(image, mask, how, rng)
        assert view.shape == (*how.crop, 3)
        assert labels.shape == how.crop
        keep = labels != IGNORE
        right.append((np.round(view[keep, 0] / 100) == labels[keep]).mean())
    assert np.mean(right) > 0.95


def test_outside_the_picture_nothing_is_labelled(rng: np.random.Generator) -> None:
    image, mask = np.full((10, 12, 3), 77, np.uint8), np.zeros((10, 12), np.uint8)
    view, labels = paper_view(image, mask, PaperView(crop=Size(20, 30)), rng)
    assert (labels != IGNORE).sum() == 10 * 12
    assert (view == 77).all()


def test_half_of_the_views_are_mirrored_unless_told(rng: np.random.Generator) -> None:
    image, mask = np.zeros((8, 8, 3), np.uint8), np.tile(np.arange(8, dtype=np.uint8), (8, 1))
    both = PaperView(crop=Size(8, 8))
    firsts = [paper_view(image, mask, both, rng)[1][0, 0] for _ in range(200)]
    assert 60 < firsts.count(7) < 140
    assert set(firsts) == {0, 7}
    as_is = PaperView(crop=Size(8, 8), flip=False)
    assert {paper_view(image, mask, as_is, rng)[1][0, 0] for _ in range(50)} == {0}
