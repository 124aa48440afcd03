"""Pictures and masks as they are read from files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.datasets.files import FilePairs, images_in, read_image, read_mask
from edgeseg.errors import InputFileError
from edgeseg.types import Labels

Save = Callable[..., Path]
TWO = Labels(names=("a", "b"), colors=((0, 0, 0), (1, 1, 1)))


def test_pictures_come_in_order_without_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", ".hidden.png", "notes.txt", "c.webp"):
        (tmp_path / name).touch()
    assert [path.name for path in images_in(tmp_path)] == ["a.PNG", "b.jpg", "c.webp"]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    Image.new("RGB", (5, 3), (200, 200, 200)).convert(mode).save(path)
    image = read_image(path)
    assert (image.shape, image.dtype) == ((3, 5, 3), np.uint8)
    assert np.abs(image.astype(int) - 200).max() <= 4


def test_void_becomes_255_and_255_stays(tmp_path: Path, mask: Save) -> None:
    path = mask(tmp_path / "mask.png", [[0, 1, 7], [255, 7, 0]])
    assert read_mask(path, classes=2, void=7).tolist() == [[0, 1, 255], [255, 255, 0]]


def test_an_id_that_is_no_class_is_named(tmp_path: Path, mask: Save) -> None:
    path = mask(tmp_path / "mask.png", [[0, 1, 2, 9]])
    with pytest.raises(InputFileError, match=r"label ids 2, 9.*2 classes \(0 to 1\)"):
        read_mask(path, classes=2)


def test_palette_indices_are_the_ids_whatever_their_colours(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[1, 0], [0, 1]], np.uint8), "L").convert("P")
    image.putpalette([9, 9, 9, 200, 100, 50] + [0] * 750)
    image.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as saved:
        expected = np.array(saved)
    assert read_mask(tmp_path / "mask.png", classes=2).tolist() == expected.tolist()


def test_a_colour_picture_is_no_mask(tmp_path: Path, picture: Save) -> None:
    with pytest.raises(InputFileError, match="colour picture"):
        read_mask(picture(tmp_path / "mask.png"), classes=2)


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg"])
def test_a_truncated_picture_is_named(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputFileError, match=name) as caught:
        read_image(tmp_path / name)
    assert caught.value.exit_code == 8


@pytest.mark.parametrize("data", [b"", b"not a picture at all"])
def test_what_is_no_picture_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "odd.png").write_bytes(data)
    with pytest.raises(InputFileError, match=r"odd\.png cannot be read as a picture"):
        read_image(tmp_path / "odd.png")


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="does not exist"):
        read_image(tmp_path / "none.png")


def test_a_mask_of_another_size_is_refused(tmp_path: Path, picture: Save, mask: Save) -> None:
    pair = (picture(tmp_path / "a.png"), mask(tmp_path / "a_mask.png", size=(6, 4)))
    data = FilePairs("made", TWO, [pair])
    with pytest.raises(InputFileError, match=r"a\.png is 6x4, but its mask a_mask\.png is 4x6"):
        data.frame(0)


def test_the_digest_is_that_of_the_bytes(tmp_path: Path, picture: Save) -> None:
    paths = [
        picture(tmp_path / f"{name}.png", value=value)
        for name, value in (("a", 10), ("b", 10), ("c", 11))
    ]
    data = FilePairs("made", TWO, [(path, None) for path in paths])
    assert data.digest(0) == data.digest(1)
    assert data.digest(0) != data.digest(2)
