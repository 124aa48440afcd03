"""What is remembered of each channel of a tensor over all calibration pictures."""

import numpy as np

from edgeseg.types import Array


class ChannelObserver:
    """Extremes, mean and mean square of each channel (axis 1), fed one picture at a time.

    All are float64 (C,); before the first picture they are empty.
    """

    def __init__(self) -> None:
        self.minimum: Array = np.empty(0)
        self.maximum: Array = np.empty(0)
        self._sum: Array = np.empty(0)
        self._squares: Array = np.empty(0)
        self._count = 0
        """How many values of each channel were seen."""

    @property
    def amax(self) -> Array:
        """The largest magnitude of each channel."""
        return np.maximum(np.abs(self.minimum), np.abs(self.maximum))

    @property
    def mean(self) -> Array:
        """The mean of each channel over all its values."""
        return self._sum / max(self._count, 1)

    @property
    def mean_square(self) -> Array:
        """The mean of the squares of each channel."""
        return self._squares / max(self._count, 1)

    def see(self, values: Array) -> None:
        """Count every value of the float array `values`, (N, C, ...)."""
        rows = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
        low, high = rows.min(1).astype(np.float64), rows.max(1).astype(np.float64)
        total = rows.sum(1, dtype=np.float64)
        squares = np.array([_power(row) for row in rows])
        if self._count:
            low, high = np.minimum(low, self.minimum), np.maximum(high, self.maximum)
            total, squares = total + self._sum, squares + self._squares
        self.minimum, self.maximum = low, high
        self._sum, self._squares = total, squares
        self._count += rows.shape[1]


def _power(row: Array) -> float:
    wide = row.astype(np.float64)
    return float(np.dot(wide, wide))
