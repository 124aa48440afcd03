"""A Q/DQ graph without its rounding: what is left to compare two dialects by.

One activation that is rounded the other way changes many in the next layer: after some fifty
layers two INT8 runs that differ by float rounding alone give other labels on some 0.4 % of the
pixels. What FP16 adds to that shows only where nothing is rounded to integers.
"""

import numpy as np
from onnx import ModelProto, NodeProto, helper

from edgeseg.graph.nodes import constants, initializer, producers, prune, replace_nodes
from edgeseg.graph.simulate import simulated


def unrounded(model: ModelProto) -> ModelProto:
    """A copy of the wide `model` in which each Q/DQ pair on an activation only saturates.

    The Clip that takes a pair's place has the name and the output of its DequantizeLinear.
    """
    copy = simulated(model)
    values, made_by = constants(copy), producers(copy)
    nodes: list[NodeProto] = []
    for node in copy.graph.node:
        source = made_by.get(node.input[0]) if node.input else None
        is_pair = node.op_type == "DequantizeLinear" and source is not None
        if not is_pair or source is None or source.op_type != "QuantizeLinear":
            nodes.append(node)
            continue
        zero = values[node.input[2]] if len(node.input) > 2 else np.zeros((), np.uint8)
        bounds = np.iinfo(zero.dtype)
        names = [f"{node.output[0]}_{end}" for end in ("least", "most")]
        for name, integer in zip(names, (bounds.min, bounds.max), strict=True):
            held = (integer - zero.astype(np.float32)) * values[node.input[1]]
            copy.graph.initializer.append(initializer(name, held.astype(np.float32).reshape(())))
        nodes.append(
            helper.make_node("Clip", [source.input[0], *names], list(node.output), name=node.name)
        )
    replace_nodes(copy, nodes)
    prune(copy)
    return copy
