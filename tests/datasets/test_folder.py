"""Any folder of pictures, with masks or without."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeseg.datasets.folder import open_folder, palette
from edgeseg.errors import InputFileError

Save = Callable[..., Path]


def test_pictures_alone_have_no_masks(tmp_path: Path, picture: Save) -> None:
    for name in ("b.jpg", "a.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.md").touch()
    data = open_folder(tmp_path, "train")
    assert data.frame_names() == ["a", "b"]
    assert data.frame(0).mask is None


@pytest.mark.parametrize("masks", ["masks", "labels"])
@pytest.mark.parametrize("inner", ["", "val"])
def test_masks_are_found_beside_the_pictures(
    tmp_path: Path, picture: Save, mask: Save, masks: str, inner: str
) -> None:
    picture(tmp_path / inner / "images" / "a.jpg", size=(1, 2))
    mask(tmp_path / inner / masks / "a.png", [[1, 255]])
    (tmp_path / "labels.txt").write_text("road\ncar\n\n")
    data = open_folder(tmp_path, "val")
    labels = data.frame(0).mask
    assert labels is not None
    assert labels.tolist() == [[1, 255]]
    assert data.labels.names == ("road", "car")


def test_another_split_of_a_folder_without_splits_is_the_folder(
    tmp_path: Path, picture: Save
) -> None:
    picture(tmp_path / "a.png")
    assert len(open_folder(tmp_path, "train")) == len(open_folder(tmp_path, "val")) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.json", '[{"name": "road", "color": [1, 2, 3]}, {"name": "car"}]'),
        ("classes.json", '{"classes": [{"name": "road", "rgb": [1, 2, 3]}, "car"]}'),
        (
            "classes.toml",
            '[[classes]]\nname = "road"\ncolor = [1, 2, 3]\n[[classes]]\nname = "car"\n',
        ),
    ],
)
def test_classes_give_names_and_colours(
    tmp_path: Path, picture: Save, mask: Save, name: str, text: str
) -> None:
    picture(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.png")
    (tmp_path / name).write_text(text)
    labels = open_folder(tmp_path, "train").labels
    assert labels.names == ("road", "car")
    assert labels.colors == ((1, 2, 3), palette(2)[1])


def test_a_void_class_after_the_others_is_ignored(
    tmp_path: Path, picture: Save, mask: Save
) -> None:
    picture(tmp_path / "images" / "a.png", size=(1, 3))
    mask(tmp_path / "masks" / "a.png", [[0, 1, 2]])
    classes = {"classes": ["road", "car", "void"], "void_id": 2}
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    data = open_folder(tmp_path, "train")
    labels = data.frame(0).mask
    assert labels is not None
    assert labels.tolist() == [[0, 1, 255]]
    assert len(data.labels) == 2


def test_the_real_camvid_opens_as_a_folder_with_its_own_classes(shared: Path) -> None:
    data = open_folder(shared / "camvid", "val")
    assert len(data) == 101
    assert data.labels.names[0] == "Sky"
    assert len(data.labels) == 11
    assert data.frame(0).mask is not None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.json", "{"),
        ("classes.json", "{}"),
        ("classes.json", '"road"'),
        ("classes.json", "[]"),
        ("classes.json", "[7]"),
        ("classes.json", '[{"id": 0}]'),
        ("classes.json", '[{"name": "road", "color": "red"}]'),
        ("classes.json", '[{"name": "road", "color": [0, 0, 256]}]'),
        ("classes.json", '{"classes": ["void", "road"], "void_id": 0}'),
        ("classes.toml", "classes = "),
        ("labels.txt", "\n"),
        ("labels.txt", "x\n" * 256),
    ],
)
def test_a_list_of_classes_that_is_none_is_named(
    tmp_path: Path, picture: Save, mask: Save, name: str, text: str
) -> None:
    picture(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(InputFileError, match=f"{name} does not list the classes") as caught:
        open_folder(tmp_path, "train")
    assert "labels.txt" in caught.value.fix


def test_masks_need_a_list_of_classes(tmp_path: Path, picture: Save, mask: Save) -> None:
    picture(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.png")
    with pytest.raises(InputFileError, match=r"none of classes\.json"):
        open_folder(tmp_path, "train")


def test_pictures_without_mask_are_counted(tmp_path: Path, picture: Save, mask: Save) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / "images" / f"{name}.png")
    mask(tmp_path / "masks" / "b.png")
    (tmp_path / "labels.txt").write_text("road\n")
    with pytest.raises(InputFileError, match=r"2 of 3 pictures have no mask .* such as a\.png"):
        open_folder(tmp_path, "train")


def test_an_empty_folder_says_what_it_takes(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="nothing at all") as caught:
        open_folder(tmp_path, "train")
    assert "DIR/images" in caught.value.fix


def test_a_folder_of_other_things_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "more").mkdir()
    with pytest.raises(InputFileError, match=r"holds no pictures .*\.png.* but clip\.mp4, more/"):
        open_folder(tmp_path, "train")


def test_a_missing_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="missing"):
        open_folder(tmp_path / "none", "train")
    (tmp_path / "file").touch()
    with pytest.raises(InputFileError, match="not a folder"):
        open_folder(tmp_path / "file", "train")


def test_a_palette_is_the_same_every_time_and_has_no_colour_twice() -> None:
    assert palette(60)[:20] == palette(20)
    assert len(set(palette(60))) == 60
