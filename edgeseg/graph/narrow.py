"""Weights of seven bits where an x86 CPU without VNNI would saturate in the middle of a sum.

Such a CPU multiplies U8 by S8 and adds two products in 16 bits (vpmaddubsw). Signed activations
are shifted by 128 for that, so two products reach 2 * 255 * 127 and are cut off; with weights up
to 63 they are not. Never-negative activations end at 127 and never reach the limit.
"""

import numpy as np
from onnx import ModelProto, NodeProto

from edgeseg.graph.nodes import attribute, constants, initializer, producers, prune
from edgeseg.graph.quantize import WEIGHT_AXIS
from edgeseg.graph.simulate import dequantized_weight
from edgeseg.types import Array

LARGEST = 63
FEW_CHANNELS = 4


def narrowed(model: ModelProto) -> ModelProto:
    """A copy of a Q/DQ graph with weights up to 63 in the layers that read signed activations.

    A layer of at most four input channels (the one that reads the picture) goes back to float:
    little work, and seven bits cost more there than anywhere else. Depthwise layers, which add
    nothing in 16 bits, and layers that read U8 stay as they are.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    values, made_by = constants(copy), producers(copy)
    for node in copy.graph.node:
        if node.op_type not in WEIGHT_AXIS:
            continue
        reads, weight = (_int8_source(name, made_by, values) for name in node.input[:2])
        if reads is None or weight is None or weight.input[0] not in values:
            continue
        stored = values[weight.input[0]]
        if node.op_type == "Conv" and stored.shape[1] == 1:
            continue
        channels = stored.shape[1] * int(str(attribute(node, "group", 1)))
        quantize = made_by.get(reads.input[0])
        few = node.op_type == "Conv" and channels <= FEW_CHANNELS
        if few and quantize is not None and quantize.op_type == "QuantizeLinear":
            name = f"{node.name}_float_weight"
            copy.graph.initializer.append(initializer(name, dequantized_weight(weight, values)))
            node.input[0], node.input[1] = quantize.input[0], name
        elif int(np.abs(stored.astype(np.int16)).max(initial=0)) > LARGEST:
            names = [f"{node.name}_narrow_{what}" for what in ("weight", "scale")]
            half = np.clip(np.rint(stored / 2), -LARGEST, LARGEST).astype(np.int8)
            scale = (values[weight.input[1]] * np.float32(2)).astype(np.float32)
            copy.graph.initializer.append(initializer(names[0], half))
            copy.graph.initializer.append(initializer(names[1], scale))
            weight.input[0], weight.input[1] = names
    prune(copy)
    return copy


def _int8_source(
    name: str, made_by: dict[str, NodeProto], values: dict[str, Array]
) -> NodeProto | None:
    """The DequantizeLinear of INT8 that makes a tensor, or None."""
    node = made_by.get(name)
    if node is None or node.op_type != "DequantizeLinear" or len(node.input) < 3:
        return None
    return node if values[node.input[2]].dtype == np.int8 else None
