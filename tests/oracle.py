"""What the product is checked against: ONNX Runtime on plain graphs, and a little numpy."""

import numpy as np
import onnxruntime
from onnx import ModelProto

Array = np.ndarray


def run(model: ModelProto | bytes, feeds: dict[str, Array], *, optimized: bool = True) -> Array:
    """The first output of `model` in ONNX Runtime."""
    return run_all(model, feeds, optimized=optimized)[0]


def run_all(
    model: ModelProto | bytes, feeds: dict[str, Array], *, optimized: bool = True
) -> list[Array]:
    """All outputs of `model` in ONNX Runtime, one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def bilinear(planes: Array, size: tuple[int, int]) -> Array:
    """`planes` (C, h, w) at `size` in float64: half-pixel centres, edges repeated."""
    result = planes.astype(np.float64)
    for axis, wanted in ((1, size[0]), (2, size[1])):
        have = planes.shape[axis]
        at = np.clip((np.arange(wanted) + 0.5) * have / wanted - 0.5, 0, have - 1)
        below = np.floor(at).astype(int)
        above = np.minimum(below + 1, have - 1)
        shape = [1, 1, 1]
        shape[axis] = wanted
        share = (at - below).reshape(shape)
        result = result.take(below, axis) * (1 - share) + result.take(above, axis) * share
    return result


def labels_and_decided(logits: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """Class ids of `logits` (C, h, w) at `size`, and where the two best differ by over 1e-5."""
    full = bilinear(logits, size)
    second, first = np.sort(full, axis=0)[-2:]
    decided = first - second > 1e-5 * np.maximum(np.abs(first), np.abs(second))
    return full.argmax(0).astype(np.uint8), decided
