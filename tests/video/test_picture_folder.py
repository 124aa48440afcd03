"""edgeseg.video.sources.folder."""

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.errors import InputFileError
from edgeseg.frames import Source
from edgeseg.types import PixelFormat, Pixels, Size
from edgeseg.video import SourceOptions, open_source
from edgeseg.video.sources.folder import PictureFolder

ReadAll = Callable[[Source], list[Pixels]]
SIZE = Size(32, 48)


def save_grey(path: Path, value: int, *, size: Size = SIZE) -> None:
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def test_pictures_come_in_natural_order(tmp_path: Path, read_all: ReadAll) -> None:
    for name, value in (("a10.png", 100), ("a2.png", 20), ("a1.png", 10)):
        save_grey(tmp_path / name, value)
    (tmp_path / "notes.txt").write_text("not a picture")
    source = open_source(str(tmp_path))
    assert (source.info.size, source.info.fps) == (Size(32, 48), Fraction(15))
    assert [int(frame[0, 0, 0]) for frame in read_all(source)] == [10, 20, 100]


def test_one_corrupt_picture_is_left_out_and_named(
    tmp_path: Path, read_all: ReadAll, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("1.png", "3.png"):
        save_grey(tmp_path / name, 9)
    data = (tmp_path / "1.png").read_bytes()
    (tmp_path / "2.png").write_bytes(data[: len(data) // 2])
    source = PictureFolder(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert len(read_all(source)) == 2
    assert source.skipped == ["2.png"]
    assert "2.png" in caplog.text


def test_a_folder_without_a_readable_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no pictures"):
        open_source(str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(InputFileError, match="can be read") as caught:
        open_source(str(tmp_path))
    assert caught.value.exit_code == 8
    with pytest.raises(InputFileError, match="cannot be read"):
        open_source(f"folder://{tmp_path}/nowhere")


def test_other_sizes_are_fitted_to_the_first(tmp_path: Path, read_all: ReadAll) -> None:
    save_grey(tmp_path / "1.png", 10)
    save_grey(tmp_path / "2.png", 77, size=Size(100, 200))
    frames = read_all(open_source(str(tmp_path), SourceOptions(rate=Fraction(5))))
    assert [frame.shape for frame in frames] == [(32, 48, 3)] * 2
    assert (frames[1] == 77).all()


def test_scale_to_rules_over_the_first_picture(tmp_path: Path, read_all: ReadAll) -> None:
    save_grey(tmp_path / "1.png", 10)
    (frame,) = read_all(open_source(str(tmp_path), SourceOptions(scale_to=Size(20, 16))))
    assert frame.shape == (20, 16, 3)


def test_pictures_are_turned_as_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(tmp_path / "1.jpg", exif=exif)
    assert open_source(str(tmp_path)).info.size == Size(48, 32)


@pytest.mark.parametrize("pixel_format", list(PixelFormat))
def test_grey_stays_grey_in_every_format(
    pixel_format: PixelFormat, tmp_path: Path, read_all: ReadAll
) -> None:
    save_grey(tmp_path / "1.png", 128)
    (frame,) = read_all(open_source(str(tmp_path), SourceOptions(pixel_format=pixel_format)))
    assert frame.shape == pixel_format.frame_shape(Size(32, 48))
    luma = frame[:32] if frame.ndim == 2 else frame[..., :3]
    expected = 16 + 128 * 219 / 255 if frame.ndim == 2 else 128
    assert np.abs(luma.astype(int) - expected).max() <= 1


def test_red_is_where_the_format_puts_it(tmp_path: Path, read_all: ReadAll) -> None:
    red = np.zeros((32, 48, 3), np.uint8)
    red[..., 0] = 255
    Image.fromarray(red).save(tmp_path / "1.png")
    (bgr,) = read_all(open_source(str(tmp_path), SourceOptions(pixel_format=PixelFormat.BGR8)))
    (nv12,) = read_all(open_source(str(tmp_path), SourceOptions(pixel_format=PixelFormat.NV12)))
    assert bgr[0, 0].tolist() == [0, 0, 255]
    assert nv12[32, :2].tolist() == [90, 240]
