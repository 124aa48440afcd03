"""The small form in which a float core ships: weights in FP16, each behind a Cast."""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgeseg.graph.nodes import initializer, replace_nodes

SMALLEST = 64
"""Initialisers with fewer values stay as they are: shapes, scalars, pads."""


def half_stored(model: ModelProto) -> ModelProto:
    """A copy of `model` with its larger float32 initialisers stored as FP16 behind a Cast.

    It computes in float32 with weights rounded to FP16; the file has half the size.
    """
    small = ModelProto()
    small.CopyFrom(model)
    casts = []
    for index, item in enumerate(small.graph.initializer):
        value = numpy_helper.to_array(item)
        if value.dtype != np.float32 or value.size < SMALLEST:
            continue
        stored = f"{item.name}_fp16"
        casts.append(
            helper.make_node(
                "Cast", [stored], [item.name], name=f"widen_{item.name}", to=TensorProto.FLOAT
            )
        )
        small.graph.initializer[index].CopyFrom(initializer(stored, value.astype(np.float16)))
    replace_nodes(small, [*casts, *small.graph.node])
    del small.graph.value_info[:], small.metadata_props[:]
    for node in small.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    return small
