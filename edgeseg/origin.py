"""What a user names - a network, an ONNX file, a recipe - becomes a recipe and its float core."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.calibration_data import open_pictures
from edgeseg.documents import parsed, read_toml
from edgeseg.errors import InputFileError, UsageError
from edgeseg.networks import (
    TRAINED_SIZE,
    Inference,
    ZooNetwork,
    core_bytes,
    default_size,
    facts_of,
)
from edgeseg.recipe import (
    Calibration,
    Description,
    Gate,
    Quantization,
    Recipe,
    read_recipe,
)
from edgeseg.tables import known, needs
from edgeseg.types import PixelFormat, Precision, Size
from edgeseg.zoo import MODELS, check_size

if TYPE_CHECKING:
    from onnx import ModelProto


LABELLED = {"max_drop": "max-drop", "max_class_drop": "max-class-drop", "class_map": "map"}
"""Options that compare with masks, and how they are typed."""
QUANTIZING = ("calibrate", "count", "method", "keep_fp16", "without", "tie_concat")
"""Options that say how to quantise."""
STEPS = {name: name for name in ("equalize", "scales", "rounding", "bias", "spare")}
"""Of the quantisation: each can be left out."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `build` was told; None where it was not."""

    precision: Precision | None = None
    calibrate: str | None = None
    root: Path | None = None
    count: int | None = None
    method: str | None = None
    val: str | None = None
    val_count: int | None = None
    class_map: dict[str, list[str]] | None = None
    size: Size | None = None
    frame: Size | None = None
    frame_format: PixelFormat | None = None
    backend: str | None = None
    max_drop: float | None = None
    max_class_drop: float | None = None
    min_agreement: float | None = None
    keep_fp16: tuple[str, ...] | None = None
    without: tuple[str, ...] | None = None
    tie_concat: bool | None = None
    weights: Path | None = None
    random_weights: bool | None = None
    variant: dict[str, Any] | None = None
    scales: tuple[float, ...] | None = None
    flip: bool | None = None
    fusion: str | None = None
    description: dict[str, Any] | None = None

    def given(self) -> list[str]:
        """The names of the options that were given."""
        return [item.name for item in fields(self) if getattr(self, item.name) is not None]


def recipe_for(source: str, options: Options) -> Recipe:
    """The recipe that `source` and `options` make together.

    Raises:
        UsageError: no such network, contradicting options, or INT8 without calibration data.
        InputFileError: a file that is missing, unreadable or undescribed.
    """
    path = Path(source)
    if path.suffix == ".toml":
        return _adjusted(read_recipe(path), options)
    values = _from_onnx(path, options) if path.suffix == ".onnx" else _from_zoo(source, options)
    precision = options.precision or Precision.FP32
    ready = values.pop("quantized", False)
    calibration = None if ready else _calibration(options, precision)
    own_size = values.pop("own_size", None)
    size = options.size or own_size or TRAINED_SIZE
    gate = _gate(options, calibration)
    if "network" in values:
        check_size(source, MODELS[source], size)
    frame = options.frame or _picture_size(calibration, gate) or size
    frame_format = options.frame_format or PixelFormat.RGB8
    frame_format.frame_shape(frame)  # refuses what the format cannot hold
    return Recipe(
        **values,
        precision=precision,
        backend=options.backend or "auto",
        size=str(size),
        frame=str(frame),
        frame_format=frame_format,
        keep_fp16=list(options.keep_fp16 or ()),
        calibration=calibration,
        quantization=_quantization(options, precision),
        gate=gate,
    )


