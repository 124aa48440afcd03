"""Planar frames whose colours are known, and the RGB that the recommendations say they mean."""

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from edgeseg.types import Pixels

# The luma weights of red and blue, from the recommendations.
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


def rgb_of(
    y: npt.ArrayLike, u: npt.ArrayLike, v: npt.ArrayLike, *, matrix: str, full: bool
) -> Pixels:
    """The nearest levels (..., 3) of one colour or of planes of one size."""
    red, blue = WEIGHTS[matrix]
    bright, blueish, reddish = (np.asarray(values, np.float64) for values in (y, u, v))
    luma = bright / 255 if full else (bright - 16) / 219
    cb, cr = ((chroma - 128) / (255 if full else 224) for chroma in (blueish, reddish))
    r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    rgb: Pixels = np.clip(np.stack([r, g, b], -1) * 255, 0, 255).round().astype(np.uint8)
    return rgb


def whole_planes(frame: VideoFrame) -> list[Pixels]:
    """Y, U and V of a 4:2:0 `frame` in its whole size, each chroma four times."""
    height, width = frame.height, frame.width
    flat = frame.to_ndarray(format="yuv420p")
    chroma = flat[height:].reshape(2, height // 2, width // 2)
    return [flat[:height], *(plane.repeat(2, 0).repeat(2, 1) for plane in chroma)]


def yuv_frame(y: int, u: int, v: int, *, width: int = 64, height: int = 48) -> Pixels:
    planes = np.empty((height * 3 // 2, width), np.uint8)
    planes[:height], planes[height : height * 5 // 4], planes[height * 5 // 4 :] = y, u, v
    return planes


def gradient(width: int = 64, height: int = 48) -> Pixels:
    planes = yuv_frame(0, 110, 140, width=width, height=height)
    planes[:height] = np.add.outer(np.arange(height), np.arange(width)) + 30
    return planes
