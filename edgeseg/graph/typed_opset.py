"""The operators of the typed dialect: a wide graph written in opset 19."""

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper

from edgeseg.errors import BuildError
from edgeseg.graph.nodes import attribute, hoist_constants, initializer

TYPED_OPSET = 19
"""Of every graph in the typed dialect: the first in which Q/DQ scales may be FP16."""
IR_VERSION = 9
"""The one that came with opset 19."""
STANDARD = frozenset({"", "ai.onnx"})


def at_typed_opset(model: ModelProto) -> ModelProto:
    """A copy of `model` (opset 13 to 19) in opset 19, its Constant nodes made initialisers.

    Raises:
        BuildError: a newer opset, or control flow, whose inner graphs have types of their own.
    """
    raised = ModelProto()
    raised.CopyFrom(model)
    for entry in raised.opset_import:
        if entry.domain in STANDARD:
            if entry.version > TYPED_OPSET:
                raise BuildError(
                    f"the graph has opset {entry.version}, but at most {TYPED_OPSET} can be typed",
                    fix="export the network with opset 17",
                )
            entry.version = TYPED_OPSET
    raised.ir_version = max(raised.ir_version, IR_VERSION)
    hoist_constants(raised)
    del raised.graph.value_info[:]
    for node in raised.graph.node:
        _refuse_inner_graphs(node)
        if attribute(node, "axes") is not None and _takes_axes_as_input(node):
            _axes_to_input(raised, node)
        elif node.op_type == "Split" and len(node.input) < 2 and not attribute(node, "num_outputs"):
            # Opset 18 wants it spelt out.
            node.attribute.append(helper.make_attribute("num_outputs", len(node.output)))
    return raised


def schema_of(node: NodeProto) -> onnx.defs.OpSchema | None:
    """The definition of the operator of `node` in opset 19; None for one that is not standard."""
    if node.domain not in STANDARD or not onnx.defs.has(node.op_type, TYPED_OPSET):
        return None
    return onnx.defs.get_schema(node.op_type, TYPED_OPSET)


def _takes_axes_as_input(node: NodeProto) -> bool:
    schema = schema_of(node)
    return schema is not None and any(item.name == "axes" for item in schema.inputs)


def _axes_to_input(model: ModelProto, node: NodeProto) -> None:
    axes, name = np.asarray(attribute(node, "axes"), np.int64), f"{node.output[0]}_axes"
    kept = [item for item in node.attribute if item.name != "axes"]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.input.append(name)
    model.graph.initializer.append(initializer(name, axes))


def _refuse_inner_graphs(node: NodeProto) -> None:
    if any(item.HasField("g") for item in node.attribute):
        raise BuildError(
            f"{node.name or node.output[0]} ({node.op_type}) is control flow and cannot be typed",
            fix="export the network for one fixed size, without branches and loops",
        )
