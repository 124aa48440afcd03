"""What is remembered of a tensor over all calibration pictures: extremes and a histogram."""

import numpy as np

from edgeseg.types import Array, Counts

BINS = 4096
"""An 8-bit histogram cannot tell methods apart: with 128 bins, entropy equals min-max."""

SAMPLES = 1 << 17
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

    @property
    def rounded(self) -> Counts:
        """The counts without the exact zeros: what rounding can change."""
        counts = self.counts.copy()
        counts[0] -= self.zeros
        return counts

    def see(self, values: Array) -> None:
        """Count the float32 array `values` (any shape).

        A NaN or an infinity among them stays in the extremes for good.
        """
        self.see_sample(thinned(values), float(values.min()), float(values.max()))

    def see_sample(self, sample: Array, minimum: float, maximum: float) -> None:
        """Count `sample`, float32 values out of many whose extremes are these."""
        self.minimum = float(np.minimum(self.minimum, minimum))
        self.maximum = float(np.maximum(self.maximum, maximum))
        if not np.isfinite(self.amax):
            return
        if self.range == 0.0 and self.amax > 0:
            self.range = max(self.amax, SMALLEST_RANGE)
        while self.range < self.amax:
            self.counts[: BINS // 2] = self.counts.reshape(-1, 2).sum(1)
            self.counts[BINS // 2 :] = 0
            self.range *= 2
        self.zeros += sample.size - int(np.count_nonzero(sample))
        if self.range == 0.0:
            self.counts[0] += sample.size
            return
        magnitudes = np.abs(sample.reshape(-1)) * np.float32(BINS / self.range)
        index = np.minimum(magnitudes.astype(np.int32), BINS - 1)
        self.counts += np.bincount(index, minlength=BINS)


def thinned(values: Array, samples: int = SAMPLES) -> Array:
    """Every nth row and column of a large map, an odd n, so that no grid is favoured."""
    if values.ndim != 4 or values.size <= samples:
        return values
    step = int(np.ceil(np.sqrt(values.size / samples))) | 1
    return values[:, :, ::step, ::step]
