"""What our classes do with the real bindings; runs where `tensorrt` is one of them.

There is no libnvinfer: the factories of the bindings give TypeErrors, as without a GPU.
"""

import importlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.device.fakes import fake_gpu
from tests.tensorrt.record_surface import recorded, text_of

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "edgeseg" / "backends" / "tensorrt"


def report() -> str:
    """All of it as JSON; a package that drives the simulated GPU is a fake one."""
    import tensorrt

    warnings.simplefilter("error")
    with fake_gpu():
        modules = [path.stem for path in sorted(FOLDER.glob("*.py"))]
        for name in modules:
            importlib.import_module(f"edgeseg.backends.tensorrt.{name}")
        found = {
            "modules": modules,
            "surface": text_of(recorded(tensorrt)),
            "logger": _logger(tensorrt),
            "monitor": _monitor(tensorrt),
            "calibrator": _calibrator(tensorrt),
            "refusals": _refusals(),
            "behaviour": behaviour(tensorrt),
        }
    return json.dumps(found)


def behaviour(trt: Any) -> dict[str, str]:
    """What pybind11 makes of uses and misuses that a fake could easily be kinder to."""

    class Forgetful(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    half, dims, severity = trt.DataType.HALF, trt.Dims([1, 2]), trt.ILogger.Severity
    uses: dict[str, Callable[[], object]] = {
        "enum equals its number": lambda: half == 1,
        "constant equals its enum": lambda: trt.float16 == half,
        "constant is its enum": lambda: trt.float16 is half,
        "enum as text": lambda: [str(half), repr(half), half.name, half.value, int(half)],
        "enum of a number": lambda: trt.DataType(2).name,
        "enum as a dict key": lambda: {half: 1}[trt.float16],
        "enum as an index": lambda: "abc"[half],
        "enums in order": lambda: half < trt.DataType.INT8,
        "enums joined": lambda: trt.BuilderFlag.TF32 | trt.BuilderFlag.DEBUG,
        "severities in order": lambda: [severity.ERROR <= severity.WARNING, trt.Logger.ERROR.name],
        "bytes of types": lambda: sorted(
            (name, t.itemsize) for name, t in trt.DataType.__members__.items()
        ),
        "types of NumPy": lambda: [trt.nptype(t).__name__ for t in (half, trt.uint8, trt.bool)],
        "type without NumPy": lambda: trt.nptype(trt.DataType.FP8),
        "volume": lambda: trt.volume((2, 3)),
        "dims": lambda: [tuple(dims), len(dims), dims[1], dims[0:1], repr(dims)],
        "dims equal a tuple": lambda: [dims == (1, 2), dims == [1, 2], dims != (1, 2)],
        "dims equal dims": lambda: dims == trt.Dims([1, 2]),
        "dims of floats": lambda: trt.Dims([1.5]),
        "dims of text": lambda: trt.Dims("12"),
        "builder of nothing": lambda: trt.Builder(),
        "builder of None": lambda: trt.Builder(None),
        "builder with its name": lambda: trt.Builder(logger=trt.Logger()),
        "runtime": lambda: trt.Runtime(trt.Logger()),
        "config by hand": lambda: trt.IBuilderConfig(),
        "subclass without its base": lambda: Forgetful(),
        "flag of nothing": lambda: trt.IBuilderConfig.set_flag(None, trt.BuilderFlag.TF32),
        "unknown name": lambda: trt.ICudaEngine.no_such_name,
        "memory to read": lambda: trt.IExecutionContext.device_memory.fget is None,
        "logger on its own": lambda: isinstance(trt.Logger(trt.Logger.ERROR), trt.ILogger),
        "attribute of ours": lambda: setattr(trt.Logger(), "ours", 1),
        "number as a severity": lambda: trt.Logger(1),
    }
    return {name: _outcome(use) for name, use in uses.items()}


def _outcome(use: Callable[[], object]) -> str:
    """The value, or the name of the error."""
    try:
        return repr(use())
    except (AttributeError, RuntimeError, TypeError) as error:
        return type(error).__name__


def _logger(trt: Any) -> list[str]:
    from edgeseg.backends.tensorrt.log import Log

    log = Log()
    assert isinstance(log, trt.ILogger)
    for name in ("ERROR", "INTERNAL_ERROR", "WARNING", "INFO", "VERBOSE"):
        log.log(getattr(trt.ILogger.Severity, name), name)
    return log.last_errors().splitlines()


def _monitor(trt: Any) -> list[Any] | None:
    from edgeseg.backends.tensorrt import versions

    seen: list[Any] = []

    class Phases:
        def started(self, phase: str, parent: str | None, steps: int) -> None:
            seen.append(["started", phase, parent, steps])

        def stepped(self, phase: str, step: int) -> bool:
            seen.append(["stepped", phase, step])
            return step < 1

        def finished(self, phase: str) -> None:
            seen.append(["finished", phase])

    monitor = versions.monitor_of(Phases())
    if monitor is None:
        return None
    assert isinstance(monitor, trt.IProgressMonitor)
    monitor.phase_start("build", None, 2)
    seen.append([monitor.step_complete("build", 0), monitor.step_complete("build", 1)])
    monitor.phase_finish("build")
    return seen


def _calibrator(trt: Any) -> list[Any] | None:
    from edgeseg.backends.tensorrt import versions

    calibrator = versions.calibrator_of(b"scales")
    if calibrator is None:
        return None
    assert isinstance(calibrator, trt.IInt8EntropyCalibrator2)
    return [
        calibrator.get_algorithm().name,
        calibrator.get_batch_size(),
        calibrator.get_batch(["frame"]),
        bytes(calibrator.read_calibration_cache()).decode(),
    ]


def _refusals() -> list[list[Any]]:
    """How compile and fingerprint end where TensorRT does not start."""
    from edgeseg.backends import tensorrt as ours
    from edgeseg.errors import EdgesegError
    from edgeseg.types import CompileOptions

    found = []
    for call in (lambda: ours.compile(ROOT / "LICENSE", CompileOptions()), ours.fingerprint):
        try:
            call()
        except EdgesegError as error:
            found.append([type(error).__name__, str(error.__cause__), bool(error.fix)])
    return found
