"""The forms of one network that differ in which nodes stay float, each tried at most once."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.datasets import spread
from edgeseg.errors import BuildError, InputFileError
from edgeseg.manifest import Manifest
from edgeseg.quantizer import Quantizer
from edgeseg.sensitivity_report import Effect
from edgeseg.trials import Score, Trials
from edgeseg.types import Array, Dataset, OnProgress
from edgeseg.verify import ClassMap, Comparison

if TYPE_CHECKING:
    from onnx import ModelProto

SQNR_PICTURES = 4
SAMPLES = 1000
"""Of the bootstrap over the agreement of the pictures."""


class Forms:
    """SQNR on a few pictures of `data`, evaluation on all of them.

    `fixed` are the nodes that stay float in every form.
    """

    def __init__(
        self,
        quantizer: Quantizer,
        manifest: Manifest,
        data: Dataset,
        *,
        fixed: Collection[str] = (),
        class_map: ClassMap | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._quantizer = quantizer
        self._manifest = manifest
        self.data = data
        self._fixed = frozenset(fixed)
        self._map = class_map
        self._report = on_progress
        self.sites = quantized_nodes(quantizer.core, quantizer.graph(self._fixed))
        self.macs = {layer.name: layer.macs for layer in quantizer.layers}
        self.few = spread(data, SQNR_PICTURES)
        self._few: Trials | None = None
        self._all: Trials | None = None
        self._sqnr: dict[frozenset[str], float] = {}
        self._scores: dict[frozenset[str], Score] = {}

    def sqnr(self, kept: Iterable[str] = ()) -> float:
        """Of the logits in dB, where the nodes `kept` stay float; infinite without noise.

        Raises:
            BuildError: it is no number.
        """
        floats = frozenset(kept)
        if floats not in self._sqnr:
            self._few = self._few or self._trials(self.few)
            found = self._few.score(self._graph(floats)).sqnr_db
            if math.isnan(found) or found == -math.inf:
                raise BuildError(
                    f"the scores of {self._manifest.name} are zero everywhere, or no numbers",
                    fix="check the network, and how its pixels are described",
                )
            self._sqnr[floats] = found
        return self._sqnr[floats]

    def others(self, names: Collection[str]) -> frozenset[str]:
        """All nodes that are quantised but `names`: what stays float where these are alone."""
        return frozenset(self.sites) - frozenset(names)

    def score(self, kept: Iterable[str] = ()) -> Score:
        """On all pictures, where the nodes `kept` stay float."""
        floats = frozenset(kept)
        if floats not in self._scores:
            self._all = self._all or self._trials(self.data)
            self._scores[floats] = self._all.score(self._graph(floats))
        return self._scores[floats]

    def loss(self, kept: Iterable[str] = ()) -> Effect:
        """What that form loses against float.

        Raises:
            InputFileError: the masks hold no class that is scored.
        """
        score = self.score(kept)
        found = score.comparison
        if not found.scored:
            return _effect(*_mean(100 - np.asarray(found.agreement)), score)
        change, low, high = found.drop_and_interval()
        if math.isnan(change):
            raise InputFileError(
                f"the masks of {self.data.name} hold no class that is scored",
                fix="use masks of class ids, 255 for what does not count",
            )
        return _effect(change, low, high, score)

    def gain(self, kept: Iterable[str]) -> Effect:
        """What that form wins against the one that is quantised throughout."""
        score, int8 = self.score(kept), self.score()
        found, other = score.comparison, int8.comparison
        if not found.scored:
            won = np.asarray(found.agreement) - np.asarray(other.agreement)
            return _effect(*_mean(won), score)
        pair: Comparison = replace(found, reference=found.built, built=other.built)
        return _effect(*pair.drop_and_interval(), score)

    def _trials(self, data: Dataset) -> Trials:
        return Trials(
            self._quantizer.core,
            self._manifest,
            data,
            class_map=self._map,
            on_progress=self._report,
        )

    def _graph(self, floats: frozenset[str]) -> "ModelProto":
        return self._quantizer.graph(floats | self._fixed)


def quantized_nodes(core: "ModelProto", qdq: "ModelProto") -> list[str]:
    """The nodes of `core` that read a dequantised tensor in `qdq`, in the order of the graph."""
    made = {
        name
        for node in qdq.graph.node
        if node.op_type == "DequantizeLinear"
        for name in node.output
    }
    reading = {node.name for node in qdq.graph.node if made.intersection(node.input)}
    return [node.name for node in core.graph.node if node.name in reading]


def _effect(change: float, low: float, high: float, score: Score) -> Effect:
    return Effect(change=change, interval=(low, high), agreement=score.agreement)


def _mean(values: Array, *, seed: int = 0) -> tuple[float, float, float]:
    """The mean over the pictures and its 95 % bootstrap interval."""
    drawn = np.random.default_rng(seed).integers(len(values), size=(SAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def worst_first(alone: Sequence[float], gain: Sequence[float], count: int) -> list[int]:
    """The indices of `count` parts: those with the least SQNR alone and, in turn, the most gain."""
    orders = [np.argsort(alone, kind="stable"), np.argsort(-np.asarray(gain), kind="stable")]
    turns = [int(index) for pair in zip(*orders, strict=True) for index in pair]
    return list(dict.fromkeys(turns))[:count]
