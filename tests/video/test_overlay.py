"""edgeseg.video.overlay and edgeseg.video.legend."""

import tracemalloc

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.types import Labels, Pixels, Size
from edgeseg.video.legend import legend_box
from edgeseg.video.overlay import Overlay, Visualize

SIZE = Size(240, 320)


def grey(value: int = 100, size: Size = SIZE) -> Pixels:
    return np.full((*size, 3), value, np.uint8)


def halves(size: Size = SIZE) -> Pixels:
    labels = np.zeros(size, np.uint8)
    labels[:, size.width // 2 :] = 1
    return labels


def many(count: int) -> Labels:
    return Labels(
        names=tuple(f"a class named {index}" for index in range(count)),
        colors=tuple((index, 255 - index, 40) for index in range(count)),
    )


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_classes_shine_through_as_alpha_says(alpha: float, three_labels: Labels) -> None:
    picture = Overlay(SIZE, three_labels, alpha=alpha, legend=False).draw(grey(), halves())
    expected = 100 * (1 - alpha) + np.array(three_labels.colors)[halves()] * alpha
    assert np.abs(picture - expected).max() <= 1


def test_mask_shows_the_colours_alone(three_labels: Labels) -> None:
    overlay = Overlay(SIZE, three_labels, visualize="mask", legend=False)
    expected = np.array(three_labels.colors)[halves()]
    np.testing.assert_array_equal(overlay.draw(grey(), halves()), expected)


def test_side_by_side_is_twice_as_wide(three_labels: Labels) -> None:
    overlay = Overlay(SIZE, three_labels, visualize="side-by-side", legend=False)
    assert overlay.picture_size == Size(240, 640)
    picture = overlay.draw(grey(), halves())
    np.testing.assert_array_equal(picture[:, :320], grey())
    np.testing.assert_array_equal(picture[:, 320:], np.array(three_labels.colors)[halves()])


def test_ids_without_a_class_are_black(three_labels: Labels) -> None:
    labels = np.full(SIZE, 255, np.uint8)
    overlay = Overlay(SIZE, three_labels, visualize="mask", legend=False)
    assert not overlay.draw(grey(), labels).any()


def test_labels_of_another_size_are_stretched_without_new_ids(three_labels: Labels) -> None:
    overlay = Overlay(SIZE, three_labels, visualize="mask", legend=False)
    expected = np.array(three_labels.colors)[halves()]
    np.testing.assert_array_equal(overlay.draw(grey(), halves(Size(60, 80))), expected)


@pytest.mark.parametrize("visualize", ["overlay", "mask", "side-by-side"])
def test_the_picture_is_one_buffer_and_the_arguments_stay(
    visualize: Visualize, three_labels: Labels
) -> None:
    overlay = Overlay(SIZE, three_labels, visualize=visualize)
    pixels, labels = grey(), halves()
    first = overlay.draw(pixels, labels, "118 fps")
    assert overlay.draw(grey(7), labels, "119 fps") is first
    np.testing.assert_array_equal(pixels, grey())
    np.testing.assert_array_equal(labels, halves())
    assert not np.shares_memory(first, pixels)


@pytest.mark.parametrize("visualize", ["overlay", "mask", "side-by-side"])
def test_drawing_allocates_nothing_of_a_frames_size(
    visualize: Visualize, three_labels: Labels
) -> None:
    size = Size(480, 640)
    overlay = Overlay(size, three_labels, visualize=visualize)
    pixels, labels = grey(size=size), halves(size)
    overlay.draw(pixels, labels, "118 fps")
    tracemalloc.start()
    for _ in range(5):
        overlay.draw(pixels, labels, "118 fps")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000


def test_text_stays_on_its_band(three_labels: Labels) -> None:
    overlay = Overlay(SIZE, three_labels, alpha=0, legend=False)
    plain = overlay.draw(grey(), halves()).copy()
    written = overlay.draw(grey(), halves(), "deeplabv3plus int8  118 fps  8.4 ms " * 5)
    band = 16
    np.testing.assert_array_equal(written[band:], plain[band:])
    assert written[:band].max() > 150
    assert written[:band].min() == 100 // 4
    assert (written[:band, -4:] == 25).all()


@pytest.mark.parametrize("count", [1, 11, 19, 150, 255])
@pytest.mark.parametrize(
    "size",
    [
        Size(64, 96),
        Size(240, 320),
        Size(480, 640),
        Size(1080, 1920),
        Size(200, 2000),
        Size(2000, 200),
    ],
)
def test_the_legend_covers_a_quarter_at_most(count: int, size: Size) -> None:
    box = legend_box(many(count), size)
    covered = 0 if box is None else box.shape[0] * box.shape[1]
    assert covered <= size.height * size.width / 4
    Overlay(size, many(count)).draw(grey(size=size), halves(size), "text")


def test_the_legend_shows_every_colour_of_a_usual_set() -> None:
    labels = many(19)
    box = legend_box(labels, Size(480, 640))
    assert box is not None
    shown = {tuple(color) for color in np.unique(box.reshape(-1, 3), axis=0).tolist()}
    assert set(labels.colors) <= shown


def test_frames_too_small_for_a_legend_have_none() -> None:
    assert legend_box(many(19), Size(16, 16)) is None


def test_what_cannot_be_drawn_is_refused(three_labels: Labels) -> None:
    with pytest.raises(UsageError, match="320x240"):
        Overlay(SIZE, three_labels).draw(grey(size=Size(32, 32)), halves())
    with pytest.raises(UsageError, match="alpha"):
        Overlay(SIZE, three_labels, alpha=2)
    with pytest.raises(UsageError, match="side-by-side"):
        Overlay(SIZE, three_labels, visualize="both")  # type: ignore[arg-type]
