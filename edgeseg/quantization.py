"""From a float core to its Quantizer: equalised, calibrated, rounded, the costliest layers spared.

Each step can be left out (`recipe.quantization`); every one ends in the same explicit Q/DQ graph.
"""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.calibration import calibration_data, pixels_of, ranges_for
from edgeseg.datasets import Subset, readable
from edgeseg.quantizer import Quantizer
from edgeseg.ranges import Ranges
from edgeseg.recipe import Recipe
from edgeseg.tables import needs
from edgeseg.trials import sqnr
from edgeseg.types import Array, Floats, OnProgress, RoundedWeights
from edgeseg.weight_rounding import rounded_weights

if TYPE_CHECKING:
    from onnx import ModelProto

PEAK_PICTURES = 16
"""That the peak of each channel comes from: more move it little."""
PEAK_POSITIONS = 4096
"""Of a map over all these pictures; with fewer its channels are not equalised: their true peaks
are higher, and every channel would be cut off, not only the largest (on DeepLab v3+ 3 pictures lost
2 dB that way, where 8 gained 1 dB)."""
ROUNDING_PICTURES = 8
SPARE_PICTURES = 4
SPARE_LAYERS = 3
"""How many of the first layers may be spared."""
GAIN_DB = 0.5
"""What a further spared layer has to gain."""

log = logging.getLogger(__name__)


def quantizer_for(
    recipe: Recipe, core: "ModelProto", *, on_progress: OnProgress | None = None
) -> tuple[Quantizer, Ranges]:
    """The Quantizer of `core` and the ranges of its own activations.

    Raises:
        UsageError, InputFileError, BuildError: as `ranges_for` does.
    """
    ranges = ranges_for(recipe, core, on_progress=on_progress)
    steps = recipe.quantization
    prepared, amax = core, {name: item.amax for name, item in ranges.tensors.items()}
    if steps.equalize:
        prepared = _equalized(recipe, core, on_progress)
        own = ranges_for(recipe, prepared, equalized=True, on_progress=on_progress)
        amax = {name: item.amax for name, item in own.tensors.items()}
    if steps.tie_concat:
        with needs("graph"):
            from edgeseg.graph.ties import tied
        amax = tied(prepared, amax)
    weights: dict[str, RoundedWeights] = {}
    if steps.scales or steps.rounding or steps.bias:
        weights = rounded_weights(
            prepared,
            amax,
            lambda: _pictures(recipe, ROUNDING_PICTURES),
            steps,
            on_progress=on_progress,
        )
    quantizer = Quantizer(
        prepared, amax, weights=weights, per_tensor_deconv=steps.per_tensor_deconv
    )
    if steps.spare > 0:
        quantizer.spared = tuple(_spared(recipe, quantizer))
    return quantizer, ranges


def _pictures(recipe: Recipe, count: int) -> Iterator[Floats]:
    """The pixels of `count` calibration pictures, spread over them."""
    data, to_pixels = calibration_data(recipe), pixels_of(recipe)
    few = min(count, len(data))
    chosen = Subset(data, [index * len(data) // few for index in range(few)])
    for _, frame in readable(chosen, []):
        yield to_pixels(frame.image)


def _equalized(recipe: Recipe, core: "ModelProto", on_progress: OnProgress | None) -> "ModelProto":
    with needs("graph"):
        from edgeseg.graph.equalize import equalizable_tensors, equalized, peaks_graph
        from edgeseg.graph.nodes import shapes
    with needs("openvino"):
        from edgeseg.backends.floats import float_runner
    names = equalizable_tensors(core)
    if not names:
        return core
    areas = {name: int(np.prod(shape[2:])) for name, shape in shapes(core).items()}
    run = float_runner(peaks_graph(core, names).SerializeToString())
    peaks: dict[str, Array] = {}
    positions = dict.fromkeys(names, 0)
    for index, pixels in enumerate(_pictures(recipe, PEAK_PICTURES)):
        outputs = run({"pixels": pixels})
        for name in names:
            found = outputs[f"{name}_peak"].reshape(-1).astype(np.float64)
            peaks[name] = np.maximum(peaks[name], found) if name in peaks else found
            positions[name] += areas.get(name, 0)
        if on_progress:
            on_progress("equalise", index + 1, None)
    unsure = [name for name, seen in positions.items() if seen < PEAK_POSITIONS]
    return equalized(core, peaks, unsure=unsure)


def _spared(recipe: Recipe, quantizer: Quantizer) -> list[str]:
    """The first layers, as long as each makes far more of the noise than of the work."""
    with needs("graph"):
        from edgeseg.graph.simulate import simulated
    with needs("openvino"):
        from edgeseg.backends.floats import float_runner
    names = [layer.name for layer in quantizer.layers[:SPARE_LAYERS]]
    total = quantizer.int8_share(())
    few = list(_pictures(recipe, SPARE_PICTURES))
    float_run = float_runner(quantizer.core.SerializeToString())
    expected = [float_run({"pixels": pixels})["logits"].copy() for pixels in few]
    chosen: list[str] = []
    best = None
    for count in range(len(names) + 1):
        keep = names[:count]
        if total - quantizer.int8_share(keep) > recipe.quantization.spare:
            break
        run = float_runner(simulated(quantizer.graph(keep)).SerializeToString())
        found = [run({"pixels": pixels})["logits"].copy() for pixels in few]
        level = _sqnr(expected, found)
        if best is None or level > best + GAIN_DB * (count - len(chosen)):
            best, chosen = level, keep
    if chosen:
        log.info("left in float, since they make most of the noise: %s", ", ".join(chosen))
    return chosen


def _sqnr(expected: list[Floats], found: list[Floats]) -> float:
    power = sum(float(np.square(a, dtype=np.float64).sum()) for a in expected)
    noise = sum(
        float(np.square(a - b, dtype=np.float64).sum())
        for a, b in zip(expected, found, strict=True)
    )
    return sqnr(power, noise)
