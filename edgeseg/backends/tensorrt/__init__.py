"""TensorRT: the frame graph as an engine for an NVIDIA GPU, a Jetson's above all."""

from collections.abc import Mapping
from pathlib import Path

from edgeseg.backends.tensorrt import present  # isort: skip  # noqa: F401 - it says what is missing
from edgeseg.backends.tensorrt import builder, timing_cache, versions
from edgeseg.backends.tensorrt.fingerprint import fingerprint
from edgeseg.backends.tensorrt.versions import Dialect
from edgeseg.types import CompileOptions, OnProgress, Precision, Runner, RuntimeOptions

__all__ = [
    "NEEDS",
    "NOTE",
    "PRECISIONS",
    "compile",
    "dialect",
    "dla_wants_cache",
    "fingerprint",
    "load",
    "timing_cache_name",
]

PRECISIONS = frozenset(Precision)
NEEDS: frozenset[str] = frozenset()
NOTE = "the whole frame graph in TensorRT, from camera bytes to class ids"


def compile(graph: Path, options: CompileOptions, on_progress: OnProgress | None = None) -> bytes:
    """The plan of a frame graph; one of the typed dialect has a name that ends in .typed.onnx.

    Raises:
        UsageError: options that contradict each other, or that this TensorRT does not have.
        MissingPackage: neither pycuda nor cuda-bindings is installed.
        DeviceError: no GPU, a TensorRT that does not start, or no DLA where one is asked for.
        BuildError: TensorRT refuses the graph, or memory runs out.
    """
    return builder.compiled(graph, options, on_progress)


def load(
    plan: bytes,
    device: int = 0,
    *,
    workers: int = 1,
    threads: int | None = None,
    runtime: RuntimeOptions | None = None,
) -> Runner:
    """The runner of `plan`; its slots say how many frames run at once.

    Raises:
        EngineMismatch: a plan that was altered, or that this TensorRT does not take.
        DeviceError: no GPU, or too little memory on it.
    """
    del workers, threads
    from edgeseg.backends.tensorrt.runner import opened

    return opened(plan, device, runtime=runtime or RuntimeOptions())


def dialect(dla: int | None = None) -> Dialect:
    """The form of a graph in INT8 or FP16 that `compile` is to be given, for the GPU or a DLA.

    A DLA that takes its scales from a calibration cache is one of weakly typed networks.
    """
    if dla is not None and versions.has_calibrators():
        return "wide"
    return versions.dialect()


def dla_wants_cache() -> bool:
    """Whether INT8 on a DLA takes the float graph and a calibration cache, and no Q/DQ."""
    return versions.has_calibrators()


def timing_cache_name(here: Mapping[str, str] | None = None) -> str:
    """The file name of the timing cache for the fingerprint `here`; None is this machine's."""
    return timing_cache.timing_cache_name(fingerprint() if here is None else here)
