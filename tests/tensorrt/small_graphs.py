"""The tiny network as frame graphs of every kind that TensorRT is given."""

from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto

from edgeseg.graph.cameras import for_cameras
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.quantize import activation_tensors, quantized
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.typed import typed
from edgeseg.types import PixelFormat, Size
from tests.networks import SIZE, tiny_core

FRAME = Size(60, 80)
SPEC = FrameSpec(
    size=FRAME,
    pixel_format=PixelFormat.RGB8,
    order="rgb",
    gain=(1 / 64, 1 / 50, 1 / 80),
    bias=(-2.0, -2.25, -1.5),
    mask_size=FRAME,
)


def written(folder: Path, kind: str) -> Path:
    """The file of the graph `kind`: float, int8, typed (INT8), cameras (float, open N) or small."""
    path = folder / ("graph.typed.onnx" if kind == "typed" else "graph.onnx")
    path.write_bytes(serialized(kind))
    return path


def broken(folder: Path, operator: str, name: str) -> Path:
    """The float graph with a node called `name` of an operator that no parser knows."""
    model = onnx.load_from_string(serialized("float"))
    node = next(node for node in model.graph.node if node.op_type == "Relu")
    node.op_type, node.name = operator, name
    path = folder / "graph.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@cache
def serialized(kind: str) -> bytes:
    if kind == "cameras":
        return for_cameras(serialized("float"))
    return bytes(_model(kind).SerializeToString())


def _model(kind: str) -> ModelProto:
    size = Size(24, 32) if kind == "small" else Size(*SIZE)
    core = fixed_core(tiny_core(size), size)
    if kind in {"float", "small"}:
        return frame_graph(core, SPEC)
    int8 = quantized(core, {name: 4.0 for name in activation_tensors(core)})
    graph = frame_graph(int8, SPEC)
    return typed(graph) if kind == "typed" else graph


def activations() -> list[str]:
    """The tensors of the float core that have a scale."""
    return activation_tensors(fixed_core(tiny_core(), Size(*SIZE)))


def calibration_cache(version: int = 100300) -> bytes:
    """A cache of the same scale, 4 / 127, for each of them."""
    scale = np.array([4 / 127], ">f4").tobytes().hex()
    lines = [f"TRT-{version}-EntropyCalibration2"]
    return "\n".join([*lines, *(f"{name}: {scale}" for name in activations())]).encode() + b"\n"
