"""Frames in the layout that the caller wants, written into the caller's memory."""

import cv2
import numpy as np

from edgeseg.errors import UsageError
from edgeseg.types import Buffer, PixelFormat, Pixels, Size

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


def planes_of(pixels: Buffer, pixel_format: PixelFormat) -> list[Pixels]:
    """Views of the planes in `pixels`: one for packed formats, three for I420, two for NV12."""
    if pixel_format not in {PixelFormat.I420, PixelFormat.NV12}:
        return [pixels]
    height, width = pixels.shape[0] * 2 // 3, pixels.shape[1]
    luma, chroma = pixels[:height], pixels[height:].reshape(-1)
    half = (height // 2, width // 2)
    if pixel_format is PixelFormat.NV12:
        return [luma, chroma.reshape(*half, 2)]
    middle = chroma.size // 2
    return [luma, chroma[:middle].reshape(half), chroma[middle:].reshape(half)]


def resized(image: Pixels, size: Size) -> Pixels:
    """`image` uint8 (H, W, 3) at `size`, bilinear."""
    if image.shape[:2] == tuple(size):
        return image
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8)


class FromRgb:
    """Writes RGB pictures in another format; YUV is BT.601 in limited range."""

    def __init__(self, pixel_format: PixelFormat, size: Size) -> None:
        self._format, self._size = pixel_format, size
        shape = pixel_format.frame_shape(size)
        self._i420 = np.empty(shape, np.uint8) if pixel_format is PixelFormat.NV12 else None

    def write(self, picture: Pixels, pixels: Buffer) -> None:
        """Fill `pixels` with `picture`, uint8 (H, W, 3) RGB."""
        checked(pixels, self._format, self._size)
        if self._format is PixelFormat.RGB8:
            np.copyto(pixels, picture)
        elif self._i420 is not None:
            cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420, dst=self._i420)
            luma, blue, red = planes_of(self._i420, PixelFormat.I420)
            to_luma, to_chroma = planes_of(pixels, PixelFormat.NV12)
            np.copyto(to_luma, luma)
            np.copyto(to_chroma[..., 0], blue)
            np.copyto(to_chroma[..., 1], red)
        else:
            cv2.cvtColor(picture, _CV2_CODES[self._format], dst=pixels)


class ToRgb:
    """Shows frames of another format as RGB, for drawing; into memory of its own, if need be."""

    def __init__(self, pixel_format: PixelFormat, size: Size) -> None:
        self._format = pixel_format
        self._rgb = None if pixel_format is PixelFormat.RGB8 else np.empty((*size, 3), np.uint8)

    def view(self, pixels: Buffer) -> Pixels:
        """`pixels` itself where it is RGB already; else a copy that the next call overwrites."""
        if self._rgb is None:
            return pixels
        cv2.cvtColor(pixels, _TO_RGB_CODES[self._format], dst=self._rgb)
        return self._rgb
