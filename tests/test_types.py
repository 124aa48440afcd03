"""Sizes, pixel formats and labels."""

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.types import Labels, PixelFormat, Size, size_from_text


def test_a_size_is_typed_width_first_and_kept_height_first() -> None:
    size = size_from_text("640x480")
    assert (size.height, size.width) == (480, 640)
    assert str(size) == "640x480"


@pytest.mark.parametrize(
    "text",
    ["", "640", "640x", "x480", "640x480x3", "-640x480", "15x480", "640x16385", "\uff16\uff14x64"],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        size_from_text(text)


@pytest.mark.parametrize(
    ("pixel_format", "shape"),
    [
        (PixelFormat.RGB8, (6, 8, 3)),
        (PixelFormat.BGR8, (6, 8, 3)),
        (PixelFormat.RGBA8, (6, 8, 4)),
        (PixelFormat.BGRX8, (6, 8, 4)),
        (PixelFormat.NV12, (9, 8)),
        (PixelFormat.I420, (9, 8)),
    ],
)
def test_a_frame_has_the_shape_of_its_format(
    pixel_format: PixelFormat, shape: tuple[int, ...]
) -> None:
    assert pixel_format.frame_shape(Size(6, 8)) == shape


@pytest.mark.parametrize("size", [Size(5, 8), Size(6, 7)])
def test_a_halved_chroma_plane_needs_even_sides(size: Size) -> None:
    with pytest.raises(UsageError, match="even"):
        PixelFormat.NV12.frame_shape(size)


def test_the_palette_holds_the_colours_and_black() -> None:
    palette = Labels(names=("road", "car"), colors=((1, 2, 3), (4, 5, 255))).palette()
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    assert palette[:2].tolist() == [[1, 2, 3], [4, 5, 255]]
    assert not palette[2:].any()


@pytest.mark.parametrize(("names", "colors"), [(0, 0), (2, 1), (256, 256)])
def test_labels_need_one_colour_each(names: int, colors: int) -> None:
    with pytest.raises(UsageError):
        Labels(names=("a",) * names, colors=((0, 0, 0),) * colors)
