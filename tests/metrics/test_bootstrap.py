"""The interval of a drop in mIoU."""

import time

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.metrics.bootstrap import drop_interval
from edgeseg.metrics.confusion import mean_iou
from edgeseg.types import Counts


def _frames(frames: int, classes: int, wrong: float, seed: int) -> Counts:
    """Confusions of 10000 pixels a frame; `wrong` of them off the diagonal, harder frames more."""
    rng = np.random.default_rng(seed)
    hard = np.random.default_rng(99).uniform(0.2, 1.8, frames)
    share = np.full((classes, classes), 1 / (classes * (classes - 1)))
    np.fill_diagonal(share, 0)
    mixed = [
        rng.multinomial(
            10000, (wrong * h * share + (1 - wrong * h) * np.eye(classes) / classes).ravel()
        )
        for h in hard
    ]
    return np.array(mixed).reshape(frames, classes, classes)


def test_the_drop_is_that_of_all_frames_together() -> None:
    reference, candidate = _frames(40, 5, 0.2, 1), _frames(40, 5, 0.3, 2)
    drop, low, high = drop_interval(reference, candidate, samples=200)
    assert drop == pytest.approx(mean_iou(reference.sum(0)) - mean_iou(candidate.sum(0)))
    assert 0 < low < drop < high


def test_the_interval_is_that_of_frames_drawn_one_by_one() -> None:
    reference, candidate = _frames(30, 4, 0.2, 3), _frames(30, 4, 0.24, 4)
    rng = np.random.default_rng(5)
    drops = []
    for _ in range(2000):
        drawn = rng.integers(0, 30, 30)
        drops.append(mean_iou(reference[drawn].sum(0)) - mean_iou(candidate[drawn].sum(0)))
    expected = np.quantile(drops, [0.05, 0.95])
    _, low, high = drop_interval(reference, candidate, samples=2000, level=0.9)
    width = expected[1] - expected[0]
    np.testing.assert_allclose([low, high], expected, atol=0.1 * width)


def test_one_network_compared_with_itself_has_no_drop_at_all() -> None:
    reference = _frames(20, 3, 0.3, 6)
    assert drop_interval(reference, reference, samples=50) == (0.0, 0.0, 0.0)


def test_a_class_in_few_frames_is_left_out_of_samples_without_it() -> None:
    reference = _frames(6, 2, 0.2, 7)
    padded = np.zeros((6, 3, 3), np.int64)
    padded[:, :2, :2] = reference
    candidate = padded.copy()
    padded[0, 2, 2] = candidate[0, 2, 2] = 500  # right in both: 100 points where it is drawn
    drop, low, high = drop_interval(padded, candidate, samples=300)
    assert (drop, low, high) == (0.0, 0.0, 0.0)


def test_the_same_seed_gives_the_same_interval() -> None:
    pair = _frames(20, 3, 0.2, 8), _frames(20, 3, 0.25, 9)
    assert drop_interval(*pair, seed=1) == drop_interval(*pair, seed=1)
    assert drop_interval(*pair, seed=1) != drop_interval(*pair, seed=2)


def test_a_test_set_of_camvids_size_takes_under_a_second() -> None:
    pair = _frames(233, 11, 0.2, 10), _frames(233, 11, 0.21, 11)
    start = time.process_time()
    drop_interval(*pair, samples=1000)
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize("shape", [(3, 2, 3), (0, 2, 2), (2, 2), (4, 2, 2)])
def test_what_is_not_a_pair_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError):
        drop_interval(np.ones(shape, np.int64), np.ones((3, 2, 2), np.int64))


@pytest.mark.parametrize("setting", [{"samples": 0}, {"level": 1.0}, {"level": 0.0}])
def test_a_setting_out_of_range_is_refused(setting: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        drop_interval(np.ones((3, 2, 2), np.int64), np.ones((3, 2, 2), np.int64), **setting)
