"""A folder of pictures as a video."""

import logging
import re
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from edgeseg.errors import InputFileError
from edgeseg.frames import FrameTime, Source, VideoInfo, YuvKind
from edgeseg.types import Buffer, PixelFormat, Pixels, Size
from edgeseg.video.pixels import FromRgb
from edgeseg.video.sources import SourceOptions
from edgeseg.video.sources.paced import played

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
FPS = Fraction(15)


class PictureFolder:
    """The pictures of a folder in natural order (`2.png` before `10.png`), turned as EXIF says.

    The first readable picture fixes the size unless `scale_to` does; pictures of another size are
    resized to it (area averaging where they shrink), without keeping their proportions. A picture
    that cannot be read is left out, named in a warning and listed in `skipped`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pixel_format: PixelFormat = PixelFormat.RGB8,
        fps: Fraction = FPS,
        scale_to: Size | None = None,
        yuv: YuvKind = "bt601-limited",
    ) -> None:
        self.skipped: list[str] = []
        self._paths = iter(_pictures_in(folder))
        first = self._next_picture()
        if first is None:
            raise InputFileError(
                f"none of the pictures in {folder} can be read",
                fix="replace the files: " + ", ".join(self.skipped[:5]),
            )
        self._pending: Pixels | None = first
        size = scale_to or Size(*first.shape[:2])
        self.info = VideoInfo(
            size=size, fps=fps, pixel_format=pixel_format, frames=None, name=folder.name
        )
        self._writer = FromRgb(pixel_format, size, yuv=yuv)
        self._resized = np.empty((*size, 3), np.uint8)
        self._fps = fps
        self._index = 0

    def read_into(self, pixels: Buffer) -> FrameTime | None:
        """Fill `pixels` with the next picture that can be read; None at the end."""
        picture, self._pending = self._pending, None
        if picture is None:
            picture = self._next_picture()
        if picture is None:
            return None
        read = FrameTime(self._index, time.monotonic(), float(self._index / self._fps))
        self._writer.write(self._fitted(picture), pixels)
        self._index += 1
        return read

    def close(self) -> None:
        """End here; reading on gives None."""
        self._paths = iter(())
        self._pending = None

    def _next_picture(self) -> Pixels | None:
        for path in self._paths:
            try:
                return _read(path)
            except (OSError, SyntaxError, ValueError) as error:
                self.skipped.append(path.name)
                log.warning("%s cannot be read and is left out: %s", path, error)
        return None

    def _fitted(self, picture: Pixels) -> Pixels:
        height, width = self.info.size
        if picture.shape[:2] == (height, width):
            return picture
        shrinks = picture.shape[0] > height and picture.shape[1] > width
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        cv2.resize(picture, (width, height), dst=self._resized, interpolation=how)
        return self._resized


def open_folder(rest: str, wanted: SourceOptions) -> Source:
    """The pictures of the folder at `rest`, `wanted.fps` (default 15) a second.

    Raises:
        InputFileError: the folder is missing, or no picture in it can be read.
        UsageError: a 4:2:0 format and an odd size.
    """
    pictures = PictureFolder(
        Path(rest),
        pixel_format=wanted.pixel_format,
        fps=wanted.rate or wanted.fps or FPS,
        scale_to=wanted.scale_to,
        yuv=wanted.yuv,
    )
    return played(pictures, wanted.rate, wanted) if wanted.rate else pictures


def _pictures_in(folder: Path) -> list[Path]:
    try:
        found = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        ]
    except OSError as error:
        raise InputFileError(
            f"the folder {folder} cannot be read: {error.strerror}", fix="check the path"
        ) from error
    if not found:
        raise InputFileError(
            f"{folder} holds no pictures", fix=f"expected {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    # Numbers before letters, and by value: [(2, ""), (0, ".png")].
    parts = re.findall(r"[0-9]+|[^0-9]+", path.name)
    return [(int(part), part) if part[0] in "0123456789" else (1 << 62, part) for part in parts]


def _read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"), np.uint8)
