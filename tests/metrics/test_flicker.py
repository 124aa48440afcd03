"""How much masks tremble, counted by hand."""

import numpy as np
import pytest

from edgeseg.metrics.flicker import STILL, Flicker


def grey(*levels: int) -> np.ndarray:
    """One row of grey pixels."""
    return np.repeat(np.array([levels], np.uint8)[..., None], 3, axis=2)


def ids(*labels: int) -> np.ndarray:
    return np.array([labels], np.uint8)


def seen(*frames: tuple[np.ndarray, np.ndarray]) -> Flicker:
    flicker = Flicker()
    for pixels, labels in frames:
        flicker.see(pixels, labels)
    return flicker


def test_only_labels_that_change_where_the_picture_stands_still_count() -> None:
    before, after = grey(10, 10, 10, 250), grey(10, 10 + STILL, 11 + STILL, 0)
    flicker = seen((before, ids(1, 1, 1, 1)), (after, ids(1, 2, 2, 2)))
    assert (flicker.pixels, flicker.changed, flicker.percent) == (2, 1, 50.0)


@pytest.mark.parametrize("channel", range(3))
def test_a_step_of_one_channel_moves_a_pixel(channel: int) -> None:
    before, after = grey(100, 100), grey(100, 100)
    after[0, 1, channel] -= STILL + 1
    assert seen((before, ids(0, 0)), (after, ids(1, 1))).pixels == 1


def test_many_frames_are_counted_together_as_by_hand() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(90, 106, (6, 9, 7, 3)).astype(np.uint8)
    labels = rng.integers(0, 3, (6, 9, 7)).astype(np.uint8)
    still = np.abs(np.diff(pixels.astype(int), axis=0)).max(3) <= STILL
    flicker = seen(*zip(pixels, labels, strict=True))
    wanted = 100 * (still & (np.diff(labels.astype(int), axis=0) != 0)).sum() / still.sum()
    assert flicker.percent == pytest.approx(wanted)


def test_frames_may_come_in_memory_that_is_used_again() -> None:
    flicker, pixels, labels = Flicker(), grey(5, 5), ids(0, 0)
    flicker.see(pixels, labels)
    labels[0, 0] = 1
    flicker.see(pixels, labels)
    assert flicker.percent == 50.0


def test_a_new_beginning_and_another_size_are_compared_with_nothing() -> None:
    flicker = seen((grey(5, 5), ids(0, 0)))
    flicker.begin()
    flicker.see(grey(5, 5), ids(1, 1))
    flicker.see(grey(5, 5, 5), ids(0, 0, 0))
    assert flicker.percent is None
    flicker.see(grey(5, 5, 5), ids(0, 0, 0))
    assert flicker.percent == 0.0
