"""A graph becomes a plan: parsed, told how to be computed, built, and packed with what it is."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import tensorrt as trt

from edgeseg.backends.plans import packed
from edgeseg.backends.tensorrt import dla
from edgeseg.backends.tensorrt.fingerprint import cannot_start, gpu
from edgeseg.backends.tensorrt.log import LOG
from edgeseg.backends.tensorrt.network import frames_at_once, open_profile, parsed
from edgeseg.backends.tensorrt.progress import Progress, waited_for
from edgeseg.backends.tensorrt.refusal import Refusal, unbuilt
from edgeseg.backends.tensorrt.timing_cache import TimingCache
from edgeseg.backends.tensorrt.versions import (
    allow_later_versions,
    allow_precision,
    always_typed,
    dialect,
    refuse_unfit,
    set_optimization_level,
    watch,
)
from edgeseg.backends.tensorrt.workspace import (
    FALLBACK_SHARE,
    SMALLEST_MIB,
    host_memory,
    ran_out,
    shortage,
    workspace_mib,
)
from edgeseg.errors import BuildError, InputFileError, UsageError
from edgeseg.types import CompileOptions, OnProgress, Precision

TYPED_SUFFIX = ".typed.onnx"
"""How the file of a graph of the typed dialect ends."""
LEVELS = range(6)
BORDERS = ("uint8",)
"""Words of error lines that are about the uint8 input and output."""
MIB = 1 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One graph, and how it is to be built."""

    path: Path
    data: bytes
    io: Literal["uint8", "float"]
    """The type of the graph's borders."""
    options: CompileOptions
    workspace: int | None
    """Bytes; None is TensorRT's own limit."""
    on_progress: OnProgress | None

    @property
    def typed(self) -> bool:
        return self.path.name.endswith(TYPED_SUFFIX)


def compiled(graph: Path, options: CompileOptions, on_progress: OnProgress | None = None) -> bytes:
    """The plan of a frame graph, with its header.

    Raises:
        UsageError: options that contradict each other, or that this TensorRT does not have.
        DeviceError: no GPU, a TensorRT that does not start, or no DLA where one is asked for.
        BuildError: TensorRT refuses the graph, or memory runs out.
        InputFileError: the graph cannot be read.
    """
    refuse_unfit()
    _refuse_contradictions(graph, options)
    memory = host_memory()
    mib = workspace_mib(options.workspace_mib, memory, integrated=gpu().integrated)
    job = _Job(
        path=graph,
        data=_read(graph),
        io="uint8",
        options=options,
        workspace=None if mib is None else mib * MIB,
        on_progress=on_progress,
    )
    if warning := shortage(memory):
        log.warning("%s", warning)
    builder = _builder()
    if options.dla is not None:
        dla.refuse_unfit(builder, options)
    return _with_either_border(builder, job)


def _refuse_contradictions(graph: Path, options: CompileOptions) -> None:
    level = options.optimization_level
    if level is not None and level not in LEVELS:
        raise UsageError(f"there is no optimisation level {level}", fix="give one from 0 to 5")
    if options.gpu_fallback and options.dla is None:
        raise UsageError("--gpu-fallback is for a DLA, and none was asked for", fix="add --dla 0")
    if options.cameras < 1:
        raise UsageError(f"{options.cameras} cameras are none", fix="--cameras 1 or more")
    if options.cameras > 1 and options.dla is not None:
        raise UsageError(
            f"a DLA takes fixed shapes, and no {options.cameras} cameras",
            fix="leave --cameras or --dla out",
        )
    typed = graph.name.endswith(TYPED_SUFFIX)
    if typed and dialect() != "typed":
        raise BuildError(
            f"TensorRT {trt.__version__} has no strongly typed networks, which {graph.name} is for",
            fix="give it graph.onnx of the engine folder",
        )
    if typed and dla.wants_cache(options):
        raise BuildError(
            f"a DLA takes no Q/DQ in TensorRT {trt.__version__}, which {graph.name} holds",
            fix="give it the float graph and a calibration cache",
        )
    if always_typed() and not typed and options.precision is not Precision.FP32:
        log.warning(
            "TensorRT %s takes precision from the graph alone: outside Q/DQ, %s runs in float32",
            trt.__version__,
            graph.name,
        )


def _with_either_border(builder: trt.Builder, job: _Job) -> bytes:
    """The plan with uint8 borders; where TensorRT refuses those, one with float borders."""
    try:
        return _in_memory(builder, job)
    except Refusal as refusal:
        lines = refusal.lines.lower()
        remake = job.options.float_borders
        if remake is None or not any(word in lines for word in BORDERS):
            raise
        log.info("%s; once more with float32 borders", refusal.problem)
    plan = _in_memory(builder, replace(job, data=remake(job.data), io="float"))
    log.warning(
        "TensorRT %s takes no uint8 input or output: frames and labels are converted outside",
        trt.__version__,
    )
    return plan


