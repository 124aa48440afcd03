"""What changes from one engine to another, against counts made by hand."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.diff import Difference, diff
from edgeseg.disagreement import Disagreement
from edgeseg.engine import Engine
from edgeseg.errors import MissingPackage, OutputError, UsageError
from edgeseg.evaluate import evaluate
from edgeseg.types import Labels, Pixels
from tests.small import confusion, miou, write_pictures

pytestmark = pytest.mark.needs("openvino", "cv2", "onnx", "PIL")

TWO = Labels(names=("Way", "Green"), colors=((9, 9, 9), (0, 99, 0)))


@pytest.fixture(scope="module")
def both(small_fp32: Path, small_int8: Path, pictures: Path) -> Difference:
    return diff(small_fp32, small_int8, "folder:test", root=pictures)


@pytest.fixture(scope="module")
def labelled(small_fp32: Path, small_int8: Path, pictures: Path) -> list[tuple[Pixels, ...]]:
    """Truth and the labels of both, picture by picture."""
    found = []
    with Engine.open(small_fp32) as a, Engine.open(small_int8) as b:
        for path in sorted((pictures / "test" / "images").iterdir()):
            image = np.array(Image.open(path))
            truth = np.array(Image.open(pictures / "test" / "masks" / path.name))
            found.append((truth, a(image), b(image)))
    return found


def test_scores_of_both_are_those_of_their_labels(
    both: Difference, labelled: list[tuple[Pixels, ...]]
) -> None:
    a, b = (sum(confusion(each[0], each[side], 11) for each in labelled) for side in (1, 2))
    same = np.mean([(each[1] == each[2]).mean() for each in labelled])

    assert (both.a.miou, both.b.miou) == (pytest.approx(miou(a)), pytest.approx(miou(b)))
    assert both.drop == pytest.approx(miou(a) - miou(b))
    assert both.drop_interval[0] <= both.drop_interval[1]
    assert both.agreement == pytest.approx(100 * same)
    for name, lost in both.class_drop.items():
        assert lost is None or lost == pytest.approx(both.a.iou[name] - both.b.iou[name])
    assert any(both.class_drop.values())


def test_scores_near_borders_leave_the_inside_out(
    both: Difference, labelled: list[tuple[Pixels, ...]]
) -> None:
    """The band by hand: five steps of growing by one pixel from the pixels at a border."""
    total = np.zeros((11, 11), np.int64)
    for truth, _, labels in labelled:
        near = np.zeros(truth.shape, bool)
        for down in range(-5, 6):
            for right in range(-5, 6):
                moved = np.roll(truth, (down, right), (0, 1))
                inside = np.roll(np.pad(np.ones(truth.shape, bool), 5), (down, right), (0, 1))
                near |= (moved != truth) & inside[5:-5, 5:-5]
        total += confusion(np.where(near, truth, 255), labels, 11)

    assert both.band_px == 5
    assert both.b.boundary_miou == pytest.approx(miou(total))
    assert both.boundary_drop == pytest.approx(both.a.boundary_miou - both.b.boundary_miou)


def test_the_mistakes_that_moved_are_counted_in_pixels(
    both: Difference, labelled: list[tuple[Pixels, ...]]
) -> None:
    names = list(both.class_drop)
    changes = {}
    for row, truth in enumerate(names):
        for column, label in enumerate(names):
            counts = [
                sum(int(((t[0] == row) & (t[side] == column)).sum()) for t in labelled)
                for side in (1, 2)
            ]
            if row != column and counts[0] != counts[1]:
                changes[truth, label] = counts[1] - counts[0]

    found = {(each.truth, each.label): each.change for each in both.moved}
    sizes = [abs(each.change) for each in both.moved]

    assert found.items() <= changes.items()
    assert len(found) == min(10, len(changes)) > 1
    assert sizes == sorted(sizes, reverse=True)
    assert sizes == sorted(map(abs, changes.values()), reverse=True)[:10]
    assert all(each.b - each.a == each.change for each in both.moved)


def test_the_heat_map_and_the_worst_pictures_add_up_to_the_disagreement(both: Difference) -> None:
    """The pictures are of one size, and their parts in the heat map nearly are."""
    assert (len(both.heat), {len(row) for row in both.heat}) == (12, {16})
    assert np.mean(both.heat) == pytest.approx(100 - both.agreement, rel=0.05)
    assert [each.agreement for each in both.worst] == sorted(each.agreement for each in both.worst)
    assert np.mean([each.agreement for each in both.worst]) == pytest.approx(both.agreement)


def test_an_engine_does_not_differ_from_itself(
    small_int8: Path, pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(small_int8, tmp_path / "again")

    found = diff(small_int8, tmp_path / "again", "folder:test", root=pictures, count=2)

    assert found.agreement == 100
    assert (found.drop, found.drop_interval, found.boundary_drop) == (0, (0, 0), 0)
    assert {value for value in found.class_drop.values() if value is not None} == {0}
    assert (found.moved, found.worst) == ([], [])
    assert not np.any(found.heat)
    assert replace(found.a, engine="") == replace(found.b, engine="")


def test_float_is_the_float_graph_of_the_second_engine(small_int8: Path, pictures: Path) -> None:
    found = diff("float", small_int8, "folder:test", root=pictures)

    score = evaluate(small_int8, "folder:test", root=pictures)
    assert (found.a.engine, found.a.precision) == ("float", "fp32")
    assert (found.a.iou, found.b.iou) == (score.reference.iou, score.iou)
    assert (found.agreement, found.drop) == (score.agreement, score.drop)
    assert found.worst[0].name == score.worst


def test_without_masks_there_are_agreement_heat_and_the_worst_pictures(
    small_int8: Path, pictures: Path, tmp_path: Path
) -> None:
    images = tmp_path / "photos"
    shutil.copytree(pictures / "test" / "images", images)
    Image.open(images / "200.png").resize((96, 64)).save(images / "200.png")  # another size

    found = diff("float", small_int8, "folder", root=images)

    assert 0 < found.agreement < 100
    assert np.any(found.heat)
    assert len(found.worst) == 3
    assert (found.drop, found.drop_interval, found.class_drop, found.moved) == (None,) * 4
    assert (found.a.miou, found.b.iou, found.b.boundary_miou) == (None, None, None)


def test_a_map_scores_the_classes_of_the_data(small_int8: Path, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", range(1))
    names = (data / "labels.txt").read_text().split()
    mask = np.array(Image.open(data / "masks" / "0.png"))
    Image.fromarray(np.where(mask == names.index("Tree"), 1, 0).astype(np.uint8)).save(
        data / "masks" / "0.png"
    )
    (data / "labels.txt").write_text("Way\nGreen\n")
    class_map = {"Way": ["Road", "Pavement"], "Green": ["Tree"]}

    found = diff("float", small_int8, "folder", root=data, class_map=class_map)

    assert [*found.class_drop] == ["Way", "Green"]
    assert found.b.iou == evaluate(small_int8, "folder", root=data, class_map=class_map).iou
    assert {each.label for each in found.moved} <= {"Way", "Green", "(other)"}
    assert found.a.boundary_miou > 0


def test_other_classes_are_refused_by_name(
    small_fp32: Path, small_int8: Path, pictures: Path, tmp_path: Path
) -> None:
    other = _with_labels(small_fp32, tmp_path / "other", {0: "Heaven"})

    with pytest.raises(UsageError, match=r"only .*other has Heaven; only .*small has \w+"):
        diff(other, small_int8, "folder:test", root=pictures)


def test_the_same_classes_in_another_order_are_refused(
    small_fp32: Path, small_int8: Path, pictures: Path, tmp_path: Path
) -> None:
    names = json.loads((small_fp32 / "manifest.json").read_text())["labels"]
    other = _with_labels(small_fp32, tmp_path / "other", {0: names[1], 1: names[0]})

    with pytest.raises(UsageError, match="their order is not the same"):
        diff(other, small_int8, "folder:test", root=pictures)


def test_the_float_graph_comes_first(small_int8: Path, pictures: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the second engine"):
        diff(small_int8, "float", "folder:test", root=pictures)


@pytest.mark.needs("matplotlib")
def test_the_sheet_is_drawn(small_int8: Path, pictures: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "sheet.png"

    found = diff("float", small_int8, "folder:test", root=pictures, count=1, sheet=target)

    assert found.sheet == target
    with Image.open(target) as sheet:
        assert sheet.format == "PNG"
        assert len(np.unique(np.array(sheet).reshape(-1, 4), axis=0)) > 100


@pytest.mark.needs("matplotlib")
def test_a_sheet_that_is_no_png_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the sheet is a PNG"):
        diff(tmp_path / "none", tmp_path / "none", "camvid:test", sheet=tmp_path / "sheet.jpg")


@pytest.mark.needs("matplotlib")
def test_a_sheet_that_cannot_be_written_is_named(
    small_int8: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "sheet.png"

    with pytest.raises(OutputError, match=r"sheet\.png cannot be written"):
        diff("float", small_int8, "folder:test", root=pictures, count=1, sheet=target)


def test_without_matplotlib_the_extra_is_named_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("edgeseg.charts.sheet", "matplotlib"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)

    with pytest.raises(MissingPackage, match="matplotlib") as missing:
        diff(tmp_path / "none", tmp_path / "none", "camvid:test", sheet=tmp_path / "sheet.png")

    assert "edgeseg[charts]" in missing.value.fix


def test_only_the_worst_few_pictures_are_kept_and_of_equals_the_first() -> None:
    seen = Disagreement(TWO, _NoData(), None, 5)
    for wrong in (3, 0, 9, 1, 9, 5, 2):
        a = np.zeros((1, 10), np.uint8)
        b = (np.arange(10) < wrong).astype(np.uint8)[None]
        seen.add(np.zeros((1, 10, 3), np.uint8), a, b, None)

    assert [kept.index for kept in seen.worst] == [2, 4, 5, 0]


def test_heat_of_pictures_of_other_sizes_falls_on_the_same_place() -> None:
    """The right half differs: in 4x8 and, stretched, in 2x4 and 12x16 as well; then in none."""
    seen = Disagreement(TWO, _NoData(), None, 5)
    for height, width, wrong in ((4, 8, 1), (2, 4, 1), (12, 16, 1), (4, 8, 0)):
        a, b = np.zeros((2, height, width), np.uint8)
        b[:, width // 2 :] = wrong
        seen.add(np.zeros((height, width, 3), np.uint8), a, b, None)

    np.testing.assert_array_equal(seen.heat_percent(), [[0] * 4 + [75] * 4] * 4)


def test_the_heat_grid_averages_over_parts() -> None:
    seen = Disagreement(TWO, _NoData(), None, 5)
    a, b = np.zeros((2, 24, 32), np.uint8)
    b[0, 0] = b[23, 30] = b[22, 31] = 1
    seen.add(np.zeros((24, 32, 3), np.uint8), a, b, None)

    grid = np.array(seen.heat_grid())

    assert grid.shape == (12, 16)
    assert (grid[0, 0], grid[11, 15], np.count_nonzero(grid)) == (25.0, 50.0, 2)


class _NoData:
    """A data set that is only asked for its classes."""

    name, labels = "none", TWO

    def __len__(self) -> int:
        return 0


def _with_labels(engine: Path, out: Path, changed: dict[int, str]) -> Path:
    """A copy of an engine with other class names."""
    shutil.copytree(engine, out)
    path = out / "manifest.json"
    manifest = json.loads(path.read_text())
    for index, name in changed.items():
        manifest["labels"][index] = name
    path.write_text(json.dumps(manifest))
    return out
