"""The integer weights of every convolution, rounded with regard to what it reads."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.recipe import Quantization
from edgeseg.tables import needs
from edgeseg.types import Array, Convolution, Floats, OnProgress, RoundedWeights

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgeseg.calibrate.rounding import PatchMoments

POSITIONS = 512
"""Of each picture at which a layer's inputs are looked at."""
SEED = 0
TAP_BYTES = 768 << 20
"""Of the tensors that are looked at in one pass: more layers take more passes."""
MOMENT_BYTES = 512 << 20
"""The same for the covariances of what they read."""


def rounded_weights(
    core: "ModelProto",
    amax: Mapping[str, float],
    pictures: Callable[[], Iterable[Floats]],
    steps: Quantization,
    *,
    on_progress: OnProgress | None = None,
) -> dict[str, RoundedWeights]:
    """By layer name, the weights that `steps` make; `pictures` starts over the pixels each time."""
    with needs("graph"):
        from edgeseg.graph.convolutions import convolutions
        from edgeseg.graph.nodes import shapes
    from edgeseg.calibrate.rounding import rounded

    result: dict[str, RoundedWeights] = {}
    layers = convolutions(core)
    for group in _groups(layers, shapes(core)):
        moments = _moments(core, group, amax, pictures())
        for layer in group:
            found = rounded(
                _matrix(layer),
                moments.pop(layer.name),
                scales=steps.scales,
                rounding=steps.rounding,
                bias=steps.bias,
            )
            integers = found.integers.reshape(layer.weight.shape)
            result[layer.name] = found._replace(integers=integers)
            if on_progress:
                on_progress("round weights", len(result), len(layers))
    return result


def _moments(
    core: "ModelProto",
    layers: list[Convolution],
    amax: Mapping[str, float],
    pictures: Iterable[Floats],
) -> dict[str, "PatchMoments"]:
    """Of each layer, how what it reads varies, in float and as INT8 leaves it."""
    with needs("graph"):
        from edgeseg.graph.quantize import step_of
        from edgeseg.graph.tap import tapped
    with needs("openvino"):
        from edgeseg.backends.floats import float_runner
    from edgeseg.calibrate.patches import patches
    from edgeseg.calibrate.rounding import PatchMoments

    names = list(dict.fromkeys(layer.reads for layer in layers))
    run = float_runner(tapped(core, names).SerializeToString())
    moments = {layer.name: PatchMoments(layer.groups, _taps(layer)) for layer in layers}
    places = np.random.default_rng(SEED)
    for pixels in pictures:
        values = dict(zip(names, run({"pixels": pixels}).values(), strict=True))
        where = places.random((POSITIONS, 2)).astype(np.float32)
        for layer in layers:
            # A small map has fewer different positions than that.
            few = where[: int(np.prod(values[layer.reads].shape[2:]))]
            plain = patches(values[layer.reads], layer, few)
            moments[layer.name].see(plain, _on_grid(plain, step_of(amax[layer.reads])))
    return moments


def _groups(
    layers: list[Convolution], known: Mapping[str, tuple[int, ...]]
) -> Iterable[list[Convolution]]:
    """`layers` in their order, as many at once as memory allows."""
    group: list[Convolution] = []
    taps = moments = 0
    for layer in layers:
        tap = 4 * int(np.prod(known.get(layer.reads, (1,))))
        moment = 16 * layer.groups * _taps(layer) ** 2
        if group and (taps + tap > TAP_BYTES or moments + moment > MOMENT_BYTES):
            yield group
            group, taps, moments = [], 0, 0
        group.append(layer)
        taps, moments = taps + tap, moments + moment
    if group:
        yield group


def _taps(layer: Convolution) -> int:
    """How many values each output is made of."""
    return int(np.prod(layer.weight.shape[1:]))


def _matrix(layer: Convolution) -> Array:
    return layer.weight.reshape(layer.groups, -1, _taps(layer))


def _on_grid(values: Floats, step: float) -> Floats:
    """`values` as S8 with that step leaves them."""
    quantized: Floats = np.clip(np.rint(values / np.float32(step)), -128, 127) * np.float32(step)
    return quantized
