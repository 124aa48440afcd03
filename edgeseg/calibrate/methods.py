"""How a range follows from what was observed; each returns the |x| that INT8 127 stands for."""

import numpy as np

from edgeseg.calibrate.observe import BINS, Observer
from edgeseg.types import Array

LEVELS = 127


def minmax(seen: Observer) -> float:
    """The largest magnitude: nothing is clipped."""
    return seen.amax


def percentile(seen: Observer, *, percent: float = 99.99) -> float:
    """The magnitude that `percent` of the values do not exceed, to one bin of the histogram."""
    total = seen.counts.sum()
    if not total or not np.isfinite(seen.amax):
        return seen.amax
    cumulated = np.cumsum(seen.counts)
    index = int(np.searchsorted(cumulated, total * percent / 100.0))
    return min(seen.amax, (index + 1) * seen.range / BINS)


def mse(seen: Observer) -> float:
    """The range of least expected squared error, clipping and rounding together.

    Rounding costs step^2 / 12 for each value inside (uniform within a step) but nothing for a 0; a
    value outside costs the square of its distance. The expectation is over the bin centres.
    """
    counts = seen.counts.copy()
    counts[0] -= seen.zeros
    if not counts.any() or not np.isfinite(seen.amax):
        return seen.amax
    centres = (np.arange(BINS) + 0.5) * (seen.range / BINS)
    candidates = seen.amax * np.linspace(0.2, 1.0, 161)
    errors = [_squared_error(centres, counts, float(limit)) for limit in candidates]
    return float(candidates[int(np.argmin(errors))])


def _squared_error(centres: Array, counts: Array, limit: float) -> float:
    outside = np.maximum(centres - limit, 0.0) ** 2
    inside = (limit / LEVELS) ** 2 / 12
    return float((counts * np.where(centres > limit, outside, inside)).sum())
