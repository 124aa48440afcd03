"""The sheet: a whole PNG of what it is given, whatever that is."""

from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import OutputError
from edgeseg.types import Labels, Pixels

pytestmark = pytest.mark.needs("matplotlib", "PIL")

LABELS = Labels(names=("Way", "Green"), colors=((200, 40, 200), (10, 160, 60)))
RED, BLUE, YELLOW = (0xE8, 0x43, 0x2E), (0x2F, 0x7D, 0xE1), (0xF2, 0xC2, 0x30)


def _picture(**changes: object) -> object:
    """Left half: only A is right; right half: only B; one void corner where neither is."""
    from edgeseg.charts.sheet import SheetPicture

    truth = np.zeros((60, 80), np.uint8)
    truth[:, 40:] = 1
    truth[:20, :20] = 255
    a, b = np.zeros((60, 80), np.uint8), np.ones((60, 80), np.uint8)
    values: dict[str, object] = {
        "name": "0", "agreement": 0.0, "image": np.full((60, 80, 3), 90, np.uint8),
        "truth": truth, "a": a, "b": b, "a_right": a == truth, "b_right": b == truth,
    }  # fmt: skip
    return SheetPicture(**{**values, **changes})  # type: ignore[arg-type]


def _sheet(**changes: object) -> object:
    from edgeseg.charts.sheet import Sheet

    values: dict[str, object] = {
        "title": "A to B", "lines": ["A", "B"], "labels": LABELS, "truth_labels": LABELS,
        "iou": [("Way", 90.0, 80.0), ("Green", None, None)], "moved": [("Way", "Green", 500)],
        "heat": np.eye(60, 80) * 100, "pictures": [_picture()],
    }  # fmt: skip
    return Sheet(**{**values, **changes})  # type: ignore[arg-type]


def _drawn(sheet: object, path: Path) -> Pixels:
    from PIL import Image

    from edgeseg.charts.sheet import draw_sheet

    draw_sheet(sheet, path)  # type: ignore[arg-type]
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.array(picture.convert("RGB"))


def _count(pixels: Pixels, color: tuple[int, int, int]) -> int:
    return int((pixels == color).all(2).sum())


def test_verdicts_take_their_share_of_the_last_pane(tmp_path: Path) -> None:
    """Half the picture is B's, less than half A's, a twelfth nobody's."""
    drawn = _drawn(_sheet(moved=[]), tmp_path / "sheet.png")

    areas = np.array([_count(drawn, color) for color in (RED, BLUE, YELLOW)], float)

    assert areas.min() > 1000
    np.testing.assert_allclose(areas / areas.sum(), [5 / 12, 6 / 12, 1 / 12], atol=0.02)


def test_classes_are_drawn_in_their_colours(tmp_path: Path) -> None:
    """Way is all of A and five twelfths of the truth; Green is all of B and half of the truth."""
    drawn = _drawn(_sheet(), tmp_path / "sheet.png")

    way, green = (_count(drawn, color) for color in LABELS.colors)

    assert way / green == pytest.approx((12 + 5) / (12 + 6), rel=0.02)


def test_without_masks_there_is_one_colour_for_differing(tmp_path: Path) -> None:
    nowhere = np.zeros((60, 80), bool)
    picture = _picture(truth=None, a_right=nowhere, b_right=nowhere)

    drawn = _drawn(_sheet(iou=[], moved=[], pictures=[picture]), tmp_path / "sheet.png")

    assert [_count(drawn, color) for color in (RED, BLUE)] == [0, 0]
    assert _count(drawn, YELLOW) > 10000


def test_one_differing_pixel_of_a_large_picture_stays_visible(tmp_path: Path) -> None:
    shape = (1024, 2048)
    a, b = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    b[500, 900:1100] = 1  # a line of one pixel
    image = np.zeros((*shape, 3), np.uint8)
    right = np.ones(shape, bool)
    picture = _picture(image=image, truth=a, a=a, b=b, a_right=right, b_right=~right)

    drawn = _drawn(_sheet(pictures=[picture], moved=[]), tmp_path / "sheet.png").astype(int)

    line = (drawn[..., 0] > 100) & (drawn[..., 1] < 90) & (drawn[..., 2] < 90)
    assert line.sum() > 300  # the legend's patch is about that large: more is the line
    assert line.any(1).sum() >= 2


def test_the_same_sheet_is_the_same_file(tmp_path: Path) -> None:
    from edgeseg.charts.sheet import draw_sheet

    for name in ("one.png", "two.png"):
        draw_sheet(_sheet(), tmp_path / name)  # type: ignore[arg-type]

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_hundred_classes_with_strange_names_are_drawn(tmp_path: Path) -> None:
    """A dollar sign is no formula; glyphs that the font lacks are no warning."""
    names = tuple(f"$class_{{{index} \u4e2d" for index in range(100))
    labels = Labels(names=names, colors=((9, 9, 9),) * 100)
    iou = [(name, float(index), 50.0) for index, name in enumerate(names)]
    image = np.zeros((10, 100, 3), np.uint8)
    ids = np.repeat(np.arange(100, dtype=np.uint8)[None], 10, 0)
    right = np.ones(ids.shape, bool)
    picture = _picture(image=image, truth=ids, a=ids, b=ids[:, ::-1], a_right=right, b_right=~right)
    sheet = _sheet(labels=labels, truth_labels=labels, iou=iou, pictures=[picture])

    drawn = _drawn(sheet, tmp_path / "sheet.png")

    assert drawn.shape[0] < drawn.shape[1]  # 25 bars and 40 legend entries, not 100


def test_a_sheet_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    from edgeseg.charts.sheet import draw_sheet

    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="cannot be written"):
        draw_sheet(_sheet(pictures=[]), tmp_path / "file" / "sheet.png")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
