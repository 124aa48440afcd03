"""Ranges for a recipe: from its calibration pictures, or from an earlier run that still holds."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.calibrate import METHODS
from edgeseg.datasets import open_dataset, readable
from edgeseg.errors import UnreadablePicture, UsageError
from edgeseg.files import write_whole
from edgeseg.ranges import Range, Ranges, read_ranges, sha256, write_ranges
from edgeseg.recipe import Recipe
from edgeseg.tables import needs, pick
from edgeseg.types import Dataset, OnProgress

if TYPE_CHECKING:
    from onnx import ModelProto

FOLDER = Path("calibration")

log = logging.getLogger(__name__)


def calibration_data(recipe: Recipe) -> Dataset:
    """The pictures that `recipe` calibrates with."""
    if recipe.calibration is None:
        raise UsageError("this recipe calibrates nothing", fix="build it with --int8")
    return open_dataset(
        recipe.calibration.data, root=recipe.calibration.root, count=recipe.calibration.count
    )


def ranges_for(
    recipe: Recipe, core: "ModelProto", *, on_progress: OnProgress | None = None
) -> Ranges:
    """The ranges of the activations of `core`, kept in calibration/NAME/ranges.json.

    They are reused while graph, preprocessing, pictures and method are what they were; the log
    says which of them changed.

    Raises:
        InputFileError: not one calibration picture can be read.
    """
    data = calibration_data(recipe)
    folder = FOLDER / recipe.name
    path = folder / "ranges.json"
    wanted = _wanted(recipe, core, data)
    if path.is_file():
        kept = read_ranges(path)
        changed = kept.differences(wanted)
        if not changed:
            log.info("reusing %s: %d pictures, %s", path, kept.count, kept.method)
            return kept
        log.warning("calibrating again: %s changed since %s", ", ".join(changed), path)
    skipped: list[str] = []
    ranges = _measured(recipe, core, data, wanted, skipped, on_progress)
    names = [name for name in data.frame_names() if name not in skipped]
    write_whole(folder / "images.txt", ("\n".join([data.name, *names]) + "\n").encode())
    write_ranges(ranges, path)
    return ranges


def _wanted(recipe: Recipe, core: "ModelProto", data: Dataset) -> Ranges:
    """Ranges without tensors: what the ones on disk must agree with."""
    assert recipe.calibration is not None
    description = recipe.description.model_dump_json() if recipe.description else ""
    return Ranges(
        method=recipe.calibration.method,
        graph=sha256(core.SerializeToString(deterministic=True), *recipe.keep_fp16),
        preprocessing=sha256(description, recipe.size),
        images=sha256(data.name, *(_digest(data, index) for index in range(len(data)))),
        count=len(data),
        tensors={},
    )


def _digest(data: Dataset, index: int) -> str:
    try:
        return data.digest(index)
    except UnreadablePicture:
        return "unreadable"


def _measured(
    recipe: Recipe,
    core: "ModelProto",
    data: Dataset,
    wanted: Ranges,
    skipped: list[str],
    on_progress: OnProgress | None,
) -> Ranges:
    with needs("graph"):
        from edgeseg.graph.quantize import activation_tensors
        from edgeseg.graph.tap import tapped
    with needs("openvino"):
        from edgeseg.backends.floats import float_runner
        from edgeseg.backends.head import network_pixels
    from edgeseg.calibrate import Observer

    assert recipe.description is not None
    gain, bias = recipe.description.gain_and_bias()
    method = pick(METHODS, wanted.method, kind="calibration method")
    names = activation_tensors(core, keep=recipe.keep_fp16)
    run = float_runner(tapped(core, names).SerializeToString())
    seen = [Observer() for _ in names]
    for index, frame in readable(data, skipped):
        pixels = network_pixels(
            frame.image,
            recipe.network_size,
            order=recipe.description.order,
            gain=gain,
            bias=bias,
        )
        for observer, values in zip(seen, run({"pixels": pixels}).values(), strict=True):
            observer.see(values)
        if on_progress:
            on_progress("calibrate", index + 1, len(data))
    tensors: dict[str, Any] = {
        name: Range(min=observer.minimum, max=observer.maximum, amax=method(observer))
        for name, observer in zip(names, seen, strict=True)
    }
    return wanted.model_copy(update={"tensors": tensors, "count": len(data) - len(skipped)})
