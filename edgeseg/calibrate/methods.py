"""How a range follows from what was observed; each returns the |x| that INT8 127 stands for."""

from collections.abc import Mapping

import numpy as np

from edgeseg.calibrate.observe import BINS, Observer
from edgeseg.types import Array

LEVELS = 127
PERCENT = 99.99
ENTROPY_LEVELS = 128
"""Into how many levels entropy folds |x|, as TensorRT's calibrator does."""
ENTROPY_STRIDE = 2
"""In bins, from one candidate of entropy to the next."""
CLOSE = 1.02
"""Errors that differ by less than this factor (0.09 dB) are the same on other pictures."""


def minmax(seen: Observer) -> float:
    """The largest magnitude: nothing is clipped."""
    return seen.amax


def percentile(seen: Observer, *, percent: float = PERCENT) -> float:
    """The magnitude that `percent` of the values do not exceed, to one bin of the histogram."""
    total = seen.counts.sum()
    if not total or not np.isfinite(seen.amax):
        return seen.amax
    cumulated = np.cumsum(seen.counts)
    index = int(np.searchsorted(cumulated, total * percent / 100.0))
    return min(seen.amax, (index + 1) * seen.range / BINS)


def entropy(seen: Observer) -> float:
    """The range whose 128 levels tell least apart from the values, by Kullback-Leibler.

    Migacz, "8-bit inference with TensorRT" (2017): what is clipped joins the last bin of the
    reference; the candidate spreads each level evenly over its bins that hold anything. Exact
    zeros are left out, which every range represents.
    """
    counts = seen.rounded
    if not counts.any() or not np.isfinite(seen.amax):
        return seen.amax
    top = int(np.flatnonzero(counts)[-1]) + 1
    if top <= ENTROPY_LEVELS:
        return seen.amax
    stops = np.arange(top, ENTROPY_LEVELS - 1, -ENTROPY_STRIDE)[::-1]
    best = int(stops[np.argmin(_divergences(counts.astype(np.float64), stops))])
    return min(seen.amax, best * seen.range / BINS)


def mse(seen: Observer) -> float:
    """The range of least expected squared error, clipping and rounding together."""
    if not seen.rounded.any() or not np.isfinite(seen.amax):
        return seen.amax
    coarse = np.geomspace(0.02, 1.0, 40)
    best = int(np.argmin(squared_errors(seen, seen.amax * coarse)))
    fine = np.linspace(coarse[max(best - 1, 0)], coarse[min(best + 1, len(coarse) - 1)], 21)
    return float(seen.amax * fine[np.argmin(squared_errors(seen, seen.amax * fine))])


def auto(seen: Observer) -> float:
    """The range of the method that `best_method` takes."""
    return best_method(seen)[1]


def best_method(seen: Observer) -> tuple[str, float]:
    """The method with the least squared error and its range.

    Of those within 2 % of the least error it is the one that clips least, since other pictures
    reach further than these.
    """
    ranges: Mapping[str, float] = {
        "minmax": minmax(seen),
        "percentile:99.999": percentile(seen, percent=99.999),
        "percentile": percentile(seen),
        "percentile:99.9": percentile(seen, percent=99.9),
        "entropy": entropy(seen),
        "mse": mse(seen),
    }
    if not seen.rounded.any() or not np.isfinite(seen.amax):
        return "minmax", seen.amax
    errors = squared_errors(seen, np.array(list(ranges.values())))
    close = [
        name
        for name, error in zip(ranges, errors, strict=True)
        if error <= CLOSE * errors.min()
    ]  # fmt: skip
    name = max(close, key=lambda each: ranges[each])
    return name, ranges[name]


def squared_errors(seen: Observer, limits: Array) -> Array:
    """The mean squared error of quantising with each of `limits`, float64 (n,).

    Exact for values that lie evenly within each bin; exact zeros cost nothing.
    """
    counts = seen.rounded.astype(np.float64)
    width = seen.range / BINS
    edges = np.arange(BINS + 1) * width
    step = (np.asarray(limits, np.float64) / LEVELS)[:, None]
    level = np.minimum(np.rint(edges / step), LEVELS)
    beside = edges - level * step
    # The integral of the squared error from 0: whole levels, and the way from the nearest one.
    integral = level * (step**3 / 12) + beside * beside * beside / 3
    density = -np.diff(counts, prepend=0.0, append=0.0) / (width * seen.counts.sum())
    return np.asarray(integral @ density)


def _divergences(counts: Array, stops: Array) -> Array:
    """KL(P || Q) for the first `stop` bins, for each of `stops`; infinite where Q has a hole.

    With T values in all, C below the stop, and a level with the sum S over n bins that hold
    anything: KL = sum p log p - sum_levels P(level) log(S / n) + log C, where p and P count
    what is clipped in the last bin.
    """
    below, filled = _cumulated(counts), _cumulated(counts > 0)
    own = _cumulated(counts * np.log(np.maximum(counts, 1)))
    edges = -(-np.arange(ENTROPY_LEVELS + 1) * stops[:, None] // ENTROPY_LEVELS)
    sums, bins = np.diff(below[edges]), np.diff(filled[edges])
    total, inside, last = below[-1], below[stops], counts[stops - 1]
    clipped = total - inside
    mass = sums.copy()
    mass[:, -1] += clipped
    spread = (mass * np.log(np.maximum(sums, 1) / np.maximum(bins, 1))).sum(1)
    reference = own[stops - 1] + (last + clipped) * np.log(np.maximum(last + clipped, 1))
    found = (reference - spread) / total - np.log(total) + np.log(np.maximum(inside, 1))
    return np.where((last == 0) & (clipped > 0), np.inf, found)


def _cumulated(values: Array) -> Array:
    return np.concatenate([[0], np.cumsum(values)])