def _in_memory(builder: trt.Builder, job: _Job) -> bytes:
    """The plan; where memory runs out, from one more attempt with a smaller workspace."""
    try:
        return _attempt(builder, job)
    except Refusal as refusal:
        if not ran_out(refusal.lines):
            raise
        before = job.workspace or _default_workspace(builder)
        smaller = max(before // FALLBACK_SHARE, SMALLEST_MIB * MIB)
        if smaller >= before:
            raise _out_of_memory(before, refusal) from refusal
        log.warning(
            "memory ran out with a workspace of %d MiB; once more with %d MiB",
            before // MIB,
            smaller // MIB,
        )
    try:
        return _attempt(builder, replace(job, workspace=smaller))
    except Refusal as refusal:
        if not ran_out(refusal.lines):
            raise
        raise _out_of_memory(smaller, refusal) from refusal


def _out_of_memory(workspace: int, refusal: Refusal) -> BuildError:
    """The end of the attempts, the last of which had `workspace` bytes."""
    return BuildError(
        f"memory ran out with a workspace of {workspace // MIB} MiB:\n{refusal.lines}",
        fix=shortage(host_memory())
        or "close other programs, add a swap file, or build for a smaller --frame or --size",
    )


def _default_workspace(builder: trt.Builder) -> int:
    config: trt.IBuilderConfig = builder.create_builder_config()
    return int(config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE))


def _attempt(builder: trt.Builder, job: _Job) -> bytes:
    """Parse and build once.

    Raises:
        Refusal: TensorRT did not; its own lines say why.
    """
    options = job.options
    config = _configured(builder, job)
    on_dla = options.dla is not None
    keep = parsed(builder, job.data, job.path, typed=job.typed, for_dla=config if on_dla else None)
    network: trt.INetworkDefinition = keep.network
    frames = frames_at_once(network, options.cameras)
    open_profile(builder, config, network, frames)
    calibrator = dla.prepare(network, config, options) if on_dla else None
    cache = TimingCache(options.timing_cache) if options.timing_cache else None
    if cache:
        cache.attach(config)
    body = _built(builder, network, config, job, keep, calibrator, cache)
    if cache:
        cache.keep(config)
    return packed(_header(job, body, frames), body)


def _configured(builder: trt.Builder, job: _Job) -> trt.IBuilderConfig:
    """Everything that TensorRT is told about the build but the shapes."""
    options = job.options
    config: trt.IBuilderConfig = builder.create_builder_config()
    if job.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, job.workspace)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else there is no layer table
    if options.precision is Precision.FP32:
        config.clear_flag(trt.BuilderFlag.TF32)  # 10 bits of mantissa are not what FP32 promises
    if not job.typed:
        allow_precision(config, options.precision)
    if options.version_compatible:
        allow_later_versions(config)
    if options.optimization_level is not None:
        set_optimization_level(config, options.optimization_level)
    if options.dla is not None:
        dla.put_on_dla(config, options)
    return config


def _built(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    job: _Job,
    *keep: object,
) -> bytes:
    """The plan's bytes; `keep` is what TensorRT uses until then, without owning it."""
    progress = Progress(job.on_progress)
    monitor = watch(config, progress)
    progress.can_cancel = monitor is not None
    work = partial(_serialized, builder, network, config, *keep, monitor)
    LOG.clear()
    plan: trt.IHostMemory = waited_for(work, progress)
    if plan is None:
        int8 = job.options.precision is Precision.INT8
        raise unbuilt(network, job.path.name, int8=int8)
    return bytes(plan)


def _serialized(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    *_keep: object,
) -> trt.IHostMemory:
    """What TensorRT builds; the thread that does holds all of it, for it may outlive its caller."""
    return builder.build_serialized_network(network, config)


def _header(job: _Job, body: bytes, frames: int) -> dict[str, object]:
    """What the runner has to know before it may touch the plan."""
    return {
        "io": job.io,
        "dla": job.options.dla,
        "cameras": frames,
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "tensorrt": str(trt.__version__),
        "graph": "typed" if job.typed else "wide",
        "version_compatible": job.options.version_compatible,
    }


def _builder() -> trt.Builder:
    LOG.clear()
    try:
        builder: trt.Builder = trt.Builder(LOG)
    except TypeError as error:
        raise cannot_start() from error
    if not trt.init_libnvinfer_plugins(LOG, ""):
        log.debug("TensorRT's plugins do not load; the graphs here need none")
    return builder


def _read(graph: Path) -> bytes:
    try:
        return graph.read_bytes()
    except OSError as error:
        raise InputFileError(
            f"{graph} cannot be read: {error.strerror or error}", fix="check the path"
        ) from error
