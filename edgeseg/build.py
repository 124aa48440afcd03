"""Build an engine: core, ranges, Q/DQ, frame graph, plan, verification, publication."""

import logging
import shutil
from pathlib import Path
from typing import Any

from edgeseg.backends import backend, preferred
from edgeseg.budget import searched, within_budget
from edgeseg.engine import Engine
from edgeseg.errors import UsageError
from edgeseg.frames import YuvKind
from edgeseg.gate import (
    Verification,
    check_conversion,
    misses,
    refuse,
    verification_data,
    verified,
    with_classes_that_fit,
)
from edgeseg.graphs import Parts, patterns_as_layers, write_graphs
from edgeseg.kept_pictures import keep_pictures, verified_from_folder
from edgeseg.lock import building
from edgeseg.manifest import Manifest, check_files, read_manifest
from edgeseg.networks import weights_from_text
from edgeseg.options import Options
from edgeseg.origin import cores_for, recipe_for
from edgeseg.plan import compiled_plan, refuse_options
from edgeseg.publish import refuse_foreign, seal, staged
from edgeseg.quantization import quantizer_for
from edgeseg.quantizer import Quantizer
from edgeseg.recipe import PlanOptions, Recipe, read_recipe, write_recipe
from edgeseg.types import OnProgress, PixelFormat, Precision, Size

ENGINES = Path("engines")
MOST_ENGINES = 4
"""Built after a search, whose arithmetic is more exact than some backends' INT8."""

log = logging.getLogger(__name__)


