"""The plan of one backend, compiled from the graphs of an engine folder."""

import logging
import tempfile
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from edgeseg.backends import backend
from edgeseg.backends.plans import unpacked
from edgeseg.engine import GRAPH, compiled
from edgeseg.errors import UsageError
from edgeseg.files import write_whole
from edgeseg.graphs import TYPED
from edgeseg.manifest import Manifest, Plan
from edgeseg.recipe import PlanOptions
from edgeseg.tables import needs
from edgeseg.types import CompileOptions, OnProgress, Precision

CACHE = Path("engines/.cache")
"""Where TensorRT's timing caches lie, one for each board and version."""

log = logging.getLogger(__name__)


def compiled_plan(
    stage: Path,
    manifest: Manifest,
    name: str,
    options: PlanOptions,
    on_progress: OnProgress | None = None,
) -> Plan:
    """Write `plan.NAME` of the graph that lies in `stage`; what the manifest says of it.

    Raises:
        UsageError: options of a GPU for a backend on a CPU.
        BuildError: the backend refuses the graph.
    """
    module = backend(name)
    refuse_options(name, options, smooth=manifest.smooth)
    if on_progress:
        on_progress(f"compile for {name}", 0, None)
    if name == "tensorrt":
        body = _for_gpu(stage, manifest, module, options, on_progress)
        note = _note(module, body)
    else:
        body = compiled(module, (stage / GRAPH).read_bytes(), manifest.precision)
        note = module.NOTE
    write_whole(stage / f"plan.{name}", body)
    return Plan(
        file=f"plan.{name}",
        fingerprint=module.fingerprint(),
        note=note,
        options=_given(options),
    )


def refuse_options(name: str, options: PlanOptions, *, smooth: float | None = None) -> None:
    """Raise UsageError where a backend cannot heed what it is told.

    One on a CPU takes nothing of how TensorRT compiles, and a graph that smooths has the state of
    one camera, which a DLA does not hold.
    """
    if name != "tensorrt" and (given := _given(options)):
        raise UsageError(
            f"{name} runs on a CPU and takes no {', '.join(given)}",
            fix="leave that out, or add --backend tensorrt",
        )
    if smooth is None:
        return
    if options.cameras > 1:
        raise UsageError(
            "with --smooth a launch takes the frame of one camera, whose state it is given",
            fix="leave --cameras out: one engine serves several cameras in turn",
        )
    if options.dla is not None:
        raise UsageError("a DLA does not blend a frame with the one before", fix="leave --dla out")


def _note(module: ModuleType, plan: bytes) -> str:
    """What the manifest says of a TensorRT `plan`: that bytes are converted outside, where so."""
    note: str = module.NOTE
    if unpacked(plan)[0].get("io") != "float":
        return note
    return f"{note}; this TensorRT takes no uint8, so both are float32 at the borders of the plan"


def _given(options: PlanOptions) -> dict[str, str]:
    """The options that are not what they are by default."""
    return {
        key: str(value)
        for key, value in options.model_dump().items()
        if value != PlanOptions.model_fields[key].default
    }


def _for_gpu(
    stage: Path,
    manifest: Manifest,
    module: ModuleType,
    options: PlanOptions,
    on_progress: OnProgress | None,
) -> bytes:
    with needs("graph"):
        from edgeseg.graph.float_borders import with_float_borders
    source = _graph_for(stage, manifest, module, options)
    told = CompileOptions(
        precision=manifest.precision,
        workspace_mib=options.workspace_mib,
        optimization_level=options.optimization_level,
        version_compatible=options.version_compatible,
        timing_cache=CACHE / module.timing_cache_name() if options.timing_cache else None,
        dla=options.dla,
        gpu_fallback=options.gpu_fallback,
        calibration_cache=source.cache,
        float_nodes=source.float_nodes,
        cameras=options.cameras,
        float_borders=with_float_borders,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / source.name
        path.write_bytes(source.graph)
        plan: bytes = module.compile(path, told, on_progress)
    return plan


class _Source(NamedTuple):
    """What TensorRT is given."""

    name: str
    """Of a file, which says the dialect."""
    graph: bytes
    cache: bytes | None = None
    """The scales of its tensors, where they are not in the graph."""
    float_nodes: frozenset[str] = frozenset()
    """What stays out of INT8 there."""


def _graph_for(
    stage: Path, manifest: Manifest, module: ModuleType, options: PlanOptions
) -> _Source:
    """The graph in the dialect that this TensorRT takes, for as many cameras as were asked for."""
    int8 = manifest.precision is Precision.INT8
    if options.dla is not None and int8 and module.dla_wants_cache():
        from edgeseg.dla import dla_parts

        return _Source(GRAPH, *dla_parts(stage, module.fingerprint()["version"]))
    name = GRAPH
    if manifest.precision is not Precision.FP32 and module.dialect(options.dla) == "typed":
        name = TYPED
        if not (stage / TYPED).is_file():
            _write_typed(stage, manifest)
    graph = (stage / name).read_bytes()
    if options.cameras > 1:
        with needs("graph"):
            from edgeseg.graph.cameras import for_cameras
        graph = for_cameras(graph)
    return _Source(name, graph)


def _write_typed(stage: Path, manifest: Manifest) -> None:
    """Make the typed graph in a folder that was built for a CPU."""
    with needs("graph"):
        from edgeseg.graph.load import load_model
        from edgeseg.graph.smooth import float_nodes
        from edgeseg.graph.typed import typed
    log.warning("%s is made now: nobody looked on pictures what overflows in FP16", TYPED)
    graph = load_model(stage / GRAPH)
    model = typed(graph, keep_fp32={**manifest.fp32_nodes, **float_nodes(graph)})
    write_whole(stage / TYPED, model.SerializeToString())
