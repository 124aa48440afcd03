"""Where two label maps disagree, gathered picture by picture: what a comparison does not keep."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edgeseg.metrics.boundary import band_confusion, border_band
from edgeseg.types import Array, Counts, Dataset, Labels, Pixels
from edgeseg.verify import ClassMap, scoring_for

WORST = 4
"""Pictures that are kept."""
HEAT_ROWS, HEAT_COLUMNS = 12, 16

Bools: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A picture with what the truth and the two say, for the sheet."""

    index: int
    share: float
    """Of its pixels, those that differ."""
    image: Pixels
    truth: Pixels | None
    a: Pixels
    b: Pixels
    a_right: Bools
    b_right: Bools
    """Nowhere where there is no truth."""


class Disagreement:
    """Sums up picture by picture; of the pictures themselves it keeps the worst few."""

    def __init__(
        self, labels: Labels, data: Dataset, class_map: ClassMap | None, band_px: int
    ) -> None:
        self.labels = labels
        self.truth_labels = data.labels if class_map else labels
        self.band_px = band_px
        self.frames = 0
        self.heat: Counts = np.zeros((0, 0), np.int64)
        self.a_band: Counts = np.zeros((1, 1), np.int64)
        self.b_band: Counts = np.zeros((1, 1), np.int64)
        """The confusion near borders; of one class, and empty, without masks."""
        self.worst: list[Kept] = []
        """Those that differ most, the worst first; of equals the earlier."""
        self._data, self._class_map = data, class_map

    def add(self, image: Pixels, a: Pixels, b: Pixels, mask: Pixels | None) -> None:
        """Add one picture."""
        differ = a != b
        self._add_heat(differ)
        a_right = b_right = np.zeros(differ.shape, np.bool_)
        if mask is not None:
            scoring = scoring_for(self.labels, self._data.labels, self._class_map)
            truth = scoring.from_truth[mask]
            a_scored, b_scored = scoring.from_network[a], scoring.from_network[b]
            self._add_band(truth, a_scored, b_scored, len(scoring.names))
            a_right, b_right = a_scored == truth, b_scored == truth
        if differ.any():
            kept = Kept(
                index=self.frames, share=float(differ.mean()), image=image, truth=mask,
                a=a, b=b, a_right=a_right, b_right=b_right,
            )  # fmt: skip
            self.worst = sorted([*self.worst, kept], key=lambda each: -each.share)[:WORST]
        self.frames += 1

    def heat_percent(self) -> Array:
        """(H, W) of the first picture: percent of the pictures in which the two differ there."""
        return 100.0 * self.heat / max(self.frames, 1)

    def heat_grid(self) -> list[list[float]]:
        """The same, averaged over equal parts: rows of percents."""
        heat = self.heat_percent()
        rows, columns = (
            np.unique(np.arange(parts) * given // parts)
            for parts, given in zip((HEAT_ROWS, HEAT_COLUMNS), heat.shape, strict=True)
        )
        sums, areas = (
            np.add.reduceat(np.add.reduceat(values, rows, 0), columns, 1)
            for values in (heat, np.ones_like(heat))
        )
        grid: list[list[float]] = (sums / areas).tolist()
        return grid

    def _add_heat(self, differ: Array) -> None:
        if not self.heat.size:
            self.heat = np.zeros(differ.shape, np.int64)
        rows, columns = (
            (2 * np.arange(wanted) + 1) * given // (2 * wanted)
            for wanted, given in zip(self.heat.shape, differ.shape, strict=True)
        )
        self.heat += differ[np.ix_(rows, columns)]

    def _add_band(self, truth: Pixels, a: Pixels, b: Pixels, names: int) -> None:
        classes = names + (self._class_map is not None)
        band = border_band(truth, self.band_px)
        self.a_band = self.a_band + band_confusion(truth, a, classes, band)
        self.b_band = self.b_band + band_confusion(truth, b, classes, band)
