"""Weights of seven bits where an x86 CPU without VNNI would saturate in the middle of a sum.

Such a CPU multiplies U8 by S8 and adds two products in 16 bits (vpmaddubsw). Signed activations
are shifted by 128 for that, so two products reach 2 * 255 * 127 and are cut off; with weights up
to 63 they are not. Never-negative activations end at 127 and never reach the limit.
"""

import numpy as np
from onnx import ModelProto

from edgeseg.graph.nodes import constants, initializer, producers
from edgeseg.graph.quantize import WEIGHT_AXIS

LARGEST = 63


def narrowed(model: ModelProto) -> ModelProto:
    """A copy of a Q/DQ graph with weights up to 63 in the layers that read signed activations.

    Depthwise layers, which add nothing in 16 bits, and layers that read U8 stay as they are.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    values, made_by = constants(copy), producers(copy)
    for node in copy.graph.node:
        if node.op_type not in WEIGHT_AXIS:
            continue
        reads, weight = (made_by.get(name) for name in node.input[:2])
        if reads is None or weight is None or reads.op_type != "DequantizeLinear":
            continue
        stored = values.get(weight.input[0]) if weight.op_type == "DequantizeLinear" else None
        if stored is None or stored.dtype != np.int8 or values[reads.input[2]].dtype != np.int8:
            continue
        if node.op_type == "Conv" and stored.shape[1] == 1:
            continue
        if int(np.abs(stored.astype(np.int16)).max(initial=0)) <= LARGEST:
            continue
        half = np.clip(np.rint(stored / 2), -LARGEST, LARGEST).astype(np.int8)
        names = [f"{node.name}_narrow_{what}" for what in ("weight", "scale")]
        scale = values[weight.input[1]] * np.float32(2)
        copy.graph.initializer.extend(
            [initializer(names[0], half), initializer(names[1], scale.astype(np.float32))]
        )
        weight.input[0], weight.input[1] = names
    return copy


def narrow_bytes(graph: bytes) -> bytes:
    """`narrowed` of a serialised graph, serialised."""
    return bytes(narrowed(ModelProto.FromString(graph)).SerializeToString())
