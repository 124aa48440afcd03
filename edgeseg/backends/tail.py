"""The tail of the frame graph on a CPU: bilinear upsampling and a running maximum."""

import math
from typing import NamedTuple

import cv2
import numpy as np

from edgeseg.types import Floats, Pixels, Size

BAND_PIXELS = 180_000
"""About as many as leave the buffers of a band in a core's cache of 2 MiB."""
LEAST_UNITS = 6
"""Of a band: with fewer, the margins that it shares with its neighbours cost more than it gains."""


class _Band(NamedTuple):
    """Rows of the mask that are worked on at once, and the rows of the logits that they need."""

    low: slice
    rows: slice
    """Of the mask."""
    inner: slice
    """The same rows within the upsampled part, whose margins belong to the neighbours."""
    height: int
    """Of the upsampled part."""


class LabelsFromLogits:
    """Class ids from logits, with buffers of its own: make one for each frame in flight.

    The same as Resize (linear, half-pixel) and ArgMax in the graph, to float rounding: a class
    takes a pixel over only when it is greater, so the first of equal classes wins there too.
    """

    def __init__(self, mask_size: Size) -> None:
        self._size = mask_size
        self._low: Size | None = None
        self._bands: list[_Band] = []

    def __call__(self, logits: Floats, labels: Pixels) -> None:
        """Write the ids uint8 (H, W) of float32 `logits` (C, h, w) into `labels`."""
        low = Size(*logits.shape[1:])
        if low != self._low:
            self._prepare(low)
        for band in self._bands:
            self._label(logits[:, band.low], labels[band.rows], band)

    def _prepare(self, low: Size) -> None:
        self._low, self._bands = low, _bands(low.height, self._size)
        shape = (max(band.height for band in self._bands), self._size.width)
        self._plane = np.empty(shape, np.float32)
        self._best = np.empty(shape, np.float32)
        self._wins = np.empty(shape, np.uint8)

    def _label(self, logits: Floats, labels: Pixels, band: _Band) -> None:
        plane, best = self._plane[: band.height], self._best[: band.height]
        own_plane, own_best = plane[band.inner], best[band.inner]
        wins = self._wins[band.inner]
        self._upsample(logits[0], best)
        labels.fill(0)
        for index in range(1, len(logits)):
            self._upsample(logits[index], plane)
            cv2.compare(own_plane, own_best, cv2.CMP_GT, dst=wins)
            cv2.max(own_best, own_plane, dst=own_best)
            # Ids rise from class to class, so the greater id is the later winner.
            cv2.bitwise_and(wins, index, dst=wins)  # type: ignore[call-overload]
            cv2.max(labels, wins, dst=labels)

    def _upsample(self, plane: Floats, into: Floats) -> None:
        if plane.shape == into.shape:
            np.copyto(into, plane)
        else:
            cv2.resize(plane, into.shape[::-1], dst=into, interpolation=cv2.INTER_LINEAR)


def _bands(low_height: int, mask: Size) -> list[_Band]:
    """Bands that start where a row of logits and a row of the mask begin together.

    Between two such places lies a unit. A band is upsampled with one more unit above and below,
    so that its own rows get what an upsampling of the whole gives them.
    """
    units = math.gcd(low_height, mask.height)
    low, high = low_height // units, mask.height // units
    count = math.ceil(mask.height * mask.width / BAND_PIXELS)
    each = math.ceil(units / count)
    if each < LEAST_UNITS:
        each = units
    bands = []
    for start in range(0, units, each):
        end = min(start + each, units)
        first, last = max(start - 1, 0), min(end + 1, units)
        bands.append(
            _Band(
                low=slice(first * low, last * low),
                rows=slice(start * high, end * high),
                inner=slice((start - first) * high, (end - first) * high),
                height=(last - first) * high,
            )
        )
    return bands
