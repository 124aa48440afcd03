"""Trying quantised forms of one network on the same pictures, without building an engine."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.datasets import readable
from edgeseg.manifest import Manifest
from edgeseg.tables import needs
from edgeseg.types import Dataset, Floats, OnProgress, Pixels
from edgeseg.verify import ClassMap, Comparison, compare, labels_by

if TYPE_CHECKING:
    from onnx import ModelProto

LOGITS_BYTES = 512 << 20
"""How much of the float logits is kept to measure the SQNR against: of the first pictures."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one quantised form kept of the float network."""

    comparison: Comparison
    sqnr_db: float
    """Of the logits: 10 log10 of the power of the float ones over that of the difference."""

    @property
    def agreement(self) -> float:
        """Percent of all pixels with the same label as in float."""
        return float(np.mean(self.comparison.agreement))

    @property
    def drop_interval(self) -> tuple[float, float, float] | None:
        """The drop in mIoU points and its paired 95 % bootstrap interval; None without masks."""
        return self.comparison.drop_and_interval() if self.comparison.scored else None


class Trials:
    """The float labels of the pictures of `data`, and scores of quantised cores against them.

    Every core is run in exact arithmetic (`graph.simulate`), whatever this CPU's INT8 does.
    """

    def __init__(
        self,
        core: "ModelProto",
        manifest: Manifest,
        data: Dataset,
        *,
        class_map: ClassMap | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        with needs("openvino"):
            from edgeseg.backends.floats import float_runner
        self._manifest = manifest
        self._data = data
        self._map = class_map
        self._labels: list[Pixels] = []
        self._logits: list[Floats] = []
        run = float_runner(core.SerializeToString())
        labels_of = labels_by(run, manifest, on_logits=self._keep)
        for index, frame in readable(data, []):
            self._labels.append(labels_of(frame.image))
            if on_progress:
                on_progress("float labels", index + 1, len(data))

    def _keep(self, logits: Floats) -> None:
        whole = len(self._logits) == len(self._labels)
        if whole and (len(self._logits) + 1) * logits.nbytes <= max(LOGITS_BYTES, logits.nbytes):
            self._logits.append(logits.copy())

    def score(self, core: "ModelProto", *, on_progress: OnProgress | None = None) -> Score:
        """What the Q/DQ core `core` keeps of the float one."""
        with needs("graph"):
            from edgeseg.graph.simulate import simulated
        with needs("openvino"):
            from edgeseg.backends.floats import float_runner
        at = -1
        power = noise = 0.0

        def reference(image: Pixels) -> Pixels:
            nonlocal at
            del image  # the pictures come in the same order as before
            at += 1
            return self._labels[at]

        def add_noise(logits: Floats) -> None:
            nonlocal power, noise
            if at < len(self._logits):
                expected = self._logits[at]
                power += float(np.square(expected, dtype=np.float64).sum())
                noise += float(np.square(logits - expected, dtype=np.float64).sum())

        run = float_runner(simulated(core).SerializeToString())
        result = compare(
            labels_by(run, self._manifest, on_logits=add_noise),
            reference,
            self._manifest.to_labels(),
            self._data,
            class_map=self._map,
            on_progress=on_progress,
        )
        return Score(comparison=result, sqnr_db=sqnr(power, noise))


def sqnr(power: float, noise: float) -> float:
    """10 log10(power / noise) in dB; infinite without noise, NaN where either is no number."""
    if np.isnan(power) or np.isnan(noise):
        return float("nan")
    if noise == 0.0:
        return float("inf")
    return float(10 * np.log10(power / noise)) if power != 0.0 else float("-inf")
