"""What misses a gate: mIoU points, points of single classes, agreement."""

import numpy as np
import pytest

from edgeseg.errors import AccuracyGateFailed
from edgeseg.gate import Verification, misses, refuse
from edgeseg.recipe import Gate
from edgeseg.types import Array
from edgeseg.verify import Comparison, measured

NAMES = ("road", "pole", "sky")


def _frame(road: int = 0, pole: int = 0) -> Array:
    """100 pixels of road and of pole, 0 of sky; so many of each have the other's label."""
    return np.array([[100 - road, road, 0], [pole, 100 - pole, 0], [0, 0, 0]], np.int64)


def _compared(*built: Array, reference: Array | None = None) -> Comparison:
    right = _frame() if reference is None else reference
    return Comparison(
        names=NAMES,
        frame_names=[str(index) for index in range(len(built))],
        agreement=[100.0 - float(each[0, 1] + each[1, 0]) / 2 for each in built],
        reference=[right] * len(built),
        built=list(built),
    )


def _without_masks(*agreement: float) -> Comparison:
    names = [str(index) for index in range(len(agreement))]
    return Comparison(names=NAMES, frame_names=names, agreement=list(agreement))


def _drop(road: int) -> float:
    """In points, where that much of the road is lost to the poles, by hand."""
    return 100 - 100 * ((100 - road) / 100 + 100 / (100 + road)) / 2


@pytest.mark.parametrize("upper", [False, True])
def test_same_labels_pass_every_gate(upper: bool) -> None:
    strict = Gate(max_drop=0, max_class_drop=0, min_agreement=100)

    assert misses(strict, _compared(_frame(), _frame()), upper=upper) == []
    assert misses(strict, _without_masks(100, 100), upper=upper) == []


@pytest.mark.parametrize("road", [1, 3, 20])
def test_drop_may_be_as_large_as_its_limit_and_no_larger(road: int) -> None:
    result = _compared(_frame(road))

    assert misses(Gate(max_drop=_drop(road) + 1e-6), result) == []
    (missed,) = misses(Gate(max_drop=_drop(road) - 1e-6), result)
    assert missed.startswith(f"{_drop(road):.2f} mIoU points (--max-drop ")


def test_gain_passes_a_gate_of_zero() -> None:
    worse = _frame(30)

    assert misses(Gate(max_drop=0), _compared(_frame(), reference=worse), upper=True) == []


def test_upper_end_of_the_interval_counts_where_it_is_asked_for() -> None:
    """One picture of four loses: on the draws that take it often, the drop is larger."""
    result = _compared(_frame(20), _frame(), _frame(), _frame())
    drop, _, high = result.drop_and_interval()
    between = Gate(max_drop=(drop + high) / 2)

    assert drop < high
    assert misses(between, result) == []
    (missed,) = misses(between, result, upper=True)
    assert missed.startswith(f"{high:.2f} mIoU points at the upper end (--max-drop ")
    assert misses(Gate(max_drop=high + 1e-6), result, upper=True) == []


def test_upper_end_of_equal_pictures_is_the_drop_itself() -> None:
    result = _compared(*[_frame(5)] * 4)

    assert misses(Gate(max_drop=_drop(5) + 1e-6), result, upper=True) == []
    assert misses(Gate(max_drop=_drop(5) - 1e-6), result, upper=True) != []


def test_single_class_is_guarded_where_the_mean_passes() -> None:
    """Ten of a hundred pixels of the road are lost: 10 points of it, 9.09 of the poles."""
    result = _compared(_frame(road=10))
    loose = {"max_drop": 50.0}

    assert misses(Gate(**loose), result) == []
    assert misses(Gate(**loose, max_class_drop=10.01), result) == []
    assert misses(Gate(**loose, max_class_drop=9.5), result) == [
        "10.00 points of road (--max-class-drop 9.5)"
    ]
    assert len(misses(Gate(**loose, max_class_drop=9.0), result)) == 2


def test_every_limit_that_is_missed_is_said() -> None:
    found = misses(Gate(max_drop=1, max_class_drop=9.5), _compared(_frame(road=10)))

    assert [text.partition("(")[2].partition(" ")[0] for text in found] == [
        "--max-drop",
        "--max-class-drop",
    ]


def test_class_that_does_not_occur_is_no_loss() -> None:
    result = _compared(_frame(1))

    assert np.isnan(result.iou(result.built)[2])
    assert misses(Gate(max_drop=5, max_class_drop=5), result) == []


@pytest.mark.parametrize("upper", [False, True])
def test_agreement_counts_where_there_are_no_masks(upper: bool) -> None:
    result = _without_masks(99.5, 98.5)  # 99 on average

    assert misses(Gate(min_agreement=99, max_drop=0), result, upper=upper) == []
    assert misses(Gate(min_agreement=99.01), result, upper=upper) == [
        "99.00 % agreement (--min-agreement 99.01)"
    ]


def test_agreement_does_not_count_where_there_are_masks() -> None:
    assert misses(Gate(max_drop=50, min_agreement=100), _compared(_frame(20))) == []


@pytest.mark.parametrize("upper", [False, True])
def test_no_number_passes_nothing(upper: bool) -> None:
    nothing = np.zeros((3, 3), np.int64)

    with np.errstate(invalid="ignore"):
        assert misses(Gate(max_drop=100), _compared(nothing, reference=nothing), upper=upper)
    assert misses(Gate(min_agreement=0), _without_masks(float("nan")), upper=upper)


def test_refusal_says_what_was_missed_on_what_and_what_was_tried() -> None:
    result = _compared(_frame(road=10), _frame())
    done = Verification(measured(result, "street:val", held_out=True), result)

    with pytest.raises(AccuracyGateFailed) as caught:
        refuse(done, ["4.00 mIoU points (--max-drop 1)"], ["  first", "  then"])

    said = str(caught.value)
    assert caught.value.exit_code == 5
    assert "4.00 mIoU points (--max-drop 1)" in said
    assert "2 pictures of street:val" in said
    assert "nothing was published\nwhat was tried:\n  first\n  then" in said
    assert "--keep-fp16" in caught.value.fix
