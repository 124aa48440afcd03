"""Labels by a running maximum are those of ArgMax over all upsampled logits."""

import numpy as np
import pytest

from edgeseg.backends.tail import LabelsFromLogits
from edgeseg.types import Size
from tests.oracle import bilinear, labels_and_decided

Array = np.ndarray


def labels_of(logits: Array, size: tuple[int, int]) -> Array:
    labels = np.full(size, 77, np.uint8)
    LabelsFromLogits(Size(*size))(logits.astype(np.float32), labels)
    return labels


@pytest.mark.parametrize(
    ("low", "size"),
    [
        ((12, 16), (48, 64)),
        ((12, 16), (61, 83)),
        ((7, 9), (97, 131)),
        ((1, 1), (17, 19)),
        ((1, 9), (16, 33)),
        ((13, 1), (31, 16)),
        ((12, 16), (12, 16)),
        ((24, 32), (17, 23)),
        ((2, 3), (16, 16)),
    ],
)
@pytest.mark.parametrize("classes", [1, 2, 5, 19, 255])
def test_labels_are_argmax_of_bilinear_upsampling(
    low: tuple[int, int], size: tuple[int, int], classes: int
) -> None:
    logits = np.random.default_rng(classes).normal(0, 3, (classes, *low)).astype(np.float32)
    found = labels_of(logits, size)
    if classes == 1:
        assert not found.any()
        return
    wanted, decided = labels_and_decided(logits, size)
    np.testing.assert_array_equal(found[decided], wanted[decided])
    assert decided.mean() > 0.99


@pytest.mark.parametrize("size", [(12, 16), (48, 64), (47, 61)])
def test_the_first_of_equal_classes_wins(size: tuple[int, int]) -> None:
    """Classes 1 and 3 are the same; where they lead, it is 1, and never 3."""
    logits = np.random.default_rng(0).normal(0, 3, (5, 12, 16)).astype(np.float32)
    logits[3] = logits[1]
    found = labels_of(logits, size)
    assert 3 not in found
    ids = np.array([0, 1, 2, 4])
    wanted = ids[bilinear(logits[ids], size).argmax(0)]
    assert (found == wanted).mean() > 0.999
    assert 1 in found


def test_classes_that_are_all_equal_give_the_first() -> None:
    assert not labels_of(np.zeros((6, 4, 4)), (17, 23)).any()
    assert not labels_of(np.full((6, 4, 4), -7.5), (4, 4)).any()


def test_negative_scores_compete_as_others_do() -> None:
    logits = np.array([-5.0, -2.0, -9.0]).reshape(3, 1, 1)
    np.testing.assert_array_equal(labels_of(logits, (3, 2)), np.full((3, 2), 1))


def test_nothing_of_the_frame_before_is_left() -> None:
    tail = LabelsFromLogits(Size(40, 50))
    labels = np.full((40, 50), 77, np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(3):
        logits = rng.normal(size=(5, 10, 13)).astype(np.float32)
        tail(logits, labels)
        wanted, decided = labels_and_decided(logits, (40, 50))
        np.testing.assert_array_equal(labels[decided], wanted[decided])


def test_labels_go_into_the_given_memory_and_nowhere_else() -> None:
    memory = np.full((3, 40, 50), 77, np.uint8)
    logits = np.random.default_rng(0).normal(size=(5, 10, 13)).astype(np.float32)
    LabelsFromLogits(Size(40, 50))(logits, memory[1])
    assert memory[1].max() < 5
    assert (memory[::2] == 77).all()
