"""What of a network FP16 cannot hold: the nodes that stay FP32, found with calibration pictures."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from edgeseg.errors import BuildError
from edgeseg.metrics.agreement import agreement_percent
from edgeseg.tables import needs
from edgeseg.types import Array, OnProgress

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgeseg.graph.typed_overflow import Extent

Frames: TypeAlias = Callable[[], Iterable[Array]]
"""Gives the pictures anew each time, one by one, each as the graph's input takes it."""

MIN_AGREEMENT = 99.9
"""Percent of the pixels whose label FP16 may not change."""
REQUANTIZING = "WeightBiasQuantization"
"""ONNX Runtime's step that rounds float weights to INT8 once more where activations are Q/DQ."""


@dataclass(frozen=True, kw_only=True)
class HalfReport:
    """Which nodes of a graph stay FP32 in the typed dialect, and what the rest costs in FP16."""

    keep_fp32: Mapping[str, str]
    """What to give to `typed`: the nodes that the pictures showed to need it, with reasons."""
    stays_fp32: Mapping[str, str]
    """All FP32 nodes of the typed graph, those of its own rules included, with reasons."""
    agreement: float
    """Percent of all pixels with the label of the wide graph; Q/DQ only saturate in both."""
    frames: int
    int8: "Int8Agreement | None" = None
    """None for a graph without Q/DQ."""


@dataclass(frozen=True, kw_only=True)
class Int8Agreement:
    """The labels of the whole Q/DQ graphs, in percent of all pixels.

    Two INT8 runs differ wherever float rounding tips an integer, and each tipped one tips more:
    so both dialects are as far from the graph whose Q/DQ only saturate, and apart by up to that.
    """

    of_wide: float
    """Wide, against the graph whose Q/DQ only saturate."""
    of_typed: float
    """Typed, against the same."""
    between: float
    """Typed against wide."""


def fp32_nodes(
    model: "ModelProto",
    frames: Frames,
    *,
    min_agreement: float = MIN_AGREEMENT,
    on_progress: OnProgress | None = None,
) -> HalfReport:
    """The nodes of the wide graph `model` (frame graph or core) that FP16 would spoil.

    First those that overflow on the pictures, with a margin of 2; then, where labels still
    differ, groups of delicate ones. FP16 is simulated by rounding what each node gives.

    Raises:
        BuildError: FP16 costs too many labels whatever stays FP32, or the graph gives NaN itself.
        MissingPackage: ONNX Runtime is not installed.
    """
    with needs("graph"):
        from edgeseg.graph.typed import fp32_nodes_of, typed
        from edgeseg.graph.typed_overflow import overflowing
        from edgeseg.graph.typed_plain import unrounded
    trial = _trial(unrounded(model), frames, _Progress(on_progress))
    found = _Found(keep=overflowing(trial.plain, trial.seen))
    found = _agreeing(trial, found, min_agreement)
    return HalfReport(
        keep_fp32=found.keep,
        stays_fp32=fp32_nodes_of(typed(model, keep_fp32=found.keep)),
        agreement=found.agreement,
        frames=len(trial.expected),
        int8=_int8_agreement(model, found.keep, frames, trial.expected),
    )


@dataclass(frozen=True, kw_only=True)
class _Found:
    keep: Mapping[str, str]
    agreement: float = 0.0


class _Progress:
    """Counts the passes over the pictures; how many there will be, nobody knows."""

    def __init__(self, tell: OnProgress | None) -> None:
        self._tell, self._done = tell, 0

    def step(self) -> None:
        self._done += 1
        if self._tell:
            self._tell("try FP16", self._done, None)


@dataclass(frozen=True)
class _Trial:
    """The pictures and their float32 labels, to try sets of FP32 nodes on."""

    plain: "ModelProto"
    frames: Frames
    expected: list[Array]
    seen: "Mapping[str, Extent]"
    progress: _Progress

    def agreement(self, keep: Mapping[str, str]) -> float:
        """Percent of all pixels with the expected label; NaN where the scores are no numbers."""
        found = _agreement(self.expected, _labels(self.halved(keep), self.frames))
        self.progress.step()
        return found

    def to_blame(self, keep: Mapping[str, str]) -> list[str]:
        """The nodes that bring Inf or NaN up."""
        from edgeseg.graph.typed_overflow import to_blame

        in_half = _extents(self.halved(keep), self.frames)
        self.progress.step()
        return to_blame(self.plain, in_half, self.seen, keep)

    def halved(self, keep: Mapping[str, str]) -> "ModelProto":
        """The typed graph in the arithmetic that it stands for."""
        from edgeseg.graph.typed import typed
        from edgeseg.graph.typed_rounded import rounded

        return rounded(typed(self.plain, keep_fp32=keep))


