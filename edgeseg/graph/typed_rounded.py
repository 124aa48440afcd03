"""What a typed graph computes, as a float32 graph that rounds to FP16 where the typed one does.

CPUs have no FP16 kernels: ONNX Runtime computes neighbouring FP16 nodes in float32 and leaves the
rounding between them out, so that nothing overflows there. This form shows what a GPU gives.
"""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgeseg.graph.nodes import attribute, initializer, replace_nodes
from edgeseg.graph.simulate import simulated
from edgeseg.graph.typed_precision import element_types

COPYING = frozenset(
    {"Reshape", "Transpose", "Concat", "Slice", "Gather", "Split", "Squeeze", "Unsqueeze",
     "Flatten", "Expand", "Identity", "DepthToSpace", "SpaceToDepth", "Pad", "MaxPool", "Relu",
     "Neg", "Clip", "Max", "Min", "DequantizeLinear"}
)  # fmt: skip
"""Ops whose result needs no rounding. Behind a DequantizeLinear TensorRT computes with integers."""

FP32, FP16 = TensorProto.FLOAT, TensorProto.FLOAT16


def rounded(model: ModelProto) -> ModelProto:
    """A copy of the typed graph `model`, float32 throughout, with the same names.

    What an FP16 node gives is rounded to FP16: 65520 and above become infinite. Sums inside one
    node stay float32, as TensorRT accumulates them.
    """
    types = element_types(model)
    copy = simulated(model)
    for item in copy.graph.initializer:
        if item.data_type == FP16:
            value = numpy_helper.to_array(item).astype(np.float32)
            item.CopyFrom(initializer(item.name, value))
    nodes: list[NodeProto] = []
    for node in copy.graph.node:
        if node.op_type == "Cast" and attribute(node, "to") == FP16:
            node.attribute[0].i = FP32
        nodes.append(node)
        for index, name in enumerate(node.output):
            if types.get(name) == FP16 and node.op_type not in COPYING:
                node.output[index] = f"{name}_unrounded"
                nodes.extend(_rounding(name))
    replace_nodes(copy, nodes)
    del copy.graph.value_info[:]
    return copy


def _rounding(name: str) -> list[NodeProto]:
    """From `name`_unrounded to `name`: there is no other way that ONNX Runtime leaves in."""
    half = f"{name}_rounded"
    return [
        helper.make_node("Cast", [f"{name}_unrounded"], [half], name=half, to=FP16),
        helper.make_node("Cast", [half], [name], name=f"{name}_widened", to=FP32),
    ]
