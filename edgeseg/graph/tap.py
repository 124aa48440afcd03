"""Making inner tensors of a graph visible, for calibration."""

from collections.abc import Sequence

import onnx
from onnx import ModelProto, TensorProto, helper


def tapped(model: ModelProto, names: Sequence[str]) -> ModelProto:
    """A copy of `model` whose outputs are exactly the float32 tensors `names`."""
    copy = ModelProto()
    copy.CopyFrom(model)
    inputs = {value.name for value in copy.graph.input}
    del copy.graph.output[:]
    for name in names:
        source = name
        if name in inputs:  # an input cannot be an output as well
            source = f"{name}_seen"
            copy.graph.node.append(helper.make_node("Identity", [name], [source], name=source))
        copy.graph.output.append(helper.make_tensor_value_info(source, TensorProto.FLOAT, None))
    return onnx.shape_inference.infer_shapes(copy)
