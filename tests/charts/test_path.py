"""The chart of a search: a whole PNG that shows the budget and the point that was taken."""

from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import OutputError
from edgeseg.types import Pixels

pytestmark = pytest.mark.needs("matplotlib", "PIL")

POINTS = [(100.0, 4.0, 3.0, 6.0), (0.0, 0.0, 0.0, 0.0), (80.0, 1.0, 0.5, 1.5)]
RED, GREEN, BLUE = (0xD6, 0x27, 0x28), (0x2C, 0xA0, 0x2C), (0x1F, 0x77, 0xB4)


def _drawn(path: Path, points: object = POINTS, **changes: object) -> Pixels:
    from PIL import Image

    from edgeseg.charts.path import write_path

    values: dict[str, object] = {"limit": 2.0, "chosen": 80.0, "unit": "mIoU points lost"}
    write_path(points, path, **{**values, **changes})  # type: ignore[arg-type]
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.array(picture.convert("RGB"))


def _where(pixels: Pixels, color: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns with that colour."""
    return np.nonzero((np.abs(pixels.astype(int) - color) < 24).all(2))


def _row_of_budget(pixels: Pixels) -> int:
    rows, _ = _where(pixels, RED)
    return int(np.bincount(rows).argmax())


def _column_of_choice(pixels: Pixels) -> int:
    _, columns = _where(pixels, GREEN)
    return int(np.bincount(columns).argmax())


def test_lower_budget_is_a_lower_line(tmp_path: Path) -> None:
    rows = [_row_of_budget(_drawn(tmp_path / "a.png", limit=limit)) for limit in (1, 2, 5)]

    assert rows[0] > rows[1] > rows[2]
    assert rows[0] - rows[1] == pytest.approx((rows[1] - rows[2]) / 3, abs=3)


def test_choice_stands_at_its_share(tmp_path: Path) -> None:
    columns = [_column_of_choice(_drawn(tmp_path / "a.png", chosen=at)) for at in (0, 80, 100)]

    assert columns[0] < columns[1] < columns[2]
    assert columns[1] - columns[0] == pytest.approx(0.8 * (columns[2] - columns[0]), abs=3)


def test_without_a_choice_there_is_no_line_for_it(tmp_path: Path) -> None:
    assert _where(_drawn(tmp_path / "a.png"), GREEN)[0].size > 100
    assert _where(_drawn(tmp_path / "b.png", chosen=None), GREEN)[0].size == 0


def test_wider_interval_is_a_longer_bar(tmp_path: Path) -> None:
    """The axes end at the same values: the other points and the budget are the same."""
    outer = [(100.0, 4.0, 0.0, 9.0), (0.0, 0.0, 0.0, 0.0)]
    sizes = [
        _where(_drawn(tmp_path / "a.png", [*outer, (50.0, 4.0, 4 - by, 4 + by)]), BLUE)[0].size
        for by in (0.5, 3)
    ]

    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    "points",
    [
        [(100.0, 0.0, 0.0, 0.0)],
        [(100.0, -0.4, -0.9, 0.2), (50.0, -0.1, -0.1, -0.1)],
        [(50.0, 1.0, 1.2, 1.4), (50.0, 1.0, 0.2, 0.9)],
    ],
    ids=["one point", "gains", "interval beside the loss, two of one share"],
)
def test_every_path_is_drawn(tmp_path: Path, points: object) -> None:
    pixels = _drawn(tmp_path / "a.png", points, limit=0.0)

    assert _where(pixels, BLUE)[0].size > 20
    assert _where(pixels, RED)[0].size > 100


def test_the_same_path_is_the_same_file_in_any_order(tmp_path: Path) -> None:
    _drawn(tmp_path / "a.png", POINTS)
    _drawn(tmp_path / "b.png", POINTS[::-1])

    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_chart_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="cannot be written"):
        _drawn(tmp_path / "file" / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
