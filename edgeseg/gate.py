"""What a build has to pass before it is published: conversion, labels, mIoU."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from edgeseg.calibration import calibration_data
from edgeseg.calibration_data import open_pictures
from edgeseg.datasets import Subset, Unmasked, readable
from edgeseg.engine import Engine
from edgeseg.errors import AccuracyGateFailed, BuildError, UsageError
from edgeseg.kept_pictures import ONE_SIZE, Keeper, resized_to
from edgeseg.manifest import Measured
from edgeseg.recipe import Gate, Recipe
from edgeseg.tables import needs
from edgeseg.types import Dataset, OnProgress, Precision, Size
from edgeseg.verify import Comparison, compare, float_reference, measured, scoring_for

if TYPE_CHECKING:
    from onnx import ModelProto

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verification:
    """An engine against the float graph on the pictures of its gate."""

    found: Measured
    result: Comparison


def verified(
    recipe: Recipe,
    core: "ModelProto",
    stage: Path,
    name: str,
    on_progress: OnProgress | None,
) -> Verification | None:
    """What the engine in `stage` keeps of the float graph; None where no pictures are named."""
    if recipe.random_weights:
        log.warning(
            "nothing was verified: the weights are random, so only the speed means anything"
        )
        return None
    chosen = verification_data(recipe)
    if chosen is None:
        level = logging.INFO if recipe.precision is Precision.FP32 else logging.WARNING
        log.log(level, "nothing was verified: no pictures were named with --val")
        return None
    data, held_out = chosen
    with Engine.open(stage, backend_name=name) as engine:
        if name in ONE_SIZE:
            data = resized_to(engine.frame_size, data)
        elif engine.frame_size != Size(*data.frame(0).image.shape[:2]):
            log.info("verifying at the pictures' own size, not at %s", engine.frame_size)
        keeper = Keeper(len(data))
        result = compare(
            engine,
            float_reference(core, engine.manifest),
            engine.labels,
            data,
            class_map=recipe.gate.map,
            on_progress=on_progress,
            on_frame=keeper.see,
        )
    shutil.rmtree(stage / "cache", ignore_errors=True)
    keeper.write(stage)
    return Verification(measured(result, data.name, held_out=held_out), result)


def misses(gate: Gate, result: Comparison, *, upper: bool = False) -> list[str]:
    """What of `gate` the labels in `result` miss, in words; empty where they pass.

    With `upper` the drop counts at the upper end of its interval. NaN passes nothing.
    """
    if not result.scored:
        agreement = float(np.mean(result.agreement))
        if agreement >= gate.min_agreement:
            return []
        return [f"{agreement:.2f} % agreement (--min-agreement {gate.min_agreement:g})"]
    found = []
    drop, _, high = result.drop_and_interval()
    counted = high if upper else drop
    if not counted <= gate.max_drop:
        where = " at the upper end" if upper else ""
        found.append(f"{counted:.2f} mIoU points{where} (--max-drop {gate.max_drop:g})")
    if gate.max_class_drop is not None:
        drops = result.iou(result.reference) - result.iou(result.built)
        for name, lost in zip(result.names, drops, strict=True):
            if lost > gate.max_class_drop:
                found.append(f"{lost:.2f} points of {name} (--max-class-drop "
                             f"{gate.max_class_drop:g})")  # fmt: skip
    return found


def refuse(done: Verification, missed: list[str], path: Sequence[str]) -> NoReturn:
    """Raise AccuracyGateFailed with what was missed, and the path that was searched."""
    searched = ("\nwhat was tried:\n" + "\n".join(path)) if path else ""
    raise AccuracyGateFailed(
        f"the built engine misses its gate: {'; '.join(missed)} against the float graph on "
        f"{done.found.frames} pictures of {done.found.data}; nothing was published{searched}",
        fix="calibrate on more or other pictures, keep layers in float with --keep-fp16 "
        "PATTERN, or allow more",
    )


def with_classes_that_fit(recipe: Recipe, *, masks_wanted: bool, agreement_will_do: bool) -> Recipe:
    """`recipe`, where its masks can be scored; told not to score them where agreement will do.

    Raises:
        UsageError: they have other classes than the network, or are wanted and missing.
    """
    chosen = None if recipe.random_weights else verification_data(recipe)
    if chosen is None:
        return recipe
    assert recipe.description is not None
    data = chosen[0]
    if all(frame.mask is None for _, frame in readable(Subset(data, [0]), [])):
        if masks_wanted:
            raise UsageError(
                f"a limit in mIoU needs masks, and {data.name} has none",
                fix="name labelled pictures with --val DATA:SPLIT, or say --min-agreement PERCENT "
                "alone, which needs no masks",
            )
        return recipe
    try:
        scoring_for(recipe.description.to_labels(), data.labels, recipe.gate.map)
    except UsageError:
        if not agreement_will_do:
            raise
        log.info("the masks of %s have other classes, so that agreement alone counts", data.name)
        gate = recipe.gate.model_copy(update={"masks": False})
        return recipe.model_copy(update={"gate": gate})
    return recipe


def verification_data(recipe: Recipe) -> tuple[Dataset, bool] | None:
    """The pictures to verify on, and whether calibration did not see them."""
    chosen = _chosen_pictures(recipe)
    if chosen is None or recipe.gate.masks:
        return chosen
    data, held_out = chosen
    return Unmasked(data), held_out


def _chosen_pictures(recipe: Recipe) -> tuple[Dataset, bool] | None:
    if recipe.gate.val is not None:
        data = open_pictures(
            recipe.gate.val, root=recipe.gate.root, split="val", count=recipe.gate.count
        )
        if recipe.calibration is None:
            return data, True
        return data, calibration_data(recipe).name.partition("[")[0] != data.name.partition("[")[0]
    if recipe.calibration is None:
        return None
    whole = open_pictures(recipe.calibration.data, root=recipe.calibration.root)
    seen = set(calibration_data(recipe).frame_names())
    unseen = [i for i, name in enumerate(whole.frame_names()) if name not in seen]
    return Subset(whole, indices=unseen or range(len(whole))), bool(unseen)


def check_conversion(recipe: Recipe, core: "ModelProto") -> None:
    """Compare a stranger's file with the core that was made of it, on one picture.

    Raises:
        BuildError: they differ by more than float rounding.
    """
    if recipe.onnx is None:
        return
    with needs("graph"):
        from edgeseg.graph.load import image_input, load_model
    with needs("openvino"):
        from edgeseg.backends.floats import float_runner
    original = load_model(recipe.onnx)
    source = image_input(original)
    pixels = np.random.default_rng(0).uniform(0, 1, (1, 3, *recipe.network_size))
    assert recipe.description is not None
    gain, bias = recipe.description.gain_and_bias()
    scale = 255 * np.reshape(gain, (1, 3, 1, 1))
    pixels = (pixels * scale + np.reshape(bias, (1, 3, 1, 1))).astype(np.float32)
    fed = pixels if source.layout == "nchw" else pixels.transpose(0, 2, 3, 1)
    outputs = float_runner(original.SerializeToString())({source.name: np.ascontiguousarray(fed)})
    wanted = next(value for value in outputs.values() if value.ndim == 4)
    found = float_runner(core.SerializeToString())({"pixels": pixels})["logits"]
    if found.shape[1] == 2 and 1 in {wanted.shape[1], wanted.shape[3]}:
        found = found[:, 1:]  # a sigmoid became two classes; the second one is the original
    if wanted.shape != found.shape:
        wanted = wanted.transpose(0, 3, 1, 2)
    error = float(np.abs(wanted - found).max() / max(float(np.abs(wanted).max()), 1e-12))
    if error > 1e-3:
        raise BuildError(
            f"{recipe.onnx.name} computes something else after its conversion to opset 17: "
            f"the scores differ by {100 * error:.2f} % of their range",
            fix="export it with opset 17",
        )
