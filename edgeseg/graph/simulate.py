"""The same arithmetic in float: what a Q/DQ graph means, free of what a CPU's INT8 kernels do."""

import numpy as np
from onnx import ModelProto, NodeProto

from edgeseg.graph.nodes import attribute, constants, initializer, prune, replace_nodes
from edgeseg.types import Array


def simulated(model: ModelProto) -> ModelProto:
    """A copy of a Q/DQ graph whose weights are float constants on the same INT8 grid.

    No backend finds an INT8 layer in it, so every one computes products and sums in float32: the
    exact result of integer arithmetic up to float rounding, also on CPUs whose own INT8 kernels
    saturate or halve the weights.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    values = constants(copy)
    nodes = []
    for node in copy.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in values:
            nodes.append(node)
            continue
        weight = initializer(node.output[0], dequantized_weight(node, values))
        copy.graph.initializer.append(weight)
    replace_nodes(copy, nodes)
    prune(copy)
    return copy


def dequantized_weight(node: NodeProto, values: dict[str, Array]) -> Array:
    """What a DequantizeLinear makes of its constants, as float32."""
    stored, scale = values[node.input[0]], values[node.input[1]]
    axis = int(str(attribute(node, "axis", 1))) % max(stored.ndim, 1)
    shape = [-1 if dim == axis else 1 for dim in range(stored.ndim)] if scale.ndim else []
    zero = values[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros_like(scale)
    centred = stored.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    weight: Array = centred * scale.astype(np.float32).reshape(shape)
    return weight
