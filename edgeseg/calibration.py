"""Ranges for a recipe: from its calibration pictures, or from an earlier run that still holds."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.calibrate import Method, Observer, method_from_text
from edgeseg.calibration_data import open_pictures
from edgeseg.errors import InputFileError, UnreadablePicture, UsageError
from edgeseg.files import write_whole
from edgeseg.observing import Observed, observed
from edgeseg.ranges import Range, Ranges, read_ranges, sha256, write_ranges
from edgeseg.recipe import Recipe
from edgeseg.tables import needs
from edgeseg.types import Dataset, Floats, OnProgress, Pixels, Size

if TYPE_CHECKING:
    from onnx import ModelProto

FOLDER = Path("calibration")
SMALLEST = 1e-6
"""The range of a tensor that is zero throughout: nothing may divide by it."""
ASPECT = 0.05
"""By how much a picture's shape may differ from the frame's before that is said."""

log = logging.getLogger(__name__)


def calibration_data(recipe: Recipe) -> Dataset:
    """The pictures that `recipe` calibrates with."""
    if recipe.calibration is None:
        raise UsageError("this recipe calibrates nothing", fix="build it with --int8")
    return open_pictures(
        recipe.calibration.data, root=recipe.calibration.root, count=recipe.calibration.count
    )


def ranges_for(
    recipe: Recipe,
    core: "ModelProto",
    *,
    equalized: bool = False,
    on_progress: OnProgress | None = None,
) -> Ranges:
    """The ranges of every float activation of `core`, kept in calibration/NAME/ranges.json.

    Of an `equalized` core they are in equalized.json, and only those of what INT8 reads.
    They are reused while graph, preprocessing, pictures and method are what they were; the log
    says which of them changed and how.

    Raises:
        UsageError: no such method.
        InputFileError: not one calibration picture can be read.
        BuildError: an activation is no number on one of them.
    """
    assert recipe.calibration is not None
    method = method_from_text(recipe.calibration.method)
    data = calibration_data(recipe)
    folder = FOLDER / recipe.name
    path = folder / ("equalized.json" if equalized else "ranges.json")
    names = _quantized(core) if equalized else _activations(core)
    wanted = _wanted(recipe, core, names, data, method)
    if path.is_file():
        kept = read_ranges(path)
        changed = kept.differences(wanted)
        if not changed:
            log.info("reusing %s: %d pictures, %s", path, kept.count, kept.method)
            return kept
        log.warning("calibrating again: %s since %s", "; ".join(changed), path)
    found = observed(
        core, data, pixels_of(recipe), method=method, names=names, on_progress=on_progress
    )
    if not equalized:  # or it is said twice
        _report(found)
    ranges = _with_figures(wanted, found, method, len(data))
    seen = [name for name in data.frame_names() if name not in found.skipped]
    write_whole(folder / "images.txt", ("\n".join([data.name, *seen]) + "\n").encode())
    write_ranges(ranges, path)
    return ranges


def check_fits(ranges: Ranges, core: "ModelProto") -> None:
    """Refuse ranges that were not measured on `core`.

    Raises:
        InputFileError: they are of another graph; the message says where it differs.
    """
    difference = ranges.graph_difference(_graph_hash(core), _activations(core))
    if difference:
        raise InputFileError(
            f"the ranges were measured on another graph: {difference}",
            fix="calibrate this graph itself, or take the ranges.json of its own engine folder",
        )


def _activations(core: "ModelProto") -> list[str]:
    with needs("graph"):
        from edgeseg.graph.tap import float_activations
    return float_activations(core)


def _graph_hash(core: "ModelProto") -> str:
    return sha256(core.SerializeToString(deterministic=True))


def _quantized(core: "ModelProto") -> list[str]:
    with needs("graph"):
        from edgeseg.graph.quantize import activation_tensors
    return activation_tensors(core)


def _wanted(
    recipe: Recipe, core: "ModelProto", names: Sequence[str], data: Dataset, method: Method
) -> Ranges:
    """Ranges of `names` without figures: what the ones on disk must agree with."""
    pixels = _preprocessing(recipe)
    digests = [_digest(data, index) for index in range(len(data))]
    unknown = Range(min=0.0, max=0.0, amax=0.0)
    return Ranges(
        method=str(method),
        graph=_graph_hash(core),
        preprocessing=sha256(*(f"{key}={value}" for key, value in sorted(pixels.items()))),
        images=sha256(*digests),
        count=len(data),
        tensors=dict.fromkeys(names, unknown),
        pixels=pixels,
        pictures=[sha256(digest)[:12] for digest in digests],
    )


def _preprocessing(recipe: Recipe) -> dict[str, str]:
    """What becomes of a picture before the core, each value by its name."""
    description = recipe.description
    assert description is not None
    values = {name: getattr(description, name) for name in ("order", "mean", "std", "scale")}
    return {"size": recipe.size, **{name: str(value) for name, value in values.items()}}


def _digest(data: Dataset, index: int) -> str:
    try:
        return data.digest(index)
    except UnreadablePicture:
        return "unreadable"


def _with_figures(wanted: Ranges, found: Observed, method: Method, pictures: int) -> Ranges:
    coverage = found.coverage
    tensors = {
        name: _range(seen, method, coverage.settled_after.get(name))
        for name, seen in found.seen.items()
    }
    figures = {
        "tensors": tensors,
        "count": pictures - len(found.skipped),
        "settled_after": coverage.after,
        "moving": list(coverage.moving),
    }
    return wanted.model_copy(update=figures)


def _range(seen: Observer, method: Method, settled_after: int | None) -> Range:
    chosen = method.range_of(seen)
    return Range(
        min=seen.minimum,
        max=seen.maximum,
        amax=chosen.amax or SMALLEST,
        method=chosen.method,
        settled_after=settled_after,
    )


def _report(found: Observed) -> None:
    """Log what the pictures did and did not show."""
    if found.skipped:
        log.warning("%d calibration pictures could not be read", len(found.skipped))
    if found.coverage.after is None:
        log.warning("%s: calibrate on more pictures", found.coverage)
    else:
        log.info("%s", found.coverage)
    dead = [name for name, seen in found.seen.items() if seen.amax == 0.0]
    if dead:
        log.warning("%d tensors are zero on every picture, such as %s", len(dead), dead[0])


def pixels_of(recipe: Recipe) -> Callable[[Pixels], Floats]:
    """What inference makes of a picture; the first one of another shape is logged."""
    with needs("openvino"):
        from edgeseg.backends.head import network_pixels

    description, frame = recipe.description, recipe.frame_size
    assert description is not None
    gain, bias = description.gain_and_bias()
    said = False

    def pixels_of(image: Pixels) -> Floats:
        nonlocal said
        size = Size(*image.shape[:2])
        stretch = size.width / size.height * frame.height / frame.width
        if not said and abs(stretch - 1) > ASPECT:
            said = True
            log.warning(
                "calibration pictures of %s have another shape than frames of %s; they are "
                "resized to %s, as frames are",
                size,
                frame,
                recipe.size,
            )
        return network_pixels(
            image, recipe.network_size, order=description.order, gain=gain, bias=bias
        )

    return pixels_of
