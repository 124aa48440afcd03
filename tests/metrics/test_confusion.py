"""The confusion matrix against pixels counted one by one."""

import numpy as np
import pytest

from edgeseg.metrics.confusion import confusion_of, iou_per_class, mean_iou, pixel_accuracy


def test_rows_are_the_truth_and_columns_the_labels() -> None:
    truth = np.array([[0, 0, 1], [2, 255, 1]], np.uint8)
    labels = np.array([[0, 1, 1], [0, 2, 1]], np.uint8)
    assert confusion_of(truth, labels, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]


def test_iou_is_intersection_over_union() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, (40, 50)).astype(np.uint8)
    labels = np.where(rng.random((40, 50)) < 0.6, truth, rng.integers(0, 5, (40, 50)))
    truth[:4] = 255
    expected = []
    for cls in range(5):
        a, b = (truth == cls)[4:], (labels == cls)[4:]
        expected.append(100 * (a & b).sum() / (a | b).sum())
    confusion = confusion_of(truth, labels.astype(np.uint8), 5)
    np.testing.assert_allclose(iou_per_class(confusion), expected)
    assert mean_iou(confusion) == pytest.approx(np.mean(expected))
    assert pixel_accuracy(confusion) == pytest.approx(100 * (truth == labels)[4:].mean())


def test_a_class_that_nobody_saw_does_not_count() -> None:
    confusion = np.array([[3, 0, 0], [0, 5, 0], [0, 0, 0]])
    assert np.isnan(iou_per_class(confusion)[2])
    assert mean_iou(confusion) == 100.0


def test_a_class_that_was_only_imagined_counts_as_zero() -> None:
    assert mean_iou(np.array([[3, 1], [0, 0]])) == pytest.approx(75 / 2)


def test_nothing_to_count_is_not_a_number() -> None:
    assert np.isnan(mean_iou(np.zeros((3, 3), np.int64)))
    assert np.isnan(pixel_accuracy(np.zeros((3, 3), np.int64)))
