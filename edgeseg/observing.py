"""What the activations of a core are on the pictures of a data set, one picture at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.calibrate import Coverage, Method, Observer, coverage_of
from edgeseg.calibrate.observe import SAMPLES
from edgeseg.datasets import readable
from edgeseg.errors import BuildError
from edgeseg.tables import needs
from edgeseg.types import Array, Dataset, Floats, OnProgress, Pixels

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgeseg.graph.tap import Tap

FEWER_SAMPLES = 1 << 14
"""Of a tensor that INT8 does not read: its range is for exports, and has to cost little."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """The activations of a core on the pictures of a data set."""

    seen: Mapping[str, Observer]
    """Of every tensor that was asked for, in the order of the graph."""
    coverage: Coverage
    """Of the tensors that INT8 reads."""
    skipped: tuple[str, ...]
    """The names of the pictures that cannot be read."""


def observed(
    core: "ModelProto",
    data: Dataset,
    pixels_of: Callable[[Pixels], Floats],
    *,
    method: Method,
    names: Sequence[str],
    on_progress: OnProgress | None = None,
) -> Observed:
    """The float activations `names` of `core` on the readable pictures of `data`.

    Memory is bounded whatever the size of the maps: large ones leave the graph as samples and
    extremes. `method` says which running range is followed to see when it settles.

    Raises:
        BuildError: a NaN or an infinity, with its tensor, its node and the picture.
        InputFileError: not one picture can be read.
    """
    with needs("graph"):
        from edgeseg.graph.quantize import activation_tensors
        from edgeseg.graph.tap import computed_by, condensed
    with needs("openvino"):
        from edgeseg.backends.floats import float_runner

    sites = dict.fromkeys(activation_tensors(core), SAMPLES)
    wanted = [*names, *sites]
    graph, taps = condensed(core, {name: sites.get(name, FEWER_SAMPLES) for name in wanted})
    run = float_runner(graph.SerializeToString())
    seen = {tap.tensor: Observer() for tap in taps}
    histories: dict[str, list[float]] = {name: [] for name in sites}
    skipped: list[str] = []
    for index, frame in readable(data, skipped):
        outputs = run({core.graph.input[0].name: pixels_of(frame.image)})
        for tap in taps:
            _see(seen[tap.tensor], tap, outputs)
            if not np.isfinite(seen[tap.tensor].amax):
                raise _no_number(tap.tensor, computed_by(core, tap.tensor), frame.name)
        for name, history in histories.items():
            history.append(method.running(seen[name]))
        if on_progress:
            on_progress("calibrate", index + 1, len(data))
    return Observed(seen=seen, coverage=coverage_of(histories), skipped=tuple(skipped))


def _see(observer: Observer, tap: "Tap", outputs: Mapping[str, Array]) -> None:
    sample = outputs[tap.sample]
    if tap.figures is None:
        observer.see(sample)
        return
    low, high, total = (float(outputs[name]) for name in tap.figures)
    if np.isnan(total):
        low = np.nan
    observer.see_sample(sample, low, high)


def _no_number(tensor: str, made_by: str, picture: str) -> BuildError:
    return BuildError(
        f"the tensor {tensor!r} ({made_by}) holds a NaN or an infinity on the picture {picture}",
        fix="check the weights, and that mean, std and scale are those of the training; INT8 has "
        "no number for it",
    )
