"""What differs between TensorRT 8.6 and 11: found by looking for names, never by version number.

Each branch on a name of TensorRT that is not in every version stands here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import numpy as np
import tensorrt as trt

from edgeseg.backends.tensorrt.progress import Phases
from edgeseg.errors import EngineMismatch, UsageError
from edgeseg.types import Precision

REQUIRED = (
    "Builder",
    "BuilderFlag.TF32",
    "DataType.UINT8",
    "IExecutionContext.execute_async_v3",
    "IExecutionContext.set_input_shape",
    "IExecutionContext.set_tensor_address",
    "ILogger",
    "MemoryPoolType.WORKSPACE",
    "OnnxParser",
    "ProfilingVerbosity.DETAILED",
    "Runtime",
    "TensorIOMode.INPUT",
)
"""Names that nothing here works without; 8.4 lacks some, and one day a new version may."""

Dialect: TypeAlias = Literal["wide", "typed"]
"""graph.onnx, or graph.typed.onnx, in which every tensor has the type that it is computed in."""

DTYPES: dict[str, np.dtype[Any]] = {
    "FLOAT": np.dtype(np.float32),
    "HALF": np.dtype(np.float16),
    "INT8": np.dtype(np.int8),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
}
"""By the name of the DataType; NumPy has no BF16, FP8 and INT4."""


def has(name: str) -> bool:
    """Whether the installed TensorRT has `name`, such as "BuilderFlag.FP16"."""
    found: object = trt
    for part in name.split("."):
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def refuse_unfit() -> None:
    """Raise UsageError, naming what is missing, where this TensorRT is too old or too new."""
    missing = [name for name in REQUIRED if not has(name)]
    if missing:
        raise UsageError(
            f"TensorRT {trt.__version__} lacks {', '.join(missing)}, which edgeseg needs",
            fix="use TensorRT 8.6 to 11.4, which JetPack 6.0 and later bring, or another backend: "
            "--backend openvino or onnxruntime",
        )


def dialect() -> Dialect:
    """The form of a graph in INT8 or FP16 that this TensorRT is to be given."""
    return "typed" if has("NetworkDefinitionCreationFlag.STRONGLY_TYPED") else "wide"


def always_typed() -> bool:
    """Whether networks are strongly typed without being asked to be, as from 11.0."""
    return not has("BuilderFlag.FP16")


def network_flags(*, typed: bool) -> int:
    """What `create_network` is to be told for a graph of the typed dialect, or of the wide one."""
    flags = 0
    if has("NetworkDefinitionCreationFlag.EXPLICIT_BATCH"):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    if not typed or always_typed():
        return flags  # 11.0 still has the flag, deprecated and without effect
    if has("NetworkDefinitionCreationFlag.STRONGLY_TYPED"):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return flags


def allow_precision(config: trt.IBuilderConfig, precision: Precision) -> None:
    """Let a network that is not strongly typed compute in `precision`, where flags say so."""
    if precision is Precision.FP32:
        return
    if has("BuilderFlag.FP16"):
        config.set_flag(trt.BuilderFlag.FP16)
    if precision is Precision.FP16:
        return
    if has("BuilderFlag.INT8"):
        config.set_flag(trt.BuilderFlag.INT8)


def allow_later_versions(config: trt.IBuilderConfig) -> None:
    """Make the plan one that later versions load too.

    Raises:
        UsageError: this TensorRT makes no such plans.
    """
    if not has("BuilderFlag.VERSION_COMPATIBLE"):
        raise UsageError(
            f"TensorRT {trt.__version__} makes no version-compatible plans",
            fix="leave --version-compatible out, and build on each board",
        )
    config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)


def set_optimization_level(config: trt.IBuilderConfig, level: int) -> None:
    """Spend more or less time on choosing kernels.

    Raises:
        UsageError: this TensorRT has no levels.
    """
    if not has("IBuilderConfig.builder_optimization_level"):
        raise UsageError(
            f"TensorRT {trt.__version__} has no optimisation levels", fix="leave the level out"
        )
    config.builder_optimization_level = level


def share_profiles(config: trt.IBuilderConfig) -> None:
    """Let several contexts use the one optimisation profile, which is so by itself from 10.0 on."""
    if has("NetworkDefinitionCreationFlag.STRONGLY_TYPED"):
        return
    if has("PreviewFeature.PROFILE_SHARING_0806"):
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)


def monitor_of(phases: Phases) -> Any:
    """The IProgressMonitor that tells `phases`; None where TensorRT has none, as in 8.6."""
    if not has("IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.started(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return phases.stepped(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            phases.finished(phase_name)

    return Monitor()


def watch(config: trt.IBuilderConfig, phases: Phases) -> Any:
    """The monitor that a build with `config` reports to, to be kept; None where there is none."""
    monitor = monitor_of(phases)
    if monitor is None:
        return None
    if has("IBuilderConfig.progress_monitor"):
        config.progress_monitor = monitor
    return monitor


def has_calibrators() -> bool:
    """Whether INT8 scales can come from a calibration cache, as up to 10.16."""
    return has("IInt8EntropyCalibrator2")


def calibrator_of(cache: bytes) -> Any:
    """A calibrator that has `cache` and no pictures; the caller saw that there are calibrators."""
    if not has("IInt8EntropyCalibrator2"):
        return None

    class FromCache(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)  # without it the process dies

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> None:
            del names

        def read_calibration_cache(self) -> bytes:
            return cache

        def write_calibration_cache(self, cache: bytes) -> None:
            del cache

    return FromCache()


def calibrate_from(config: trt.IBuilderConfig, cache: bytes) -> Any:
    """The calibrator, to be kept, by which `config` takes INT8 scales from `cache`."""
    with _without_deprecations():
        calibrator = calibrator_of(cache)
        if has("IBuilderConfig.int8_calibrator"):
            config.int8_calibrator = calibrator
    return calibrator


def prefer_layer_precisions(config: trt.IBuilderConfig) -> None:
    """Let a build heed what `compute_in_half` said, but for layers without a kernel in FP16."""
    if has("BuilderFlag.PREFER_PRECISION_CONSTRAINTS"):
        config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)


def compute_in_half(layer: trt.ILayer) -> None:
    """Keep `layer` and what it gives out of INT8, where layers can be told, as up to 10.16."""
    if not has("ILayer.precision"):
        return
    with _without_deprecations():
        layer.precision = trt.DataType.HALF
        for index in range(layer.num_outputs):
            layer.set_output_type(index, trt.DataType.HALF)


def takes_qdq_on_dla() -> bool:
    """Whether a DLA takes a graph with Q/DQ, as from 11.4."""
    return not has_calibrators() and has("OnnxParserFlag.ADJUST_FOR_DLA")


def parse_for_dla(parser: trt.OnnxParser, config: trt.IBuilderConfig) -> None:
    """Let the parser shape Q/DQ for the DLA that `config` names, where it knows how to."""
    if not takes_qdq_on_dla():
        return
    if has("OnnxParser.set_builder_config"):
        parser.set_builder_config(config)
    if has("OnnxParserFlag.ADJUST_FOR_DLA"):
        parser.set_flag(trt.OnnxParserFlag.ADJUST_FOR_DLA)


def failing_node(error: trt.ParserError) -> tuple[str, str]:
    """Name and operator of the node that the parser refused; empty where it does not say."""
    if not has("ParserError.node_name"):
        return "", ""
    name = str(error.node_name() or "")
    if not has("ParserError.node_operator"):
        return name, ""
    return name, str(error.node_operator() or "")


def context_without_memory(engine: trt.ICudaEngine) -> Any:
    """An execution context whose activations lie where the caller says; None is a failure."""
    if has("ExecutionContextAllocationStrategy.USER_MANAGED"):
        return engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    if has("ICudaEngine.create_execution_context_without_device_memory"):
        return engine.create_execution_context_without_device_memory()
    return None


def activation_bytes(engine: trt.ICudaEngine) -> int:
    """How much memory a context without memory is to be given; can be 0."""
    if has("ICudaEngine.device_memory_size_v2"):
        return int(engine.device_memory_size_v2)
    if has("ICudaEngine.device_memory_size"):
        return int(engine.device_memory_size)
    return 0


def set_activation_memory(context: trt.IExecutionContext, pointer: int, nbytes: int) -> None:
    """Give a context without memory `nbytes` on the GPU; the caller keeps them until it is gone."""
    if has("IExecutionContext.set_device_memory"):
        context.set_device_memory(pointer, nbytes)
        return
    context.device_memory = pointer


def numpy_dtype(dtype: trt.DataType) -> np.dtype[Any]:
    """The NumPy type of a tensor that TensorRT says is of `dtype`.

    Raises:
        EngineMismatch: NumPy has no such type, as no border of an engine should have.
    """
    name: str = dtype.name
    if name not in DTYPES:
        raise EngineMismatch(
            f"a border of the engine is {name}, which NumPy cannot hold",
            fix="build the engine again from a graph whose input and output are uint8 or float32",
        )
    return DTYPES[name]


@contextmanager
def _without_deprecations() -> Iterator[None]:
    """No warnings of what is deprecated and yet, until 10.7, the only way to a DLA."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
