"""How much each pixel counts: more between regions that nearly touch (U-Net, equation 2)."""

from collections.abc import Iterator

import cv2
import numpy as np

from edgeseg.types import IGNORE, Array, Floats, Pixels

REACH = 6
"""In sigmas: where d1 + d2 is larger, the border adds less than w0 * 2e-8."""


def border_weights(
    mask: Pixels,
    *,
    background: int | None = None,
    class_weights: Floats | None = None,
    w0: float = 10.0,
    sigma_px: float = 5.0,
) -> Floats:
    """float32 (H, W): wc(x) + w0 exp(-(d1 + d2)^2 / (2 sigma^2)) at each pixel of `mask`.

    d1 and d2 are the distances in px to the nearest border and to that of another region. A region
    is a connected part of one class or instance; `background` and 255 (ignore) form none. wc is
    `class_weights` (C,) at the pixel's class, 1 without them. Pixels of 255 weigh nothing.
    """
    counted = mask != IGNORE
    balance: Floats = np.ones(IGNORE + 1, np.float32)
    if class_weights is not None:
        balance[: len(class_weights)] = class_weights
    nearest, second = _two_distances(mask, background, REACH * sigma_px)
    between = np.exp(-((nearest + second) ** 2) / (2 * sigma_px**2))
    return np.where(counted, balance[mask] + w0 * between, 0).astype(np.float32)


def _two_distances(mask: Pixels, background: int | None, reach_px: float) -> tuple[Floats, Floats]:
    """The distances to the nearest and second nearest region; infinite from `reach_px` on."""
    nearest: Floats = np.full(mask.shape, np.inf, np.float32)
    second = nearest.copy()
    for window, border in _borders(mask, background, int(np.ceil(reach_px))):
        distance = cv2.distanceTransform(~border, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        first, other = nearest[window], second[window]  # views: what follows writes into both
        np.minimum(other, np.maximum(first, distance), out=other)
        np.minimum(first, distance, out=first)
    return nearest, second


def _borders(
    mask: Pixels, background: int | None, margin_px: int
) -> Iterator[tuple[tuple[slice, slice], Pixels]]:
    """Of each region, the window that it can be near to, and there 255 on its outermost pixels."""
    for value in np.unique(mask):
        if value in {background, IGNORE}:
            continue
        same: Pixels = (mask == value).astype(np.uint8)
        _, parts, boxes, _ = cv2.connectedComponentsWithStats(same, connectivity=8)
        for number, (left, top, width, height, _) in enumerate(boxes[1:], start=1):
            window = (_span(top, height, margin_px), _span(left, width, margin_px))
            yield window, _outline(parts[window] == number)


def _outline(region: Array) -> Pixels:
    """255 on the pixels of `region` beside which, in a row or a column, another region begins."""
    filled = region.astype(np.uint8) * np.uint8(255)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # The picture's own edge is no border: beyond it the region goes on for all we know.
    inner = cv2.erode(filled, cross, borderType=cv2.BORDER_CONSTANT, borderValue=255)
    return cv2.subtract(filled, inner).astype(np.uint8)


def _span(first: int, length: int, margin: int) -> slice:
    return slice(max(0, int(first) - margin), int(first + length) + margin)