def build(
    source: str | Path,
    *,
    precision: Precision | str | None = None,
    calibrate: str | None = None,
    root: str | Path | None = None,
    count: int | None = None,
    method: str | None = None,
    val: str | None = None,
    val_count: int | None = None,
    class_map: dict[str, list[str]] | None = None,
    size: Size | None = None,
    frame: Size | None = None,
    frame_format: PixelFormat | str | None = None,
    yuv: YuvKind | str | None = None,
    smooth: float | None = None,
    backend: str | None = None,
    plan: PlanOptions | None = None,
    max_drop: float | None = None,
    max_class_drop: float | None = None,
    min_agreement: float | None = None,
    keep_fp16: tuple[str, ...] | None = None,
    without: tuple[str, ...] | None = None,
    tie_concat: bool | None = None,
    weights: str | Path | None = None,
    variant: dict[str, Any] | None = None,
    scales: tuple[float, ...] | None = None,
    flip: bool | None = None,
    fusion: str | None = None,
    description: dict[str, object] | None = None,
    until_graph: bool = False,
    out: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> Engine:
    """Build what `source` names (network, FILE.onnx, RECIPE.toml, engine folder) and open it.

    `weights` are a file, or "random" to measure the speed alone. `variant` are keyword arguments
    of a zoo network's function; with `scales` and `flip` the network runs several times over each
    picture, inside the graph. `yuv` is matrix and range of NV12 and I420 frames. `smooth` is the
    share of the scores of the frame before that is kept where nothing changes.

    For an engine folder only `backend` and `plan` count: it gets the plan that it lacks. `plan`
    says how TensorRT compiles; a CPU takes none of it. With `until_graph`
    nothing is compiled; the engine that comes back then has no plan and cannot be launched.

    Raises:
        UsageError, InputFileError, MissingPackage: what was asked for cannot be had.
        BuildError: the graph cannot be quantised or compiled.
        AccuracyGateFailed: the engine lost more than allowed; nothing was published.
        OutputError: `out` cannot be written.
    """
    file, random = weights_from_text(weights)
    options = Options(
        precision=Precision(precision) if precision else None,
        calibrate=calibrate,
        root=Path(root) if root else None,
        count=count,
        method=method,
        val=val,
        val_count=val_count,
        class_map=class_map,
        size=size,
        frame=frame,
        frame_format=PixelFormat(frame_format) if frame_format else None,
        yuv=yuv,
        smooth=smooth,
        backend=backend,
        plan=plan,
        max_drop=max_drop,
        max_class_drop=max_class_drop,
        min_agreement=min_agreement,
        keep_fp16=keep_fp16,
        without=without,
        tie_concat=tie_concat,
        weights=file,
        random_weights=random or None,
        variant=variant,
        scales=scales,
        flip=flip,
        fusion=fusion,
        description=description,
    )
    folder = Path(source)
    if folder.is_dir():
        if set(options.given()) - {"backend", "plan"} or out is not None or until_graph:
            raise UsageError(
                f"{folder} is an engine folder: it takes --backend and how to compile, no more",
                fix=f"to change more, build from {folder / 'recipe.toml'}",
            )
        return build_plan(folder, backend or "auto", plan=plan, on_progress=on_progress)
    recipe = recipe_for(str(source), options)
    masks_wanted = options.wants_masks()
    will_do = min_agreement is not None and not masks_wanted
    recipe = with_classes_that_fit(recipe, masks_wanted=masks_wanted, agreement_will_do=will_do)
    target = Path(out) if out else ENGINES / recipe.name
    return build_recipe(recipe, target, until_graph=until_graph, on_progress=on_progress)


def build_recipe(
    recipe: Recipe,
    out: Path,
    *,
    until_graph: bool = False,
    on_progress: OnProgress | None = None,
) -> Engine:
    """Build the engine that `recipe` describes and publish it under `out`; as `build` does."""
    refuse_foreign(out)
    name = preferred() if recipe.backend == "auto" else recipe.backend
    if not until_graph:
        _refuse_precision(name, recipe.precision)
        refuse_options(name, recipe.tensorrt, smooth=recipe.smooth)
    wanted = f"{Path.cwd()} {name} {until_graph} {recipe.model_dump_json()}"
    with building(out, wanted) as turn:
        if not turn.done:
            _make(recipe, out, name, until_graph=until_graph, on_progress=on_progress)
    return Engine.open(out, backend_name=name) if not until_graph else Engine.without_plan(out)


def _make(
    recipe: Recipe, out: Path, name: str, *, until_graph: bool, on_progress: OnProgress | None
) -> None:
    """Build and publish, in a folder that no other build has at the same time."""
    parts = _parts(recipe, on_progress)
    with staged(out) as stage:
        if until_graph:
            parts = within_budget(parts, on_progress)
            manifest = write_graphs(parts, stage, typed=True, on_progress=on_progress)
            chosen = None if recipe.random_weights else verification_data(recipe)
            if chosen is not None:
                keep_pictures(chosen[0], parts.core, manifest, stage)
        else:
            parts, manifest = _passed(parts, stage, name, on_progress)
        write_recipe(parts.recipe, stage / "recipe.toml")
        seal(manifest, stage)


def _parts(recipe: Recipe, on_progress: OnProgress | None) -> Parts:
    """The core of `recipe`, calibrated where it is to be quantised."""
    core, ready = cores_for(recipe)
    check_conversion(recipe, core)
    if recipe.precision is not Precision.INT8:
        return Parts(recipe=recipe, core=core)
    if ready is not None:
        return Parts(recipe=recipe, core=core, ready=ready)
    Quantizer(core, {}).matching(recipe.keep_fp16)  # a misspelt pattern is told now, not later
    quantizer, ranges = quantizer_for(recipe, core, on_progress=on_progress)
    kept = patterns_as_layers(quantizer, recipe.keep_fp16)
    keep = tuple(dict.fromkeys([*quantizer.spared, *kept]))
    return Parts(recipe=recipe, core=core, quantizer=quantizer, ranges=ranges, keep=keep)


def _passed(
    parts: Parts, stage: Path, name: str, on_progress: OnProgress | None
) -> tuple[Parts, Manifest]:
    """The parts and the manifest of the engine in `stage`, which passes its gate.

    Raises:
        AccuracyGateFailed: no set of layers in float makes it pass.
    """
    manifest, done = _attempt(parts, stage, name, on_progress)
    if done is None or name == "null":
        return parts, manifest
    path: list[str] = []
    searchable = parts.quantizer is not None
    # What was left in float by hand, or by an earlier search, is not searched for again.
    gate, settled = parts.recipe.gate, not searchable or bool(parts.recipe.keep_fp16)
    missed = misses(gate, done.result, upper=gate.budget and not settled)
    if missed and searchable:
        log.info("%s: searching for the layers to leave in float", "; ".join(missed))
        candidates, path = searched(parts, on_progress)
        for index, chosen in enumerate(candidates[:MOST_ENGINES]):
            if index:
                log.info("%s in the engine: trying more layers in float", "; ".join(missed))
            if chosen.keep != parts.keep:
                manifest, done = _attempt(chosen, stage, name, on_progress)
                assert done is not None
            parts = chosen
            missed = misses(gate, done.result)
            if not missed:
                break
    if missed:
        refuse(done, missed, path)
    return parts, manifest


def _attempt(
    parts: Parts, stage: Path, name: str, on_progress: OnProgress | None
) -> tuple[Manifest, Verification | None]:
    """Make and verify one engine in `stage`, in the place of what is there."""
    for old in stage.iterdir():
        old.unlink()
    typed = name == "tensorrt"
    manifest = write_graphs(parts, stage, typed=typed, on_progress=on_progress)
    plan = compiled_plan(stage, manifest, name, parts.recipe.tensorrt, on_progress)
    manifest = seal(manifest.model_copy(update={"plans": {name: plan}}), stage)
    done = verified(parts.recipe, parts.core, stage, name, on_progress)
    if done is not None:
        plan = plan.model_copy(update={"measured": done.found})
    return manifest.model_copy(update={"plans": {name: plan}}), done


def build_plan(
    folder: Path,
    name: str,
    *,
    plan: PlanOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Engine:
    """Add the plan of backend `name` to an engine folder, verified on its own pictures.

    It is compiled as `plan` says; None is what the folder's recipe says.

    Raises:
        AccuracyGateFailed: the plan's labels agree with the folder's float labels too little.
    """
    name = preferred() if name == "auto" else name
    manifest = read_manifest(folder)
    _refuse_precision(name, manifest.precision)
    options = plan or _recipe_options(folder, name)
    refuse_options(name, options, smooth=manifest.smooth)
    with building(folder, f"plan {name} {options.model_dump_json()}") as turn:
        if not turn.done:
            _add_plan(folder, name, options, on_progress)
    return Engine.open(folder, backend_name=name)


def _add_plan(
    folder: Path, name: str, options: PlanOptions, on_progress: OnProgress | None
) -> None:
    manifest = read_manifest(folder)
    check_files(folder, manifest, but=name)
    with staged(folder) as stage:
        shutil.copytree(folder, stage, dirs_exist_ok=True)
        shutil.rmtree(stage / "cache", ignore_errors=True)
        made = compiled_plan(stage, manifest, name, options, on_progress)
        plans = {**manifest.plans, name: made}
        sealed = seal(manifest.model_copy(update={"plans": plans}), stage)
        with Engine.open(stage, backend_name=name) as engine:
            made = made.model_copy(update={"measured": verified_from_folder(engine, stage)})
        seal(sealed.model_copy(update={"plans": {**plans, name: made}}), stage)


def _refuse_precision(name: str, precision: Precision) -> None:
    if precision not in backend(name).PRECISIONS:
        raise UsageError(
            f"{name} does not compute in {precision.value} on this machine",
            fix="choose --fp32 or --int8, or --backend openvino",
        )


def _recipe_options(folder: Path, name: str) -> PlanOptions:
    """What the folder's recipe says about TensorRT, which no other backend is told."""
    recipe = folder / "recipe.toml"
    if name != "tensorrt" or not recipe.is_file():
        return PlanOptions()
    return read_recipe(recipe).tensorrt
