"""Taking a frame graph apart again: its names are agreed, so the core can be found in it."""

import onnx
from onnx import ModelProto, TensorProto, helper

from edgeseg.graph.nodes import prune, shapes


def core_of(frame_graph: ModelProto) -> ModelProto:
    """The core between `pixels` and `logits` of a frame graph, quantised or not."""
    known = shapes(frame_graph)
    core = ModelProto()
    core.CopyFrom(frame_graph)
    nodes = [node for node in core.graph.node if "pixels" not in node.output]
    del core.graph.node[:], core.graph.input[:], core.graph.output[:], core.graph.value_info[:]
    core.graph.node.extend(nodes)
    for borders, name in ((core.graph.input, "pixels"), (core.graph.output, "logits")):
        borders.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, known[name]))
    prune(core)
    onnx.checker.check_model(core)
    return core
