"""The frame graph for several cameras: as many pictures at once as its first axis is long.

Every tensor that depends on the frame holds the pictures one after the other along its first axis,
with as many rows for each as the graph for one picture has there. Each operator is looked at: it
must treat those rows alike, or be written so that it does.
"""

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper

from edgeseg.graph.cameras_rules import COUNT, RULES, Pictures, called, unfit
from edgeseg.graph.nodes import consumers, producers, replace_nodes

CAMERAS = "cameras"
"""What the open first axis of input and outputs is called."""
STANDARD = frozenset({"", "ai.onnx"})


def for_cameras(model: bytes) -> bytes:
    """`batched` of a serialised graph, serialised."""
    return bytes(batched(ModelProto.FromString(model)).SerializeToString())


def batched(model: ModelProto) -> ModelProto:
    """A copy of `model`, a frame graph or a core of either dialect, whose first axis is open.

    Names stay, but for the constants of the nodes that are written anew. One picture gives what it
    gave before, and so does each of several.

    Raises:
        BuildError: a node that mixes pictures, or that cannot be written for more than one.
    """
    result = ModelProto()
    result.CopyFrom(model)
    pictures = Pictures(model)
    nodes: list[NodeProto] = []
    for node in result.graph.node:
        if pictures.carried.intersection(node.input):
            nodes.extend(_written_anew(node, pictures))
            pictures.carried.update(node.output)
        nodes.append(node)
    for value in (*result.graph.input, *result.graph.output):
        if value.name not in pictures.carried or pictures.size(value.name)[:1] != (1,):
            raise unfit(value.name, "has no first axis of 1, for one picture")
        value.type.tensor_type.shape.dim[0].dim_param = CAMERAS
    replace_nodes(result, nodes)
    if any(COUNT in node.input for node in nodes):
        _count(result, pictures)
    result.graph.initializer.extend(pictures.constants)
    del result.graph.value_info[:]
    onnx.checker.check_model(result, full_check=True)
    return result


def _written_anew(node: NodeProto, pictures: Pictures) -> list[NodeProto]:
    """What comes before `node`, which is changed in place so that it takes several pictures."""
    rule = RULES.get(node.op_type)
    if rule is None or node.domain not in STANDARD:
        raise unfit(called(node), "may mix the pictures of several cameras")
    return rule(pictures, node)


def _count(model: ModelProto, pictures: Pictures) -> None:
    """Add, in place, the nodes that count the pictures, as early as they can be."""
    border, at = str(model.graph.input[0].name), 0
    readers = consumers(model).get(border, [])
    if [reader.op_type for reader in readers] == ["Cast"]:
        # A uint8 input feeds its Cast and nothing else.
        border = str(readers[0].output[0])
        at = list(model.graph.node).index(producers(model)[border]) + 1
    ends = [
        pictures.constant(f"{COUNT}_{end}", np.array([index], np.int64))
        for index, end in enumerate(("from", "to"))
    ]
    whole = f"{CAMERAS}_shape"
    # Not a Shape with an end: parsers of TensorRT 8 overlook it.
    made = [
        helper.make_node("Shape", [border], [whole], name=whole),
        helper.make_node("Slice", [whole, *ends], [COUNT], name=COUNT),
    ]
    nodes = list(model.graph.node)
    replace_nodes(model, [*nodes[:at], *made, *nodes[at:]])