def core_for(recipe: Recipe) -> "ModelProto":
    """The float core that `recipe` names, simplified for its size.

    Raises:
        InputFileError: the file is unreadable, or the weights do not fit.
        MissingPackage: own weights without PyTorch.
    """
    with needs("graph"):
        from onnx import load_model_from_string

        from edgeseg.graph.load import load_model
        from edgeseg.graph.quantized_input import float_form, is_quantized
        from edgeseg.graph.simplify import fixed_core
    assert recipe.description is not None
    size = recipe.network_size
    if recipe.onnx is not None:
        core = fixed_core(load_model(recipe.onnx), size, output=recipe.description.output)
        return float_form(core) if is_quantized(core) else core
    what = ZooNetwork(
        name=str(recipe.network),
        weights=recipe.weights,
        random=recipe.random_weights,
        classes=len(recipe.description.labels) if recipe.random_weights else None,
        variant=dict(recipe.variant),
        inference=Inference(scales=tuple(recipe.scales), flip=recipe.flip, fusion=recipe.fusion),
    )
    return fixed_core(load_model_from_string(core_bytes(what, size=size)), size)


def quantized_core(recipe: Recipe) -> "ModelProto | None":
    """The core of an ONNX file that came quantised, as it is; None for every other recipe."""
    if recipe.onnx is None or recipe.precision is not Precision.INT8:
        return None
    with needs("graph"):
        from edgeseg.graph.load import load_model
        from edgeseg.graph.quantized_input import is_quantized
        from edgeseg.graph.simplify import fixed_core
    assert recipe.description is not None
    model = load_model(recipe.onnx)
    if not is_quantized(model):
        return None
    return fixed_core(model, recipe.network_size, output=recipe.description.output)


def _from_zoo(name: str, options: Options) -> dict[str, Any]:
    known(MODELS, name, kind="network")
    refused = set(options.description or {}) - {"labels"}
    if refused:
        raise UsageError(
            f"{name} is described by edgeseg itself",
            fix=f"leave out --{', --'.join(sorted(refused))}",
        )
    given: Any = (options.description or {}).get("labels")
    what = ZooNetwork(
        name=name,
        weights=options.weights,
        random=bool(options.random_weights),
        variant=options.variant or {},
    )
    facts = facts_of(what, given)
    description = Description(labels=facts.labels, colors=facts.colors, **facts.pixels)
    return {
        "network": name,
        "weights": options.weights,
        "random_weights": what.random,
        "variant": facts.variant,
        "description": description,
        "scales": list(options.scales or (1.0,)),
        "flip": bool(options.flip),
        "fusion": options.fusion or "mean",
        "own_size": default_size(name),
    }


def _from_onnx(path: Path, options: Options) -> dict[str, Any]:
    own = ("weights", "random_weights", "variant", "scales", "flip", "fusion")
    refused = [key.partition("_")[0] for key in own if key in options.given()]
    if refused:
        raise UsageError(
            f"an ONNX file holds its own form: --{refused[0]} is for the networks of the zoo",
            fix=f"leave --{refused[0]} out",
        )
    with needs("graph"):
        from edgeseg.graph.load import image_input, load_model
        from edgeseg.graph.quantized_input import is_quantized, refuse_second_quantization
    model = load_model(path)
    source = image_input(model)
    if quantized := is_quantized(model):
        asked = [key.replace("_", "-") for key in QUANTIZING if key in options.given()]
        refuse_second_quantization(path.name, int8=options.precision is Precision.INT8, given=asked)
    beside = path.with_suffix(".toml")
    values = {**(read_toml(beside) if beside.is_file() else {}), **(options.description or {})}
    missing = [key for key in ("mean", "std", "labels") if key not in values]
    if missing:
        raise UsageError(
            f"nothing says which {', '.join(missing)} {path.name} was trained with",
            fix=f"write them into {beside.name} beside it, or give "
            + ", ".join(f"--{key}" for key in missing)
            + " (pixels = (bytes * scale - mean) / std; order is rgb unless you say bgr)",
        )
    description = parsed(Description, values, beside)
    if description.layout not in {"auto", source.layout}:
        raise InputFileError(
            f"{path.name} has its channels {source.layout}, not {description.layout}",
            fix='set layout = "auto"',
        )
    return {
        "onnx": path,
        "description": description,
        "own_size": source.size,
        "quantized": quantized,
    }


