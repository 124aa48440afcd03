"""Opening a data set by its name, and choosing some of its pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeseg.datasets import DATASETS, open_dataset
from edgeseg.errors import InputFileError, UsageError

Save = Callable[..., Path]


@pytest.fixture
def roots(tmp_path: Path, picture: Save, mask: Save) -> dict[str, Path | None]:
    """For each row of the table, what it is to be opened with."""
    for index in range(7):
        picture(tmp_path / "train" / "images" / f"{index}.png", value=index)
        mask(tmp_path / "train" / "labels" / f"{index}.png")
    (tmp_path / "labels.txt").write_text("one\n")
    return {"camvid": tmp_path, "folder": tmp_path, "synthetic": None}


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_gives_pictures_with_masks_of_their_size(
    name: str, roots: dict[str, Path | None]
) -> None:
    data = open_dataset(f"{name}:train", root=roots[name])
    frame = data.frame(len(data) - 1)
    assert frame.mask is not None
    assert frame.image.dtype == frame.mask.dtype == np.uint8
    assert frame.image.shape == (*frame.mask.shape, 3)
    assert frame.name == list(data.frame_names())[-1]
    assert len(data.frame_names()) == len(data)
    assert data.digest(0) != data.digest(len(data) - 1)
    counted = frame.mask[frame.mask != 255]
    assert counted.max() < len(data.labels)


@pytest.mark.parametrize("name", DATASETS)
def test_the_split_may_be_given_apart(name: str, roots: dict[str, Path | None]) -> None:
    apart = open_dataset(name, root=roots[name], split="train")
    assert apart.name == open_dataset(f"{name}:train", root=roots[name], split="val").name


def test_an_unknown_data_set_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'camvid'"):
        open_dataset("canvid:train")


@pytest.mark.parametrize("name", ["camvid", "folder"])
def test_a_data_set_on_disk_needs_a_root(name: str) -> None:
    with pytest.raises(UsageError, match="--root"):
        open_dataset(name)


def test_the_street_takes_no_root_and_three_splits(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        open_dataset("synthetic:val", root=tmp_path)
    with pytest.raises(UsageError, match="no split 'all'"):
        open_dataset("synthetic:all")


def test_the_splits_of_the_street_share_no_picture() -> None:
    names = [set(open_dataset(f"synthetic:{split}").frame_names()) for split in ("train", "val")]
    assert not names[0] & names[1]


def test_a_subset_is_spread_over_the_whole(roots: dict[str, Path | None]) -> None:
    data = open_dataset("camvid:train", root=roots["camvid"], count=3)
    assert list(data.frame_names()) == ["0", "2", "4"]
    assert [int(data.frame(index).image[0, 0, 0]) for index in range(len(data))] == [0, 2, 4]
    whole = open_dataset("camvid:train", root=roots["camvid"])
    assert [data.digest(index) for index in range(3)] == [whole.digest(i) for i in (0, 2, 4)]


def test_a_subset_never_repeats_a_picture() -> None:
    for count in (1, 7, 59, 119, 120):
        names = open_dataset("synthetic:test", count=count).frame_names()
        assert len(set(names)) == count
        assert names[0] == "street-2000000"


def test_as_many_as_there_are_is_the_whole(roots: dict[str, Path | None]) -> None:
    assert len(open_dataset("camvid:train", root=roots["camvid"], count=50)) == 7


def test_a_root_without_the_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="does not hold the val split"):
        open_dataset("camvid:val", root=tmp_path)
