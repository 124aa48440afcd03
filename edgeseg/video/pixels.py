"""Frames in the layout that the caller wants, written into the caller's memory."""

import cv2
import numpy as np

from edgeseg.errors import UsageError
from edgeseg.frames import YuvKind
from edgeseg.types import Buffer, PixelFormat, Pixels, Size
from edgeseg.video.planes import PlaneWriter, planes_of
from edgeseg.yuv import colours_of

_CV2_CODES = {
    PixelFormat.BGR8: cv2.COLOR_RGB2BGR,
    PixelFormat.RGBA8: cv2.COLOR_RGB2RGBA,
    PixelFormat.BGRX8: cv2.COLOR_RGB2BGRA,
    PixelFormat.I420: cv2.COLOR_RGB2YUV_I420,
}

_TO_RGB_CODES = {
    PixelFormat.BGR8: cv2.COLOR_BGR2RGB,
    PixelFormat.RGBA8: cv2.COLOR_RGBA2RGB,
    PixelFormat.BGRX8: cv2.COLOR_BGRA2RGB,
    PixelFormat.I420: cv2.COLOR_YUV2RGB_I420,
    PixelFormat.NV12: cv2.COLOR_YUV2RGB_NV12,
}

_YUV = frozenset({PixelFormat.I420, PixelFormat.NV12})
_OPENCV = colours_of("bt601-limited")
"""The only YUV that OpenCV's 4:2:0 conversions know."""


def checked(pixels: Buffer, pixel_format: PixelFormat, size: Size) -> Buffer:
    """`pixels`, if a frame of this format and size fits it exactly.

    Raises:
        UsageError: another shape or dtype, or memory with gaps.
    """
    shape = pixel_format.frame_shape(size)
    if pixels.shape != shape or pixels.dtype != np.uint8 or not pixels.flags.c_contiguous:
        raise UsageError(
            f"a {pixel_format.value} frame of {size} needs contiguous uint8 memory of the shape "
            f"{shape}, got {pixels.dtype} {pixels.shape}",
            fix="allocate np.empty(info.pixel_format.frame_shape(info.size), np.uint8)",
        )
    return pixels


def resized(image: Pixels, size: Size) -> Pixels:
    """`image` uint8 (H, W, 3) at `size`, bilinear."""
    if image.shape[:2] == tuple(size):
        return image
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8)


class FromRgb:
    """Writes RGB pictures in another format; I420 and NV12 in the matrix and range `yuv`."""

    def __init__(
        self, pixel_format: PixelFormat, size: Size, *, yuv: YuvKind = "bt601-limited"
    ) -> None:
        self._format, self._size = pixel_format, size
        # OpenCV makes planar BT.601 in limited range and no other.
        plain = pixel_format is PixelFormat.I420 and yuv == "bt601-limited"
        self._planes: PlaneWriter | None = None
        if pixel_format in _YUV and not plain:
            self._planes = PlaneWriter(pixel_format, size, into=colours_of(yuv))
            self._i420 = np.empty(pixel_format.frame_shape(size), np.uint8)

    def write(self, picture: Pixels, pixels: Buffer) -> None:
        """Fill `pixels` with `picture`, uint8 (H, W, 3) RGB."""
        checked(pixels, self._format, self._size)
        if self._format is PixelFormat.RGB8:
            np.copyto(pixels, picture)
        elif self._planes is not None:
            cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420, dst=self._i420)
            self._planes.write(planes_of(self._i420, PixelFormat.I420), _OPENCV, pixels)
        else:
            cv2.cvtColor(picture, _CV2_CODES[self._format], dst=pixels)


class ToRgb:
    """Shows frames of another format as RGB, for drawing; into memory of its own, if need be."""

    def __init__(
        self, pixel_format: PixelFormat, size: Size, *, yuv: YuvKind = "bt601-limited"
    ) -> None:
        self._format, self._colours = pixel_format, colours_of(yuv)
        self._rgb = None if pixel_format is PixelFormat.RGB8 else np.empty((*size, 3), np.uint8)
        self._planes: PlaneWriter | None = None
        if pixel_format in _YUV and self._colours != _OPENCV:
            self._planes = PlaneWriter(pixel_format, size, into=_OPENCV)
            self._plain = np.empty(pixel_format.frame_shape(size), np.uint8)

    def view(self, pixels: Buffer) -> Pixels:
        """`pixels` itself where it is RGB already; else a copy that the next call overwrites."""
        if self._rgb is None:
            return pixels
        if self._planes is not None:
            self._planes.write(planes_of(pixels, self._format), self._colours, self._plain)
            pixels = self._plain
        cv2.cvtColor(pixels, _TO_RGB_CODES[self._format], dst=self._rgb)
        return self._rgb