def _trial(plain: "ModelProto", frames: Frames, progress: _Progress) -> _Trial:
    seen = _extents(plain, frames)
    progress.step()
    expected = _float_labels(plain, frames)
    progress.step()
    return _Trial(plain, frames, expected, seen, progress)


def _float_labels(model: "ModelProto", frames: Frames) -> list[Array]:
    found = []
    for labels in _labels(model, frames):
        if labels is None:
            raise BuildError(
                "the network gives NaN or Inf in float32 already", fix="check weights and pixels"
            )
        found.append(labels)
    if not found:
        raise BuildError("there is no picture to try FP16 on", fix="give calibration pictures")
    return found


def _agreeing(trial: _Trial, start: _Found, wanted: float) -> _Found:
    """`start` with as many more nodes in FP32 as it takes to agree.

    Raises:
        BuildError: no group of nodes makes it agree.
    """
    from edgeseg.graph.typed_overflow import suspects

    found = _finite(trial, start)
    tried = []
    for group, names in suspects(trial.plain):
        if found.agreement >= wanted:
            return found
        tried.append(group)
        why = f"{group}: in FP16 {100 - found.agreement:.2f} % of the pixels got other labels"
        more = {name: why for name in names if name not in found.keep}
        keep = {**found.keep, **more}
        agreement = trial.agreement(keep) if more else 0.0
        if agreement > found.agreement:
            found = _Found(keep=keep, agreement=agreement)
    if found.agreement >= wanted:
        return found
    raise BuildError(
        f"FP16 keeps {found.agreement:.2f} % of the labels, less than the {wanted} % wanted, on "
        f"{len(trial.expected)} pictures, also with these in FP32: {'; '.join(tried)}",
        fix="build it in float with --fp32",
    )


def _finite(trial: _Trial, start: _Found) -> _Found:
    """`start` with the nodes in FP32 that give Inf or NaN in FP16."""
    keep = dict(start.keep)
    while np.isnan(agreement := trial.agreement(keep)):
        blamed = trial.to_blame(keep)
        if not blamed:
            raise BuildError(
                "the scores are Inf or NaN in FP16, whatever stays FP32",
                fix="build it in float with --fp32",
            )
        keep.update(dict.fromkeys(blamed, "gives Inf or NaN in FP16"))
    return _Found(keep=keep, agreement=agreement)


def _int8_agreement(
    model: "ModelProto", keep: Mapping[str, str], frames: Frames, saturated: list[Array]
) -> Int8Agreement | None:
    from edgeseg.graph.simulate import simulated
    from edgeseg.graph.typed import typed
    from edgeseg.graph.typed_rounded import rounded

    if all(node.op_type != "QuantizeLinear" for node in model.graph.node):
        return None
    wide = list(_labels(simulated(model), frames))
    half = list(_labels(rounded(typed(model, keep_fp32=keep)), frames))
    result = Int8Agreement(
        of_wide=_agreement(saturated, wide),
        of_typed=_agreement(saturated, half),
        between=_agreement(wide, half),
    )
    if np.isnan(result.of_typed):
        raise BuildError(
            "the typed INT8 graph gives Inf or NaN", fix="leave layers out of INT8 with --keep-fp16"
        )
    return result


def _agreement(expected: Iterable[Array | None], found: Iterable[Array | None]) -> float:
    """Percent of all pixels with equal labels; NaN where a picture has none."""
    shares = [
        float("nan") if a is None or b is None else agreement_percent(a, b)
        for a, b in zip(expected, found, strict=True)
    ]
    return float(np.mean(shares))


def _labels(model: "ModelProto", frames: Frames) -> Iterator[Array | None]:
    """Class ids (N, H, W) of each picture; None where the scores are Inf or NaN."""
    from edgeseg.graph.tap import tapped
    from edgeseg.graph.typed_overflow import scores_of

    for outputs in _runs(tapped(model, [scores_of(model)]), frames):
        (scores,) = outputs.values()
        yield scores.argmax(1).astype(np.uint8) if np.all(np.isfinite(scores)) else None


def _extents(model: "ModelProto", frames: Frames) -> "dict[str, Extent]":
    """The least and the greatest value of each float tensor on all pictures."""
    from edgeseg.graph.typed_overflow import extents, peaked

    seen: dict[str, Extent] = {}
    for outputs in _runs(peaked(model), frames):
        for name, extent in extents(outputs).items():
            seen[name] = seen[name].joined(extent) if name in seen else extent
    return seen


def _runs(model: "ModelProto", frames: Frames) -> Iterator[dict[str, Array]]:
    """The outputs of `model` for each picture, by ONNX Runtime: it keeps every Cast."""
    with needs("ort"):
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=[REQUANTIZING],
    )
    names = [output.name for output in session.get_outputs()]
    (entry,) = (value.name for value in session.get_inputs())
    for frame in frames():
        yield dict(zip(names, session.run(names, {entry: frame}), strict=True))
