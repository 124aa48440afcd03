"""Build an engine: core, ranges, Q/DQ, frame graph, plan, verification, publication."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeseg import __version__
from edgeseg.backends import backend, preferred
from edgeseg.calibration import calibration_data, ranges_for
from edgeseg.datasets import Subset, open_dataset
from edgeseg.engine import Engine, check_files, compiled
from edgeseg.errors import AccuracyGateFailed, BuildError, UsageError
from edgeseg.files import write_whole
from edgeseg.manifest import Manifest, Measured, Plan, read_manifest
from edgeseg.origin import Options, core_for, recipe_for
from edgeseg.publish import refuse_foreign, seal, staged
from edgeseg.ranges import Ranges, write_ranges
from edgeseg.recipe import Gate, Recipe, write_recipe
from edgeseg.tables import needs
from edgeseg.types import Dataset, OnProgress, Pixels, PixelFormat, Precision, Size
from edgeseg.verify import Comparison, compare, float_reference, measured

if TYPE_CHECKING:
    from onnx import ModelProto

ENGINES = Path("engines")
VERIFY_FRAMES = 8
"""Pictures that the folder keeps, so that a board without the data set can verify a plan."""

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
    backend: str | None = None,
    max_drop: float | None = None,
    min_agreement: float | None = None,
    keep_fp16: tuple[str, ...] | None = None,
    weights: str | Path | None = None,
    description: dict[str, object] | None = None,
    until_graph: bool = False,
    out: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> Engine:
    """Build what `source` names - a network, FILE.onnx, RECIPE.toml, an engine folder - and open it.

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
        weights=Path(weights) if weights else None,
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
    _check_against_original(recipe, core)
    ranges = None
    if recipe.precision is Precision.INT8:
        ranges = ranges_for(recipe, core, on_progress=on_progress)
    with staged(out) as stage:
        manifest = _graphs(recipe, core, ranges, stage)
        if not until_graph:
            plan = _compiled_plan(stage, manifest, name, on_progress)
            manifest = seal(manifest.model_copy(update={"plans": {name: plan}}), stage)
            plan = _verified(recipe, core, stage, name, plan, on_progress)
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
            plan = plan.model_copy(update={"measured": _verified_from_folder(engine, stage)})
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


def _verified(
    recipe: Recipe,
    core: "ModelProto",
    stage: Path,
    name: str,
    plan: Plan,
    on_progress: OnProgress | None,
) -> Plan:
    """`plan` with what the engine in `stage` kept of the float graph; refused if too little."""
    chosen = _verification_data(recipe)
    if chosen is None:
        log.warning("nothing was verified: no pictures were named with --val or --calibrate")
        return plan
    data, held_out = chosen
    with Engine.open(stage, backend_name=name) as engine:
        if engine.frame_size != Size(*data.frame(0).image.shape[:2]):
            log.info("verifying at the pictures' own size, not at %s", engine.frame_size)
        keeper = _Keeper(len(data))
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
    keeper.write(stage / "verify.npz")
    found = measured(result, data.name, held_out=held_out)
    if name != "null":
        _refuse_loss(recipe.gate, result, found)
    return plan.model_copy(update={"measured": found})


def _verification_data(recipe: Recipe) -> tuple[Dataset, bool] | None:
    """The pictures to verify on, and whether calibration did not see them."""
    if recipe.gate.val is not None:
        data = open_dataset(
            recipe.gate.val, root=recipe.gate.root, split="val", count=recipe.gate.count
        )
        if recipe.calibration is None:
            return data, True
        return data, calibration_data(recipe).name.partition("[")[0] != data.name.partition("[")[0]
    if recipe.calibration is None:
        return None
    whole = open_dataset(recipe.calibration.data, root=recipe.calibration.root)
    seen = set(calibration_data(recipe).frame_names())
    unseen = [i for i, name in enumerate(whole.frame_names()) if name not in seen]
    return Subset(whole, indices=unseen or range(len(whole))), bool(unseen)


@dataclass(frozen=True)
class _Loss:
    what: str
    limit: str


def _refuse_loss(gate: Gate, result: Comparison, found: Measured) -> None:
    if found.drop is not None and found.miou is not None:
        loss = _Loss(f"{found.drop:.2f} mIoU points", f"--max-drop {gate.max_drop}")
        failed = not found.drop <= gate.max_drop
    else:
        loss = _Loss(f"{found.agreement:.2f} % agreement", f"--min-agreement {gate.min_agreement}")
        failed = not found.agreement >= gate.min_agreement
    if failed:
        raise AccuracyGateFailed(
            f"the built engine misses its gate: {loss.what} against the float graph on "
            f"{found.frames} pictures of {found.data} ({loss.limit}); nothing was published",
            fix="calibrate on more or other pictures, keep layers in float with --keep-fp16 "
            "PATTERN, or allow more",
        )


def _verified_from_folder(engine: Engine, folder: Path) -> Measured | None:
    """What the engine keeps of the float labels that the folder brought along."""
    path = folder / "verify.npz"
    if not path.is_file():
        log.warning("%s brings no pictures to verify with", folder)
        return None
    with np.load(path) as held:
        images, expected = held["images"], held["float_labels"]
    result = Comparison(names=engine.labels.names)
    for index, (image, labels) in enumerate(zip(images, expected, strict=True)):
        result.frame_names.append(f"verify-{index}")
        result.agreement.append(float(100 * (engine(image) == labels).mean()))
    found = measured(result, "verify.npz", held_out=True)
    least = Gate().min_agreement - 1.5  # INT8 kernels round differently from backend to backend
    if found.agreement < least and engine.backend_name != "null":
        raise AccuracyGateFailed(
            f"the {engine.backend_name} plan agrees with the float labels on only "
            f"{found.agreement:.2f} % of the pixels; nothing was published",
            fix="build again from the recipe, with the data set at hand",
        )
    return found


class _Keeper:
    """Keeps a few pictures with their float labels and masks, spread over all."""

    def __init__(self, total: int) -> None:
        self._wanted = {index * total // VERIFY_FRAMES for index in range(VERIFY_FRAMES)}
        self._seen = 0
        self._kept: list[tuple[Pixels, Pixels, Pixels | None]] = []

    def see(self, image: Pixels, expected: Pixels, found: Pixels, mask: Pixels | None) -> None:
        """Keep this picture if it is one of the chosen, and of the first one's size."""
        del found
        if self._seen in self._wanted and (not self._kept or self._kept[0][0].shape == image.shape):
            self._kept.append((image, expected.copy(), mask))
        self._seen += 1

    def write(self, path: Path) -> None:
        """Write them as `images`, `float_labels` and, where there are masks, `truth`."""
        arrays = {
            "images": np.stack([image for image, _, _ in self._kept]),
            "float_labels": np.stack([expected for _, expected, _ in self._kept]),
        }
        masks = [mask for _, _, mask in self._kept if mask is not None]
        if len(masks) == len(self._kept):
            arrays["truth"] = np.stack(masks)
        np.savez_compressed(path, allow_pickle=False, **arrays)


def _check_against_original(recipe: Recipe, core: "ModelProto") -> None:
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
