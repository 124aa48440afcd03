"""What is remembered of a tensor over all calibration pictures: extremes and a histogram."""

import numpy as np

from edgeseg.types import Array, Counts

BINS = 4096
"""An 8-bit histogram cannot tell methods apart: with 128 bins, entropy equals min-max."""

SAMPLES = 1 << 18
"""About how many values of one picture are counted; the extremes are those of all values."""


SMALLEST_RANGE = 1e-30
"""Below it, bins per unit would overflow float32."""


class Observer:
    """Extremes and a histogram of |x| of one tensor, fed one picture at a time.

    Memory is bounded: when a value lies beyond the last bin, the range doubles and bins are
    merged in pairs, so nothing counted before is lost.
    """

    def __init__(self) -> None:
        self.minimum = np.inf
        self.maximum = -np.inf
        self.range = 0.0
        """The upper edge of the last bin; 0 until something other than zero was seen."""
        self.counts: Counts = np.zeros(BINS, np.int64)
        self.zeros = 0
        """How many of the counted values are exactly 0, which rounds without an error."""

    @property
    def amax(self) -> float:
        """The largest magnitude seen."""
        return max(abs(self.minimum), abs(self.maximum))

    def see(self, values: Array) -> None:
        """Count the float32 array `values` (any shape).

        A NaN or an infinity among them stays in the extremes for good.
        """
        self.minimum = float(np.minimum(self.minimum, values.min()))
        self.maximum = float(np.maximum(self.maximum, values.max()))
        if not np.isfinite(self.amax):
            return
        if self.range == 0.0 and self.amax > 0:
            self.range = max(self.amax, SMALLEST_RANGE)
        while self.range < self.amax:
            self.counts[: BINS // 2] = self.counts.reshape(-1, 2).sum(1)
            self.counts[BINS // 2 :] = 0
            self.range *= 2
        sample = _thinned(values)
        self.zeros += sample.size - int(np.count_nonzero(sample))
        if self.range == 0.0:
            self.counts[0] += sample.size
            return
        magnitudes = np.abs(sample.reshape(-1)) * np.float32(BINS / self.range)
        index = np.minimum(magnitudes.astype(np.int32), BINS - 1)
        self.counts += np.bincount(index, minlength=BINS)


def _thinned(values: Array) -> Array:
    """Every nth row and column of a large map, an odd n, so that no grid is favoured."""
    if values.ndim != 4 or values.size <= SAMPLES:
        return values
    step = int(np.ceil(np.sqrt(values.size / SAMPLES))) | 1
    return values[:, :, ::step, ::step]
