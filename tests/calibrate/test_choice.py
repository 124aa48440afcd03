"""Methods as a user writes them."""

import numpy as np
import pytest

from edgeseg.calibrate import METHODS, Observer, method_from_text
from edgeseg.errors import UsageError


def laplace() -> Observer:
    seen = Observer()
    seen.see(np.random.default_rng(0).laplace(0, 1, (1, 8, 60, 60)).astype(np.float32))
    return seen


@pytest.mark.parametrize("text", [*METHODS, "percentile:99.9", "percentile:100"])
def test_a_method_is_written_as_it_was_read(text: str) -> None:
    assert str(method_from_text(text)) == text


def test_the_same_percentage_has_one_name() -> None:
    assert str(method_from_text("percentile:99.990")) == "percentile"
    assert str(method_from_text("percentile:99.900")) == "percentile:99.9"


def test_the_percentage_is_the_one_that_was_named() -> None:
    values = np.abs(np.random.default_rng(0).laplace(0, 1, (1, 8, 60, 60)).astype(np.float32))
    method, amax = method_from_text("percentile:95").range_of(laplace())
    assert amax == pytest.approx(np.percentile(values, 95), rel=0.01)
    assert method == "percentile:95"


def test_auto_says_what_it_took() -> None:
    method, amax = method_from_text("auto").range_of(laplace())
    assert method not in {"auto", "minmax"}
    assert method_from_text(method).range_of(laplace()) == (method, amax)


@pytest.mark.parametrize(
    "text",
    ["percentile:", "percentile:most", "percentile:101", "percentile:0", "percentile:nan",
     "mse:99.9", "minmax:"],
)  # fmt: skip
def test_a_percentage_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a calibration method"):
        method_from_text(text)


def test_a_typing_error_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'percentile'"):
        method_from_text("percentil:99.9")


def test_minmax_settles_with_its_extremes_and_the_others_with_a_percentile() -> None:
    seen = laplace()
    assert method_from_text("minmax").running(seen) == seen.amax
    assert method_from_text("entropy").running(seen) < seen.amax
