"""The backend that computes nothing: what is left is the loop around the network."""

from pathlib import Path

import numpy as np

from edgeseg.backends.plans import packed, refuse_gpu_options, spec, unpacked
from edgeseg.tables import needs
from edgeseg.types import CompileOptions, OnProgress, Precision, RuntimeOptions, Slot

PRECISIONS = frozenset(Precision)
NEEDS: frozenset[str] = frozenset()
NOTE = "nothing is computed: every label is 0"


def fingerprint() -> dict[str, str]:
    """Nothing ties a plan of this backend to a machine."""
    return {"backend": "null", "version": "1"}


def compile(graph: Path, options: CompileOptions, on_progress: OnProgress | None = None) -> bytes:
    """The shapes of the graph's borders."""
    del options, on_progress
    with needs("graph"):
        from onnx import load as load_onnx  # only to read two shapes

    borders = load_onnx(graph).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*borders.input, *borders.output)
    }
    return packed(shapes, b"")


def load(
    plan: bytes,
    device: int = 0,
    *,
    workers: int = 1,
    threads: int | None = None,
    runtime: RuntimeOptions | None = None,
) -> "NullRunner":
    """A runner with those borders."""
    del device, workers, threads
    refuse_gpu_options(runtime, "null")
    header, _ = unpacked(plan)
    return NullRunner(header)


class NullRunner:
    """Takes frames and gives labels of class 0."""

    def __init__(self, shapes: dict[str, list[int]]) -> None:
        self.inputs = {"frame": spec("frame", shapes["frame"])}
        self.outputs = {"labels": spec("labels", shapes["labels"])}

    def launch(self, slot: Slot) -> None:
        """Set every label to 0."""
        np.asarray(slot.labels).fill(0)

    def close(self) -> None:
        """Nothing to free."""
