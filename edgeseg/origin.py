"""What a user names - a network, an ONNX file, a recipe - becomes a recipe and its float core."""

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
from edgeseg.options import (
    LIMITS,
    QUANTIZING,
    Options,
    calibration_of,
    gate_of,
    quantization_of,
    smoothing_of,
    yuv_of,
)
from edgeseg.recipe import (
    YUV_FORMATS,
    Calibration,
    Description,
    Gate,
    PlanOptions,
    Recipe,
    read_recipe,
)
from edgeseg.tables import known, needs
from edgeseg.types import PixelFormat, Precision, Size
from edgeseg.zoo import MODELS, check_size

if TYPE_CHECKING:
    from onnx import ModelProto


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
    calibration = None if ready else calibration_of(options, precision)
    own_size = values.pop("own_size", None)
    size = options.size or own_size or TRAINED_SIZE
    gate = gate_of(options, calibration)
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
        yuv=yuv_of(options, frame_format),
        smooth=smoothing_of(options),
        keep_fp16=list(options.keep_fp16 or ()),
        calibration=calibration,
        quantization=quantization_of(options, precision),
        gate=gate,
        tensorrt=options.plan or PlanOptions(),
    )


def core_for(recipe: Recipe) -> "ModelProto":
    """The float core that `recipe` names; as `cores_for` does."""
    return cores_for(recipe)[0]


def cores_for(recipe: Recipe) -> "tuple[ModelProto, ModelProto | None]":
    """The float core that `recipe` names, simplified for its size, and the one that came quantised.

    The second is None but for an ONNX file that was INT8 already.

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
        return (float_form(core), core) if is_quantized(core) else (core, None)
    what = ZooNetwork(
        name=str(recipe.network),
        weights=recipe.weights,
        random=recipe.random_weights,
        classes=len(recipe.description.labels) if recipe.random_weights else None,
        variant=dict(recipe.variant),
        inference=Inference(scales=tuple(recipe.scales), flip=recipe.flip, fusion=recipe.fusion),
    )
    return fixed_core(load_model_from_string(core_bytes(what, size=size)), size), None


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
    frame_format = options.frame_format or recipe.frame_format
    if options.yuv is not None or frame_format not in YUV_FORMATS:
        changes["yuv"] = yuv_of(options, frame_format)
    if options.smooth is not None:
        changes["smooth"] = smoothing_of(options)
    if options.plan is not None:
        changes["tensorrt"] = options.plan
    if limits := options.limits():
        changes["gate"] = recipe.gate.model_copy(update=limits)
    framing = {"frame", "frame_format", "yuv"}
    refused = set(options.given()) - {"backend", "plan", "smooth", *framing, *LIMITS}
    if refused:
        raise UsageError(
            f"the recipe says already what {', '.join(sorted(refused))} is",
            fix="change the recipe, or build from the network's name",
        )
    return recipe.model_copy(update=changes)
