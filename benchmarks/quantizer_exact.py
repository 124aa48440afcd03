"""The exact float form of anybody's Q/DQ graph, for CPUs whose own INT8 kernels are not exact."""

import numpy as np
from onnx import ModelProto

from edgeseg.graph.nodes import attribute, constants, initializer, prune, replace_nodes
from edgeseg.types import Array

QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})


def exact(model: ModelProto) -> ModelProto:
    """A copy whose Q/DQ of constants are float constants: every runtime computes it in float.

    What `edgeseg.graph.simulate` does for our own graphs, here also with zero points, with weights
    that are quantised in the graph, and with quantised biases.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    values = constants(copy)
    nodes = []
    for node in copy.graph.node:
        if node.op_type in QDQ and all(name in values for name in node.input if name):
            operands = [values[name] for name in node.input if name]
            compute = _quantised if node.op_type == "QuantizeLinear" else _dequantised
            found = compute(*operands, axis=int(str(attribute(node, "axis", 1))))
            values[node.output[0]] = found
            copy.graph.initializer.append(initializer(node.output[0], found))
        else:
            nodes.append(node)
    replace_nodes(copy, nodes)
    prune(copy)
    return copy


def _quantised(value: Array, scale: Array, zero: Array | None = None, *, axis: int) -> Array:
    zero = np.zeros((), np.uint8) if zero is None else zero
    limits = np.iinfo(zero.dtype)
    steps = np.rint(value / _along(scale, value, axis)) + _along(zero, value, axis)
    return np.asarray(np.clip(steps, limits.min, limits.max), zero.dtype)


def _dequantised(stored: Array, scale: Array, zero: Array | None = None, *, axis: int) -> Array:
    steps = stored.astype(np.int64)
    if zero is not None:
        steps = steps - _along(zero, stored, axis)
    return np.asarray(steps.astype(np.float32) * _along(scale, stored, axis), np.float32)


def _along(parameter: Array, value: Array, axis: int) -> Array:
    """A scale or zero point in a shape that broadcasts over the `axis` of `value`."""
    if parameter.size == 1:
        return parameter.reshape(())
    shape = [1] * value.ndim
    shape[axis] = -1
    return parameter.reshape(shape)
