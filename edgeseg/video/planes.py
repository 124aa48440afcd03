"""4:2:0 frames plane by plane: interleaved, taken apart, in another matrix or range, as RGB."""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from edgeseg.types import Buffer, Floats, PixelFormat, Pixels, Size
from edgeseg.yuv import Colours, rgb_from_yuv, yuv_from_yuv


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


class PlaneWriter:
    """Writes 4:2:0 planes as I420 or NV12 of the colours `into`."""

    def __init__(self, pixel_format: PixelFormat, size: Size, *, into: Colours) -> None:
        self._format, self._into = pixel_format, into
        half = (size.height // 2, size.width // 2)
        self._half, self._size = half, size
        self._pairs: Pixels | None = None
        self._shift: tuple[Pixels, Pixels] | None = None

    def write(self, planes: Sequence[Pixels], colours: Colours, pixels: Buffer) -> None:
        """Fill `pixels` with luma and chroma; three `planes`, or two where chroma is in pairs.

        Rows of `planes` may be apart; each is off by one level at most where the colours differ.
        """
        luma, *chroma = planes
        to_luma, *to_chroma = planes_of(pixels, self._format)
        if colours == self._into:
            np.copyto(to_luma, luma)
            _copy_chroma(chroma, to_chroma)
            return
        if self._pairs is None:
            self._pairs = np.empty((*self._half, 2), np.uint8)
        _copy_chroma(chroma, [self._pairs])
        self._write_luma(luma, self._pairs, colours, to_luma)
        cv2.transform(self._pairs, _chroma_change(colours, self._into), dst=self._pairs)
        _copy_chroma([self._pairs], to_chroma)

    def _write_luma(self, luma: Pixels, pairs: Pixels, colours: Colours, target: Pixels) -> None:
        change = yuv_from_yuv(colours, self._into)
        gain, by_u, by_v = change.matrix[0]
        if colours.matrix == self._into.matrix:
            cv2.LUT(luma, _luma_table(colours, self._into), dst=target)
            return
        if self._shift is None:
            self._shift = np.empty(self._half, np.uint8), np.empty(self._size, np.uint8)
        half, whole = self._shift
        # What chroma adds to luma, around 128: it is less than a fifth of the range.
        weights = np.array([[by_u, by_v, 128 - 128 * (by_u + by_v)]], np.float32)
        cv2.transform(pairs, weights, dst=half)
        cv2.resize(half, self._size[::-1], dst=whole, interpolation=cv2.INTER_NEAREST)
        offset = change.offset[0] + 128 * (by_u + by_v) - 128
        cv2.addWeighted(luma, gain, whole, 1.0, offset, dst=target)


class PackedWriter:
    """Writes 4:2:0 planes as RGB, BGR, RGBA or BGRX; each pixel takes the chroma of its four.

    Every level is the nearest one, half to even. Swscale cuts off, by up to three levels; told to
    round it takes five times as long as this, and colours far beyond the gamut overflow. OpenCV's
    own conversion is BT.601 to three digits, and takes luma below black for black.
    """

    def __init__(self, pixel_format: PixelFormat, size: Size) -> None:
        self._order = pixel_format.value[:3]
        half = (-(-size.height // 2), -(-size.width // 2))
        self._chroma = [np.empty(half, np.uint8) for _ in range(2)]
        self._tint = np.empty(half, np.float32)
        self._wide = np.empty((*half, 2), np.float32)
        self._levels = {name: np.empty(size, np.uint8) for name in self._order}
        has_fourth = pixel_format.frame_shape(size)[-1] == 4
        self._fourth = [np.full(size, 255, np.uint8)] if has_fourth else []

    def write(self, planes: Sequence[Pixels], colours: Colours, pixels: Buffer) -> None:
        """Fill `pixels`; three `planes`, or two where chroma is in pairs; rows may be apart."""
        luma, *chroma = planes
        if len(chroma) == 1:
            _copy_chroma(chroma, self._chroma)
            chroma = self._chroma
        change = rgb_from_yuv(colours)
        for name, (gain, by_u, by_v), offset in zip(
            "rgb", change.matrix, change.offset, strict=True
        ):
            cv2.addWeighted(
                chroma[0], by_u, chroma[1], by_v, offset, dst=self._tint, dtype=cv2.CV_32F
            )
            cv2.merge([self._tint, self._tint], dst=self._wide)
            wide = self._wide.reshape(len(self._wide), -1)
            for row in range(min(2, len(luma))):
                levels = self._levels[name][row::2]
                tint = wide[: levels.shape[0], : levels.shape[1]]
                cv2.addWeighted(luma[row::2], gain, tint, 1, 0, dst=levels, dtype=cv2.CV_8U)
        cv2.merge([*(self._levels[name] for name in self._order), *self._fourth], dst=pixels)


def _copy_chroma(chroma: Sequence[Pixels], target: Sequence[Pixels]) -> None:
    """Blue and red differences from one layout to the other: two planes, or one of pairs."""
    if len(chroma) == len(target):
        for plane, into in zip(chroma, target, strict=True):
            np.copyto(into, plane)
    elif len(target) == 1:
        cv2.merge(list(chroma), dst=target[0])
    else:
        for index, into in enumerate(target):
            np.copyto(into, chroma[0][..., index])


@cache
def _luma_table(source: Colours, target: Colours) -> Pixels:
    change = yuv_from_yuv(source, target)
    values = np.arange(256) * change.matrix[0, 0] + change.offset[0]
    table: Pixels = np.clip(values.round(), 0, 255).astype(np.uint8)
    return table


@cache
def _chroma_change(source: Colours, target: Colours) -> Floats:
    change = yuv_from_yuv(source, target)
    return np.column_stack([change.matrix[1:, 1:], change.offset[1:]]).astype(np.float32)
