"""When ranges settle, on series whose answer is plain."""

import pytest

from edgeseg.calibrate import coverage_of


def test_a_range_settles_with_the_picture_that_brings_it_within_one_percent() -> None:
    found = coverage_of({"a": [1.0, 2.0, 9.95, 10.0, 10.0, *[10.0] * 15]})
    assert found.settled_after == {"a": 3}
    assert (found.after, found.moving) == (3, ())
    assert str(found) == "the ranges settled after 3 of 20 pictures"


def test_a_constant_and_a_zero_range_have_settled_at_once() -> None:
    found = coverage_of({"a": [2.0] * 5, "b": [0.0] * 5})
    assert found.settled_after == {"a": 1, "b": 1}
    assert found.after == 1


def test_a_range_that_fell_and_came_back_settles_where_it_came_back() -> None:
    assert coverage_of({"a": [1.0, 1.0, 0.5, 1.0, *[1.0] * 16]}).settled_after == {"a": 4}


def test_one_in_twenty_may_still_move_and_is_named() -> None:
    histories = {f"t{index}": [1.0] * 40 for index in range(19)}
    found = coverage_of({**histories, "late": [*[1.0] * 39, 2.0]})
    assert found.after == 1
    assert found.moving == ("late",)
    assert str(found).endswith("still moving: late")


def test_more_than_one_in_twenty_means_not_settled() -> None:
    histories = {f"t{index}": [1.0] * 40 for index in range(18)}
    late = [*[1.0] * 39, 2.0]
    found = coverage_of({**histories, "late": late, "later": late})
    assert found.after is None
    assert "have not settled after 40 pictures; still moving: late, later" in str(found)


def test_the_reported_picture_is_the_one_after_which_95_percent_stayed() -> None:
    histories = {f"t{index}": [*[1.0] * index, *[2.0] * (60 - index)] for index in range(40)}
    after = coverage_of(histories).after
    assert after == 38  # tensor t0 settles with picture 1, tensor t37 with picture 38


@pytest.mark.parametrize("histories", [{"a": [3.0]}, {"a": [3.0], "b": [0.0]}])
def test_one_picture_alone_covers_nothing(histories: dict[str, list[float]]) -> None:
    found = coverage_of(histories)
    assert found.after is None
    assert found.moving == ()
    assert "one picture alone" in str(found)
