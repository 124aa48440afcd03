"""Build an engine: core, ranges, Q/DQ, frame graph, plan, verification, publication."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg import __version__
from edgeseg.backends import backend, preferred
from edgeseg.calibration import ranges_for
from edgeseg.engine import Engine, compiled
from edgeseg.errors import BuildError, UsageError
from edgeseg.files import write_whole
from edgeseg.gate import check_conversion, keep_pictures, verified, verified_from_folder
from edgeseg.manifest import Manifest, Plan, check_files, read_manifest
from edgeseg.origin import Options, core_for, recipe_for
from edgeseg.publish import refuse_foreign, seal, staged
from edgeseg.ranges import Ranges, write_ranges
from edgeseg.recipe import Recipe, write_recipe
from edgeseg.tables import needs
from edgeseg.types import OnProgress, PixelFormat, Precision, Size

if TYPE_CHECKING:
    from onnx import ModelProto

ENGINES = Path("engines")
RANDOM = "random"


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
    backend: str | None = None,
    max_drop: float | None = None,
    min_agreement: float | None = None,
    keep_fp16: tuple[str, ...] | None = None,
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
    picture, inside the graph.

    For an engine folder only `backend` counts: it gets the plan that it lacks. With `until_graph`
    nothing is compiled; the engine that comes back then has no plan and cannot be launched.

    Raises:
        UsageError, InputFileError, MissingPackage: what was asked for cannot be had.
        BuildError: the graph cannot be quantised or compiled.
        AccuracyGateFailed: the engine lost more than allowed; nothing was published.
        OutputError: `out` cannot be written.
    """
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
        backend=backend,
        max_drop=max_drop,
        min_agreement=min_agreement,
        keep_fp16=keep_fp16,
        weights=Path(weights) if weights and weights != RANDOM else None,
        random_weights=True if weights == RANDOM else None,
        variant=variant,
        scales=scales,
        flip=flip,
        fusion=fusion,
        description=description,
    )
    folder = Path(source)
    if folder.is_dir():
        if set(options.given()) - {"backend"} or out is not None or until_graph:
            raise UsageError(
                f"{folder} is an engine folder: it takes --backend alone",
                fix=f"to change more, build from {folder / 'recipe.toml'}",
            )
        return build_plan(folder, backend or "auto", on_progress=on_progress)
    recipe = recipe_for(str(source), options)
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
    core = core_for(recipe)
    check_conversion(recipe, core)
    ranges = None
    if recipe.precision is Precision.INT8:
        ranges = ranges_for(recipe, core, on_progress=on_progress)
    with staged(out) as stage:
        manifest = _graphs(recipe, core, ranges, stage)
        if until_graph:
            keep_pictures(recipe, core, manifest, stage)
        else:
            plan = _compiled_plan(stage, manifest, name, on_progress)
            manifest = seal(manifest.model_copy(update={"plans": {name: plan}}), stage)
            plan = verified(recipe, core, stage, name, plan, on_progress)
            manifest = manifest.model_copy(update={"plans": {name: plan}})
        write_recipe(recipe, stage / "recipe.toml")
        seal(manifest, stage)
    return Engine.open(out, backend_name=name) if not until_graph else Engine.without_plan(out)


def build_plan(folder: Path, name: str, *, on_progress: OnProgress | None = None) -> Engine:
    """Add the plan of backend `name` to an engine folder, verified on its own pictures.

    Raises:
        AccuracyGateFailed: the plan's labels agree with the folder's float labels too little.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    name = preferred() if name == "auto" else name
    _refuse_precision(name, manifest.precision)
    with staged(folder) as stage:
        shutil.copytree(folder, stage, dirs_exist_ok=True)
        shutil.rmtree(stage / "cache", ignore_errors=True)
        plan = _compiled_plan(stage, manifest, name, on_progress)
        plans = {**manifest.plans, name: plan}
        sealed = seal(manifest.model_copy(update={"plans": plans}), stage)
        with Engine.open(stage, backend_name=name) as engine:
            plan = plan.model_copy(update={"measured": verified_from_folder(engine, stage)})
        seal(sealed.model_copy(update={"plans": {**plans, name: plan}}), stage)
    return Engine.open(folder, backend_name=name)


def _refuse_precision(name: str, precision: Precision) -> None:
    if precision not in backend(name).PRECISIONS:
        raise UsageError(
            f"{name} does not compute in {precision.value} on this machine",
            fix="choose --fp32 or --int8, or --backend openvino",
        )


def _graphs(recipe: Recipe, core: "ModelProto", ranges: Ranges | None, stage: Path) -> Manifest:
    """Write the graphs and documents of the engine into `stage`; its manifest without a plan."""
    with needs("graph"):
        from edgeseg.graph.cost import cost_of
        from edgeseg.graph.frame import frame_graph
        from edgeseg.graph.lint import lint
        from edgeseg.graph.quantize import quantization_hash, quantized
        from edgeseg.graph.reframe import spec_of

    inner, digest = core, None
    if ranges is not None:
        amax = {name: item.amax for name, item in ranges.tensors.items()}
        inner = quantized(core, amax, keep=recipe.keep_fp16)
        digest = quantization_hash(inner)
        write_ranges(ranges, stage / "ranges.json")
    cost = cost_of(core)
    manifest = _draft(recipe, cost.macs, cost.parameters, digest)
    graph = frame_graph(inner, spec_of(manifest))
    if findings := lint(graph):
        first = findings[0]
        raise BuildError(
            f"the graph breaks TensorRT's rules in {len(findings)} places; the first is "
            f"{first.node}: {first.rule}",
            fix="please report this network",
        )
    write_whole(stage / "float.onnx", core.SerializeToString())
    write_whole(stage / "graph.onnx", graph.SerializeToString())
    return seal(manifest, stage)


def _draft(recipe: Recipe, macs: int, parameters: int, digest: str | None) -> Manifest:
    assert recipe.description is not None
    gain, bias = recipe.description.gain_and_bias()
    labels = recipe.description.to_labels()
    return Manifest(
        edgeseg=__version__,
        name=recipe.name,
        network=recipe.network or (recipe.onnx.name if recipe.onnx else ""),
        weights=_which_weights(recipe),
        precision=recipe.precision,
        size=recipe.size,
        frame=recipe.frame,
        frame_format=recipe.frame_format,
        mask_size=recipe.mask_size,
        order=recipe.description.order,
        gain=gain,
        bias=bias,
        labels=list(labels.names),
        colors=list(labels.colors),
        macs=macs,
        parameters=parameters,
        quantization=digest,
        files={},
        plans={},
    )


def _which_weights(recipe: Recipe) -> str:
    if recipe.random_weights:
        return RANDOM
    file = recipe.weights or recipe.onnx
    return file.name if file else "shipped"


def _compiled_plan(
    stage: Path, manifest: Manifest, name: str, on_progress: OnProgress | None
) -> Plan:
    module = backend(name)
    if on_progress:
        on_progress(f"compile for {name}", 0, None)
    graph = (stage / "graph.onnx").read_bytes()
    file = f"plan.{name}"
    write_whole(stage / file, compiled(module, graph, manifest.precision))
    return Plan(file=file, fingerprint=module.fingerprint(), note=module.NOTE)
