"""The head of the frame graph in numpy: for calibration and for the float reference."""

import cv2
import numpy as np

from edgeseg.types import Floats, Pixels, Size


def network_pixels(
    image: Pixels,
    size: Size,
    *,
    order: str,
    gain: tuple[float, float, float],
    bias: tuple[float, float, float],
) -> Floats:
    """Float32 (1, 3, h, w) for the core from one RGB picture uint8 (H, W, 3).

    Resized as float with half-pixel centres, as the graph's own head does.
    """
    floats = image.astype(np.float32)
    if floats.shape[:2] != tuple(size):
        floats = cv2.resize(floats, size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32)
    if order == "bgr":
        floats = floats[..., ::-1]
    scaled = floats * np.asarray(gain, np.float32) + np.asarray(bias, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])