def _calibration(options: Options, precision: Precision) -> Calibration | None:
    if precision is not Precision.INT8:
        refused = [name for name in ("calibrate", "method") if name in options.given()]
        if refused:
            raise UsageError(
                f"--{refused[0]} has no use in {precision.value}", fix="add --int8, or leave it out"
            )
        return None
    if options.calibrate is None:
        raise UsageError(
            "INT8 needs pictures to calibrate with",
            fix="--calibrate camvid:train --root DIR, --calibrate folder --root DIR, or "
            "--calibrate synthetic",
        )
    return Calibration(
        data=options.calibrate,
        root=root_for(options.calibrate, options.root),
        count=options.count or 100,
        method=options.method or "mse",
    )


def _quantization(options: Options, precision: Precision) -> Quantization:
    """The default steps but for those that were switched.

    Raises:
        UsageError: no such step, or steps of INT8 for a float engine.
    """
    asked = [name for name in ("without", "tie_concat") if name in options.given()]
    if asked and precision is not Precision.INT8:
        raise UsageError(
            f"--{asked[0].replace('_', '-')} has no use in {precision.value}", fix="add --int8"
        )
    changes: dict[str, Any] = {"tie_concat": bool(options.tie_concat)}
    for step in options.without or ():
        known(STEPS, step, kind="step of the quantisation")
        changes[step] = 0.0 if step == "spare" else False
    return Quantization(**changes)


def root_for(data: str, root: Path | None) -> Path | None:
    """`root`, but for the data set that needs none."""
    return None if data.partition(":")[0] == "synthetic" else root


def _gate(options: Options, calibration: Calibration | None) -> Gate:
    val = options.val
    if val is None and calibration is not None:
        name, _, split = calibration.data.partition(":")
        if name in {"camvid", "synthetic"} and split != "val":
            val = f"{name}:val"
    if val is None:
        for option, flag in LABELLED.items():
            if option in options.given():
                raise UsageError(
                    f"--{flag} needs labelled pictures",
                    fix="name them with --val DATA:SPLIT, or say --min-agreement PERCENT, which "
                    "needs no labels",
                )
    given = {
        name: value
        for name, value in (
            ("max_drop", options.max_drop),
            ("max_class_drop", options.max_class_drop),
            ("min_agreement", options.min_agreement),
        )
        if value is not None
    }
    return Gate(
        val=val,
        root=root_for(val, options.root) if val else None,
        count=options.val_count,
        map=options.class_map,
        **given,
    )


def _picture_size(calibration: Calibration | None, gate: Gate) -> Size | None:
    """The size of the first picture that the build will look at."""
    for data, root in (
        (gate.val, gate.root),
        (calibration.data, calibration.root) if calibration else (None, None),
    ):
        if data:
            opened = open_pictures(str(data), root=root)
            return Size(*opened.frame(0).image.shape[:2])
    return None


def _adjusted(recipe: Recipe, options: Options) -> Recipe:
    """`recipe` with the few options that do not change what it describes."""
    changes: dict[str, Any] = {}
    if options.backend is not None:
        changes["backend"] = options.backend
    if options.frame is not None:
        changes["frame"] = str(options.frame)
    if options.frame_format is not None:
        changes["frame_format"] = options.frame_format
    gate = {
        key: getattr(options, key)
        for key in ("max_drop", "max_class_drop", "min_agreement")
        if getattr(options, key) is not None
    }
    if gate:
        changes["gate"] = recipe.gate.model_copy(update=gate)
    refused = set(options.given()) - {
        "backend", "frame", "frame_format", "max_drop", "max_class_drop", "min_agreement"
    }  # fmt: skip
    if refused:
        raise UsageError(
            f"the recipe says already what {', '.join(sorted(refused))} is",
            fix="change the recipe, or build from the network's name",
        )
    return recipe.model_copy(update=changes)
