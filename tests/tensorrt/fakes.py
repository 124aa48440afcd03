"""A strict TensorRT on ONNX Runtime, with exactly the names of one recorded version.

    with fake_gpu() as gpu, fake_tensorrt("10.3.0", dla_cores=2) as module:
        from edgeseg.backends import tensorrt

`module.fake` is what tests count on: see fake_state.State. What TensorRT answers with False or None
is answered so; what it would not survive raises FakeTensorRTFault and stands in `faults`.
"""

import importlib.machinery
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from tests.tensorrt.fake_binding import Binding, Dims, Object, bound_class, enums_of
from tests.tensorrt.fake_builder import Builder, IOptimizationProfile, ITimingCache
from tests.tensorrt.fake_callbacks import (
    IErrorRecorder,
    IInt8Calibrator,
    IInt8EntropyCalibrator2,
    ILogger,
    IProfiler,
    IProgressMonitor,
    Logger,
    Profiler,
)
from tests.tensorrt.fake_config import IBuilderConfig
from tests.tensorrt.fake_context import NUMPY, IExecutionContext
from tests.tensorrt.fake_network import ILayer, INetworkDefinition, ITensor
from tests.tensorrt.fake_parser import OnnxParser, ParserError
from tests.tensorrt.fake_plan import HostMemory
from tests.tensorrt.fake_runtime import EngineInspector, ICudaEngine, Runtime
from tests.tensorrt.fake_state import Board, State
from tests.tensorrt.surface import surface

MADE: tuple[type, ...] = (
    Builder, EngineInspector, IBuilderConfig, ICudaEngine, IErrorRecorder, IExecutionContext,
    IInt8Calibrator, IInt8EntropyCalibrator2, ILayer, ILogger, INetworkDefinition,
    IOptimizationProfile, IProfiler, IProgressMonitor, ITensor, ITimingCache, Logger, OnnxParser,
    ParserError, Profiler, Runtime,
)  # fmt: skip
"""What does the work of each class; what it lacks raises NotImplementedError."""

CONSTANTS = {
    "float32": "FLOAT", "float16": "HALF", "bfloat16": "BF16", "int8": "INT8", "int32": "INT32",
    "int64": "INT64", "int4": "INT4", "uint8": "UINT8", "bool": "BOOL", "fp8": "FP8",
    "fp4": "FP4", "e8m0": "E8M0",
}  # fmt: skip
ITEM_BYTES = {
    "FLOAT": 4, "HALF": 2, "BF16": 2, "INT8": 1, "INT32": 4, "INT64": 8, "BOOL": 1, "UINT8": 1,
    "FP8": 1, "INT4": 0.5, "FP4": 0.5,
}  # fmt: skip
OURS = "edgeseg.backends.tensorrt"


@contextmanager
def fake_tensorrt(version: str, **board: Any) -> Iterator[ModuleType]:
    """Put the fake of `version` into sys.modules; `board` takes the fields of Board.

    Modules of edgeseg that imported another tensorrt are forgotten, before and after.
    """
    before = sys.modules.get("tensorrt")
    module = made_module(version, Board(**board))
    _forget_ours()
    sys.modules["tensorrt"] = module
    try:
        yield module
    finally:
        _forget_ours()
        del sys.modules["tensorrt"]
        if before is not None:
            sys.modules["tensorrt"] = before


def made_module(version: str, board: Board) -> ModuleType:
    """The module `tensorrt` of `version`, with its State as `fake`."""
    module: Any = ModuleType("tensorrt")
    module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
    module.__version__ = version
    found = surface(version)
    module.fake = State(surface=found, board=board, module=module)
    enums = enums_of(found)
    severity = enums.pop("ILogger.Severity")
    for name, made in enums.items():
        setattr(module, name, made)
    module.DataType.itemsize = property(lambda self: ITEM_BYTES.get(self.name))
    for name in found.constants:
        setattr(module, name, module.DataType(int(getattr(module.DataType, CONSTANTS[name]))))
    _add_classes(module)
    for owner in (module.ILogger, module.Logger):
        owner.Severity = severity
        for name, value in severity.__members__.items():
            setattr(owner, name, value)
    _add_functions(module)
    return module  # type: ignore[no-any-return]


def _add_classes(module: Any) -> None:
    module.Dims, module.IHostMemory = Dims, HostMemory
    work = {made.__name__: made for made in MADE}
    known = module.fake.surface.classes
    for name in sorted(set(known) - {"Dims", "IHostMemory"}, key=lambda n: bool(known[n].bases)):
        bases = tuple(getattr(module, base) for base in known[name].bases) or (Object,)
        made = bound_class(name, known[name], work.get(name, type(name, (), {})), bases, module)
        made._fake = module.fake  # type: ignore[attr-defined]
        assert isinstance(made, Binding)
        setattr(module, name, made)


def _add_functions(module: Any) -> None:
    def nptype(trt_type: Any) -> Any:
        if trt_type.name not in NUMPY:
            raise TypeError(f"Could not resolve TensorRT datatype to an equivalent: {trt_type}")
        return NUMPY[trt_type.name]

    def init_libnvinfer_plugins(logger: object, namespace: str) -> bool:
        del logger, namespace
        return True

    def get_nv_onnx_parser_version() -> int:
        major, minor, patch = module.fake.release[:3]
        return int(major * 10_000 + minor * 100 + patch)

    def volume(iterable: Any) -> int:
        return math.prod(iterable)

    functions = (nptype, init_libnvinfer_plugins, get_nv_onnx_parser_version, volume)
    for function in functions:
        setattr(module, function.__name__, function)


def _forget_ours() -> None:
    for name in [name for name in sys.modules if name == OURS or name.startswith(f"{OURS}.")]:
        del sys.modules[name]
    parent = sys.modules.get(OURS.rpartition(".")[0])
    if parent is not None and hasattr(parent, "tensorrt"):
        del parent.tensorrt
