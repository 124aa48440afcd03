"""The picture people look at: classes in colour, a legend and one line of live figures."""

from typing import Literal, TypeAlias

import cv2
import numpy as np

from edgeseg.errors import UsageError
from edgeseg.types import Labels, Pixels, Size
from edgeseg.video.legend import FONT, INK, legend_box, text_scale

Visualize: TypeAlias = Literal["overlay", "mask", "side-by-side"]


class Overlay:
    """Draws results for frames of one size, all of them into the same buffer.

    `draw` allocates nothing of a frame's size. An Overlay belongs to one thread; a worker that
    draws has its own.
    """

    def __init__(
        self,
        size: Size,
        labels: Labels,
        *,
        visualize: Visualize = "overlay",
        alpha: float = 0.5,
        legend: bool = True,
    ) -> None:
        if visualize not in {"overlay", "mask", "side-by-side"}:
            raise UsageError(
                f"there is no way {visualize!r} to show results",
                fix="use overlay, mask or side-by-side",
            )
        if not 0 <= alpha <= 1:
            raise UsageError(f"an alpha of {alpha}", fix="give 0 (the frame) to 1 (the classes)")
        self._size, self._visualize, self._alpha = size, visualize, alpha
        width = size.width * 2 if visualize == "side-by-side" else size.width
        self.picture_size = Size(size.height, width)
        """The size of what `draw` returns: twice as wide where two pictures stand side by side."""
        self._lut = np.ascontiguousarray(labels.palette()[:, None])
        self._mask = np.zeros(size, np.uint8)
        self._colors = np.zeros((*size, 3), np.uint8)
        self._picture = np.zeros((*self.picture_size, 3), np.uint8)
        self._right = self._picture[:, -size.width :]
        box = legend_box(labels, size) if legend else None
        self._legend = box
        if box is not None:
            gap = max(2, min(size) // 60)
            bottom, left = size.height - gap, gap
            self._legend_place = self._right[
                bottom - box.shape[0] : bottom, left : left + box.shape[1]
            ]
        self._band = self._picture[: int(np.clip(size.height / 16, 16, 64))]

    def draw(self, pixels: Pixels, labels: Pixels, text: str = "") -> Pixels:
        """The picture for `pixels`, uint8 (H, W, 3) RGB, and class ids `labels`, uint8.

        The Overlay owns what it returns and paints over it in the next call; nothing of the
        arguments is kept. Labels of another size are stretched to the frame.

        Raises:
            UsageError: pixels of another size.
        """
        if pixels.shape != (*self._size, 3):
            raise UsageError(
                f"this Overlay draws frames of {self._size}, got the shape {pixels.shape}",
                fix="make an Overlay for each frame size",
            )
        self._paint(pixels, self._fitted(labels))
        if self._legend is not None:
            np.copyto(self._legend_place, self._legend)
        if text:
            self._write(text)
        return self._picture

    def _paint(self, pixels: Pixels, labels: Pixels) -> None:
        if self._visualize == "overlay":
            cv2.applyColorMap(labels, self._lut, dst=self._colors)
            cv2.addWeighted(
                pixels, 1 - self._alpha, self._colors, self._alpha, 0, dst=self._picture
            )
            return
        if self._visualize == "side-by-side":
            np.copyto(self._picture[:, : self._size.width], pixels)
        cv2.applyColorMap(labels, self._lut, dst=self._colors)
        np.copyto(self._right, self._colors)

    def _fitted(self, labels: Pixels) -> Pixels:
        if labels.shape == self._size:
            return labels
        shape = (self._size.width, self._size.height)
        cv2.resize(labels, shape, dst=self._mask, interpolation=cv2.INTER_NEAREST)
        return self._mask

    def _write(self, text: str) -> None:
        """One line on a darkened band at the top, smaller where it is too long for it."""
        height, width = self._band.shape[:2]
        np.right_shift(self._band, 2, out=self._band)
        scale = text_scale(height)
        margin = height // 3
        (needed, high), _ = cv2.getTextSize(text, FONT, scale, 1)
        room = width - 2 * margin
        if needed > room:
            scale *= room / needed
            (_, high), _ = cv2.getTextSize(text, FONT, scale, 1)
        place = (margin, (height + high) // 2)
        thickness = 2 if height > 40 else 1
        cv2.putText(self._picture, text, place, FONT, scale, INK, thickness, cv2.LINE_AA)
