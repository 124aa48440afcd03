"""A frame as bytes: the picture as JPEG, the class ids as a PNG with their palette, and messages.

The PNG is written here: runs of the same class in the row above become runs of zeros, which zlib
packs several times faster, and smaller, than an encoder that is made for photographs.
"""

import json
import struct
import zlib
from collections.abc import Mapping

import cv2
import numpy as np

from edgeseg.frames import YuvKind
from edgeseg.types import Labels, PixelFormat, Pixels, Size
from edgeseg.video.pixels import ToRgb

LARGEST_SIDE_PX = 1280
"""Larger frames are scaled down for the page: nobody's screen shows more of them."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FILTER_NONE, _FILTER_UP = 0, 2


def preview_size(size: Size) -> Size:
    """`size`, or the one of the same shape that is LARGEST_SIDE_PX long."""
    scale = min(1.0, LARGEST_SIDE_PX / max(size))
    return Size(max(1, round(size.height * scale)), max(1, round(size.width * scale)))


class JpegEncoder:
    """Frames of one format and size as JPEG, scaled down to the preview; used by one thread."""

    def __init__(
        self,
        pixel_format: PixelFormat,
        size: Size,
        quality: int,
        *,
        yuv: YuvKind = "bt601-limited",
    ) -> None:
        self._format = pixel_format
        self._to_rgb = ToRgb(pixel_format, size, yuv=yuv)
        self._options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        self._size = preview_size(size)
        self._bgr = np.empty((*size, 3), np.uint8)
        self._small = None if self._size == size else np.empty((*self._size, 3), np.uint8)

    def encode(self, pixels: Pixels) -> bytes:
        """The JPEG of one frame."""
        bgr = pixels
        if self._format is not PixelFormat.BGR8:
            bgr = self._bgr
            cv2.cvtColor(self._to_rgb.view(pixels), cv2.COLOR_RGB2BGR, dst=bgr)
        if self._small is not None:
            width_height = self._size[::-1]
            cv2.resize(bgr, width_height, dst=self._small, interpolation=cv2.INTER_AREA)
            bgr = self._small
        return cv2.imencode(".jpg", bgr, self._options)[1].tobytes()


class PngEncoder:
    """Class ids as a palette PNG without loss; used by one thread."""

    def __init__(self, labels: Labels) -> None:
        self._palette = _chunk(b"PLTE", labels.palette()[: len(labels)].tobytes())
        self._whole_palette = _chunk(b"PLTE", labels.palette().tobytes())
        self._classes = len(labels)
        self._rows = np.empty((0, 0), np.uint8)

    def encode(self, labels: Pixels) -> bytes:
        """The PNG of `labels`, uint8 (H, W)."""
        height, width = labels.shape
        if self._rows.shape != (height, width + 1):
            self._rows = np.empty((height, width + 1), np.uint8)
            self._rows[0, 0], self._rows[1:, 0] = _FILTER_NONE, _FILTER_UP
        self._rows[0, 1:] = labels[0]
        np.subtract(labels[1:], labels[:-1], out=self._rows[1:, 1:])
        # Ids without a class, such as 255, need an entry of the palette as well.
        known = cv2.minMaxLoc(labels)[1] < self._classes
        packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
        header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
        return b"".join(
            (
                _SIGNATURE,
                _chunk(b"IHDR", header),
                self._palette if known else self._whole_palette,
                _chunk(b"IDAT", packer.compress(self._rows.data) + packer.flush()),
                _chunk(b"IEND", b""),
            )
        )


def class_shares(labels: Pixels, classes: int) -> list[float]:
    """The share of each class in `labels`, in percent."""
    counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel()[:classes]
    return [round(100 * float(count) / labels.size, 2) for count in counts]


def message(values: Mapping[str, object], jpeg: bytes = b"", png: bytes = b"") -> bytes:
    """What the page is sent: 4 bytes of length, JSON of that length, the JPEG and the PNG."""
    text = json.dumps(
        {"schema": 1, **values, "jpeg": len(jpeg), "png": len(png)}, separators=(",", ":")
    ).encode()
    return b"".join((struct.pack(">I", len(text)), text, jpeg, png))


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)))
