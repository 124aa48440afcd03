"""What the numbers of a YUV frame mean: the matrices and ranges of the ITU-R recommendations."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeseg.frames import YuvKind

Doubles = npt.NDArray[np.float64]

# Of red and blue in the luma; green has the rest.
_WEIGHTS = {
    "bt601": (0.299, 0.114),  # ITU-R BT.601-7
    "bt709": (0.2126, 0.0722),  # ITU-R BT.709-6
    "bt2020": (0.2627, 0.0593),  # ITU-R BT.2020-2
    "fcc": (0.30, 0.11),  # FCC 73.682, and ITU-R BT.470-6 System M
    "smpte240m": (0.212, 0.087),  # SMPTE ST 240
}


class Colours(NamedTuple):
    """Matrix and range of a YUV frame, those that no engine takes included."""

    matrix: str
    full: bool
    """Luma and chroma take all 256 levels; else 219 and 224 of them."""

    def __str__(self) -> str:
        return f"{self.matrix}-{'full' if self.full else 'limited'}"


class Affine(NamedTuple):
    """Three numbers from three: matrix @ numbers + offset."""

    matrix: Doubles
    offset: Doubles


def colours_of(kind: YuvKind) -> Colours:
    """The matrix and the range that `kind` names."""
    matrix, _, span = kind.partition("-")
    return Colours(matrix, span == "full")


def rgb_from_yuv(colours: Colours) -> Affine:
    """R, G, B in 0..255 from the bytes Y, U, V; colours that RGB has not come out beyond that."""
    red, blue = _WEIGHTS[colours.matrix]
    green = 1 - red - blue
    by_v, by_u = 2 * (1 - red), 2 * (1 - blue)
    analogue = np.array(
        [[1, 0, by_v], [1, -by_u * blue / green, -by_v * red / green], [1, by_u, 0]]
    )
    black, luma, chroma = (0, 255, 255) if colours.full else (16, 219, 224)
    matrix = analogue * (255 / np.array([luma, chroma, chroma]))
    return Affine(matrix, -matrix @ (black, 128, 128))


def yuv_from_yuv(source: Colours, target: Colours) -> Affine:
    """The bytes Y, U, V of `target` from those of `source`; grey stays grey."""
    to_rgb, from_target = rgb_from_yuv(source), rgb_from_yuv(target)
    back = np.linalg.inv(from_target.matrix)
    return Affine(back @ to_rgb.matrix, back @ (to_rgb.offset - from_target.offset))
