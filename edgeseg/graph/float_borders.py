"""The frame graph with float32 borders, for a TensorRT that refuses uint8 ones.

The frame is then float32 with the values 0..255, and so are the labels: whoever runs the graph
converts both, to the same labels.
"""

import json
from collections.abc import Mapping

from onnx import ModelProto, NodeProto, TensorProto, helper

from edgeseg.errors import BuildError
from edgeseg.graph.nodes import attribute, consumers, producers, replace_nodes
from edgeseg.graph.typed import KEPT, fp32_nodes_of

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8


def with_float_borders(model: bytes) -> bytes:
    """`float_bordered` of a serialised graph, serialised."""
    return bytes(float_bordered(ModelProto.FromString(model)).SerializeToString())


def float_bordered(model: ModelProto) -> ModelProto:
    """A copy of the frame graph `model`, of either dialect, without uint8 inputs and outputs.

    The Casts at the borders are left out; where one would change FP16 to bytes or back, it makes
    or takes float32. Borders keep their names and shapes; those that are float stay as they are.

    Raises:
        BuildError: a uint8 border without its Cast.
    """
    result = ModelProto()
    result.CopyFrom(model)
    for value in result.graph.input:
        if value.type.tensor_type.elem_type == UINT8:
            _take_floats(result, value.name)
            value.type.tensor_type.elem_type = FLOAT
    for value in result.graph.output:
        if value.type.tensor_type.elem_type == UINT8:
            _give_floats(result, value.name)
            value.type.tensor_type.elem_type = FLOAT
    del result.graph.value_info[:]
    _forget_what_is_gone(result)
    return result


def _take_floats(model: ModelProto, name: str) -> None:
    readers = consumers(model).get(name, [])
    if len(readers) != 1 or readers[0].op_type != "Cast":
        raise _no_cast(name)
    cast = readers[0]
    if attribute(cast, "to") == FLOAT:
        _without(model, cast, {cast.output[0]: name})


def _give_floats(model: ModelProto, name: str) -> None:
    made_by = producers(model)
    cast = made_by.get(name)
    before = made_by.get(cast.input[0]) if cast is not None and cast.op_type == "Cast" else None
    if cast is None or before is None:
        raise _no_cast(name)
    if before.op_type == "Cast" and attribute(before, "to") == FLOAT:
        _without(model, cast, {cast.input[0]: name})
    else:
        cast.attribute[0].i = FLOAT


def _without(model: ModelProto, cast: NodeProto, names: Mapping[str, str]) -> None:
    """Leave out `cast`, in place, and call tensors by `names` everywhere else."""
    nodes = [node for node in model.graph.node if node is not cast]
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    replace_nodes(model, nodes)


def _forget_what_is_gone(model: ModelProto) -> None:
    """Drop, in place, the nodes that were left out from those that a typed graph keeps in FP32."""
    held = {node.name for node in model.graph.node}
    properties = {item.key: item.value for item in model.metadata_props}
    if KEPT in properties:
        kept = {name: why for name, why in fp32_nodes_of(model).items() if name in held}
        helper.set_model_props(model, {**properties, KEPT: json.dumps(kept)})


def _no_cast(name: str) -> BuildError:
    return BuildError(
        f"the uint8 border {name} has no Cast of its own, so it cannot become a float",
        fix="build the engine again: its frame graph then has one",
    )
