"""How much masks tremble: the share of the pixels that change label while the picture does not."""

import numpy as np

from edgeseg.types import Array, Pixels

STILL = 8
"""A pixel stands still where no channel moves by more than this, in levels of 255, from one frame
to the next: above the noise of a sensor and of H.264, and below the edge of a thing that moves."""


class Flicker:
    """Counts over the frames of one camera, in order; it keeps copies in memory of its own."""

    def __init__(self, *, still: int = STILL) -> None:
        self._still = still
        self._last: tuple[Pixels, Pixels] | None = None
        self._begun = False
        self.pixels = 0
        """That stood still, over all pairs of frames."""
        self.changed = 0
        """Of these, that got another label."""

    @property
    def percent(self) -> float | None:
        """The share of the still pixels that changed label; None where no pixel stood still."""
        return 100 * self.changed / self.pixels if self.pixels else None

    def begin(self) -> None:
        """The next frame has nothing to do with the last one."""
        self._begun = False

    def see(self, pixels: Pixels, labels: Pixels) -> None:
        """Count the next frame, RGB uint8 (H, W, 3), and its labels uint8 (H, W)."""
        last = self._last
        if last is None or last[0].shape != pixels.shape or last[1].shape != labels.shape:
            self._last = pixels.copy(), labels.copy()
            self._room = np.empty_like(self._last[0]), np.empty_like(self._last[0])
            self._begun = True
            return
        if self._begun:
            still = self._steps(pixels, last[0]) <= self._still
            self.pixels += int(np.count_nonzero(still))
            self.changed += int(np.count_nonzero(still & (labels != last[1])))
        np.copyto(last[0], pixels)
        np.copyto(last[1], labels)
        self._begun = True

    def _steps(self, pixels: Pixels, last: Pixels) -> Array:
        """The greatest step of any channel, uint8 (H, W)."""
        high, low = self._room
        np.maximum(pixels, last, out=high)
        np.minimum(pixels, last, out=low)
        np.subtract(high, low, out=high)
        for channel in (1, 2):
            np.maximum(high[..., 0], high[..., channel], out=high[..., 0])
        return high[..., 0]
