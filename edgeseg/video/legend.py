"""The box of colours and class names, drawn once."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from edgeseg.types import Labels, Pixels, Size

FONT = cv2.FONT_HERSHEY_SIMPLEX
BACKGROUND = (24, 26, 30)
INK = (238, 238, 238)

MAX_SHARE = 0.25
"""The legend never covers more of the frame than this."""

_SMALLEST_ROW_PX = 11


class _Grid(NamedTuple):
    rows: int
    columns: int
    row_px: int
    column_px: int

    @property
    def size(self) -> Size:
        pad = self.row_px // 2
        return Size(self.rows * self.row_px + pad, self.columns * self.column_px + pad)


def legend_box(labels: Labels, frame: Size) -> Pixels | None:
    """The legend for frames of this size as uint8 (h, w, 3) RGB; None where none would be readable.

    Rows shrink with the frame and with the number of classes; what still does not fit becomes
    "+N more".
    """
    preferred = int(np.clip(frame.height / 26, _SMALLEST_ROW_PX, 44))
    for row_px in range(preferred, _SMALLEST_ROW_PX - 1, -1):
        grid = _grid(labels.names, row_px, frame)
        if grid is not None:
            return _drawn(labels.names, labels.colors, grid)
    for shown in range(len(labels) - 1, 0, -1):
        names = (*labels.names[:shown], f"+{len(labels) - shown} more")
        grid = _grid(names, _SMALLEST_ROW_PX, frame)
        if grid is not None:
            return _drawn(names, labels.colors[:shown], grid)
    return None


def text_scale(height_px: int) -> float:
    """The cv2 font scale whose capital letters are about half of `height_px` high."""
    return height_px / 42


def _grid(names: Sequence[str], row_px: int, frame: Size) -> _Grid | None:
    """The fewest columns that keep the box within its share of the frame, or None."""
    widths = [cv2.getTextSize(name, FONT, text_scale(row_px), 1)[0][0] for name in names]
    column_px = max(widths) + row_px * 2
    for columns in range(1, len(names) + 1):
        grid = _Grid(-(-len(names) // columns), columns, row_px, column_px)
        height, width = grid.size
        if height <= frame.height * 0.6 and width <= frame.width * 0.9:
            return grid if height * width <= MAX_SHARE * frame.height * frame.width else None
    return None


def _drawn(names: Sequence[str], colors: Sequence[tuple[int, int, int]], grid: _Grid) -> Pixels:
    box = np.empty((*grid.size, 3), np.uint8)
    box[:] = BACKGROUND
    row, pad = grid.row_px, grid.row_px // 4
    side = max(5, row * 5 // 8)
    for index, name in enumerate(names):
        column, line = divmod(index, grid.rows)
        x, y = pad + column * grid.column_px, pad + line * row
        if index < len(colors):
            top = y + (row - side) // 2
            cv2.rectangle(
                box, (x + pad, top), (x + pad + side, top + side), colors[index], cv2.FILLED
            )
        (_, high), _ = cv2.getTextSize("X", FONT, text_scale(row), 1)
        place = (x + pad * 2 + side + pad // 2, y + (row + high) // 2)
        cv2.putText(box, name, place, FONT, text_scale(row), INK, 1, cv2.LINE_AA)
    return box
