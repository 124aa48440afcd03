"""TensorRT: the row exists; compiling and running plans is not written yet, and says so."""

from pathlib import Path

import tensorrt

from edgeseg.errors import UsageError
from edgeseg.types import CompileOptions, OnProgress, Precision, Runner

PRECISIONS = frozenset(Precision)
NEEDS: frozenset[str] = frozenset()
NOTE = "not written yet"

MISSING = (
    "edgeseg does not compile or run TensorRT plans yet: the builder, the device memory and the "
    "device loop are missing, and none of it was ever run on a GPU"
)
REMEDY = (
    "build with --until graph: graph.onnx follows TensorRT's Q/DQ rules, and trtexec --onnx takes "
    "it; or use --backend openvino or onnxruntime"
)


def fingerprint() -> dict[str, str]:
    """Refuses: there is nothing to take the fingerprint of.

    Raises:
        UsageError: always, with what is missing.
    """
    raise UsageError(f"{MISSING} (TensorRT {tensorrt.__version__} is installed)", fix=REMEDY)


def compile(graph: Path, options: CompileOptions, on_progress: OnProgress | None = None) -> bytes:
    """Refuses, as `fingerprint` does."""
    del graph, options, on_progress
    raise UsageError(MISSING, fix=REMEDY)


def load(plan: bytes, device: int = 0, *, workers: int = 1, threads: int | None = None) -> Runner:
    """Refuses, as `fingerprint` does."""
    del plan, device, workers, threads
    raise UsageError(MISSING, fix=REMEDY)
