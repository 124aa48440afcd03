"""The share of equal labels."""

import math

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.metrics.agreement import agreement_percent

A = np.array([[0, 1], [2, 3]], np.uint8)
B = np.array([[0, 1], [2, 4]], np.uint8)


def test_three_of_four_equal_pixels_are_75_percent() -> None:
    assert agreement_percent(A, B) == 75.0


def test_only_valid_pixels_count() -> None:
    assert agreement_percent(A, B, valid=np.array([[True, False], [False, True]])) == 50.0


def test_no_valid_pixel_is_not_a_number() -> None:
    assert math.isnan(agreement_percent(A, B, valid=np.zeros((2, 2), bool)))


def test_different_shapes_are_refused_rather_than_broadcast() -> None:
    with pytest.raises(UsageError, match=r"\(2, 2\) and \(1, 2\)"):
        agreement_percent(A, B[:1])
    with pytest.raises(UsageError):
        agreement_percent(A, B, valid=np.ones((1, 2), bool))
