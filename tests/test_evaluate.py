import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgeseg
from edgeseg.engine import Engine
from edgeseg.errors import InputFileError, UsageError
from edgeseg.evaluate import Evaluation, read_class_map
from edgeseg.types import Pixels
from tests.small import confusion, miou, write_pictures

pytestmark = pytest.mark.needs("openvino", "cv2", "onnx", "PIL")

MAP = {"Way": ["Road", "Pavement"], "Green": ["Tree"]}


@pytest.fixture(scope="module")
def evaluation(small_int8: Path, pictures: Path) -> Evaluation:
    return edgeseg.evaluate(small_int8, "folder:test", root=pictures)


def test_scores_are_those_of_the_labels_that_the_engine_gives(
    evaluation: Evaluation, small_int8: Path, pictures: Path
) -> None:
    counts = _confusion(small_int8, pictures / "test")

    union = counts.sum(0) + counts.sum(1) - np.diag(counts)
    assert evaluation.miou == pytest.approx(miou(counts))
    assert evaluation.pixel_accuracy == pytest.approx(100 * np.trace(counts) / counts.sum())
    for index, iou in enumerate(evaluation.iou.values()):
        expected = 100 * counts[index, index] / union[index] if union[index] else None
        assert iou == (None if expected is None else pytest.approx(expected))
    assert evaluation.drop == pytest.approx(evaluation.reference.miou - evaluation.miou)
    assert evaluation.drop_interval[0] <= evaluation.drop_interval[1]


def test_it_says_what_was_scored(evaluation: Evaluation, pictures: Path) -> None:
    assert evaluation.data == f"folder:{pictures.name}:test"
    assert (evaluation.frames, evaluation.skipped) == (3, [])
    assert (evaluation.precision, evaluation.backend, evaluation.size) == (
        "int8",
        "openvino",
        "128x96",
    )
    assert evaluation.worst in {"200", "201", "202"}
    assert evaluation.worst_agreement <= evaluation.agreement <= 100


def test_a_float_engine_agrees_with_its_float_graph(small_fp32: Path, pictures: Path) -> None:
    found = edgeseg.evaluate(small_fp32, "folder:test", root=pictures)

    assert found.agreement > 99.9
    assert found.drop == pytest.approx(0, abs=0.05)


def test_a_map_scores_the_classes_of_the_data(small_int8: Path, tmp_path: Path) -> None:
    """Masks of two classes, Way and Green; every other class of the network is the rest."""
    write_pictures(tmp_path / "data", range(300, 302))
    names = (tmp_path / "data" / "labels.txt").read_text().split()
    lookup = np.full(256, 255, np.uint8)
    for index, members in enumerate(MAP.values()):
        lookup[[names.index(member) for member in members]] = index
    for path in (tmp_path / "data" / "masks").iterdir():
        Image.fromarray(lookup[np.array(Image.open(path))]).save(path)
    (tmp_path / "data" / "labels.txt").write_text("Way\nGreen\n")
    rest = np.where(lookup == 255, 2, lookup).astype(np.uint8)

    found = edgeseg.evaluate(small_int8, "folder", root=tmp_path / "data", class_map=MAP)

    counts = _confusion(small_int8, tmp_path / "data", mapped=rest, classes=3)
    union = (counts.sum(0) + counts.sum(1) - np.diag(counts))[:2]
    assert found.iou == pytest.approx(
        dict(zip(MAP, 100 * np.diag(counts)[:2] / union, strict=True))
    )
    assert found.miou == pytest.approx(np.mean(list(found.iou.values())))


def test_other_classes_without_a_map_are_refused(small_int8: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", range(1))
    (tmp_path / "data" / "labels.txt").write_text("\n".join(f"thing {n}" for n in range(11)))

    with pytest.raises(UsageError, match="are not those of the data") as refused:
        edgeseg.evaluate(small_int8, "folder", root=tmp_path / "data")

    assert "--map MAP.toml" in refused.value.fix


def test_a_map_of_a_class_that_nobody_has_is_refused(small_int8: Path, pictures: Path) -> None:
    with pytest.raises(UsageError, match="the network has no class 'Rode'"):
        edgeseg.evaluate(small_int8, "folder:test", root=pictures, class_map={"Road": ["Rode"]})


def test_pictures_without_masks_give_agreement_alone(small_int8: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", range(2), masks=False)

    found = edgeseg.evaluate(small_int8, "folder", root=tmp_path / "data")

    assert found.frames == 2
    assert 0 < found.agreement <= 100
    assert (found.miou, found.iou, found.reference, found.drop) == (None, None, None, None)


def test_an_unreadable_picture_is_named_and_left_out(
    small_int8: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path / "data", range(3))
    (tmp_path / "data" / "images" / "1.png").write_bytes(b"no picture")

    with caplog.at_level(logging.WARNING):
        found = edgeseg.evaluate(small_int8, "folder", root=tmp_path / "data")

    assert (found.frames, found.skipped) == (2, ["1"])
    assert "1.png" in caplog.text


def test_count_takes_pictures_spread_over_the_split(small_int8: Path, pictures: Path) -> None:
    found = edgeseg.evaluate(small_int8, "folder:test", root=pictures, count=2)

    assert found.frames == 2
    assert found.data.endswith("[2 of 3]")


def test_the_callers_engine_stays_open(small_int8: Path, pictures: Path) -> None:
    with Engine.open(small_int8) as engine:
        edgeseg.evaluate(engine, "folder:test", root=pictures, count=1)

        assert engine(np.zeros((90, 120, 3), np.uint8)).shape == (90, 120)


@pytest.mark.parametrize("text", ['Road = "road"\n', "Road = [1]\n", "Road = [\n"])
def test_a_map_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "map.toml").write_text(text)

    with pytest.raises(InputFileError, match=r"map\.toml"):
        read_class_map(tmp_path / "map.toml")


def _confusion(
    engine_folder: Path, data: Path, *, mapped: Pixels | None = None, classes: int = 11
) -> np.ndarray:
    total = np.zeros((classes, classes), np.int64)
    with Engine.open(engine_folder) as engine:
        for path in sorted((data / "images").iterdir()):
            labels = engine(np.array(Image.open(path)))
            truth = np.array(Image.open(data / "masks" / path.name))
            total += confusion(truth, labels if mapped is None else mapped[labels], classes)
    return total
