"""CamVid: both public layouts, and the real thing where it is."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeseg.datasets.camvid import CAMVID_LABELS, open_camvid
from edgeseg.errors import InputFileError, UsageError

Save = Callable[..., Path]


@pytest.fixture(params=[("val/images", "val/labels"), ("val", "valannot")])
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """The folders of pictures and masks in each layout."""
    images, masks = request.param
    return tmp_path / images, tmp_path / masks


def test_both_layouts_are_read(
    layout: tuple[Path, Path], tmp_path: Path, picture: Save, mask: Save
) -> None:
    for name in ("b", "a"):
        picture(layout[0] / f"{name}.png")
        mask(layout[1] / f"{name}.png", [[0, 10], [11, 3]] if name == "a" else None)
    picture(layout[0] / "a.png", size=(2, 2))
    data = open_camvid(tmp_path, "val")
    assert (data.name, data.frame_names()) == ("camvid:val", ["a", "b"])
    labels = data.frame(0).mask
    assert labels is not None
    assert labels.tolist() == [[0, 10], [255, 3]]


def test_an_id_beyond_void_is_refused(
    layout: tuple[Path, Path], tmp_path: Path, picture: Save, mask: Save
) -> None:
    picture(layout[0] / "a.png", size=(1, 2))
    mask(layout[1] / "a.png", [[12, 0]])
    with pytest.raises(InputFileError, match="label ids 12"):
        open_camvid(tmp_path, "val").frame(0)


def test_a_picture_without_mask_is_named(
    layout: tuple[Path, Path], tmp_path: Path, picture: Save, mask: Save
) -> None:
    picture(layout[0] / "a.png")
    picture(layout[0] / "lonely.png")
    mask(layout[1] / "a.png")
    with pytest.raises(InputFileError, match=r"lonely\.png has no mask"):
        open_camvid(tmp_path, "val")


def test_empty_folders_are_refused(layout: tuple[Path, Path], tmp_path: Path) -> None:
    for folder in layout:
        folder.mkdir(parents=True)
    with pytest.raises(InputFileError, match="no pictures"):
        open_camvid(tmp_path, "val")


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="train, val, test"):
        open_camvid(tmp_path, "validation")


@pytest.mark.parametrize(("split", "count"), [("train", 367), ("val", 101), ("test", 233)])
def test_the_real_camvid_has_the_published_splits(shared: Path, split: str, count: int) -> None:
    data = open_camvid(shared / "camvid", split)
    assert len(data) == count
    frame = data.frame(count // 2)
    assert frame.mask is not None
    assert frame.image.shape == (360, 480, 3)
    assert set(np.unique(frame.mask)) <= {*range(11), 255}


def test_names_and_colours_are_those_of_the_real_camvid(shared: Path) -> None:
    rows = json.loads((shared / "camvid" / "classes.json").read_text())["classes"][:11]
    assert [row["name"] for row in rows] == list(CAMVID_LABELS.names)
    assert [tuple(row["rgb"]) for row in rows] == list(CAMVID_LABELS.colors)
