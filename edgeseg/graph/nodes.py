"""Small questions about an ONNX graph, and small changes to it."""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgeseg.types import Array

OPSET = 17
"""Of every graph in the wide dialect: TensorRT 8.6 parses nothing newer."""


def constants(model: ModelProto) -> dict[str, Array]:
    """The initialisers and Constant nodes by name."""
    found = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def consumers(model: ModelProto) -> dict[str, list[NodeProto]]:
    """The nodes that read each tensor, in the order of the graph."""
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node)
    return readers


def producers(model: ModelProto) -> dict[str, NodeProto]:
    """The node that writes each tensor."""
    return {name: node for node in model.graph.node for name in node.output if name}


def attribute(node: NodeProto, name: str, default: object = None) -> object:
    """The value of an attribute of `node`, or `default`."""
    for item in node.attribute:
        if item.name == name:
            return helper.get_attribute_value(item)
    return default


def initializer(name: str, value: Array) -> TensorProto:
    """`value` as an initialiser."""
    # Not np.ascontiguousarray, which gives a scalar the shape (1,).
    return numpy_helper.from_array(np.asarray(value, order="C"), name)


def hoist_constants(model: ModelProto) -> None:
    """Turn Constant nodes into initialisers, in place."""
    values = constants(model)
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] in values:
            model.graph.initializer.append(initializer(node.output[0], values[node.output[0]]))
    replace_nodes(
        model,
        [n for n in model.graph.node if n.op_type != "Constant" or n.output[0] not in values],
    )


def prune(model: ModelProto) -> None:
    """Remove, in place, the nodes and initialisers that no output needs."""
    graph = model.graph
    needed = {output.name for output in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if any(name in needed for name in node.output):
            kept.append(node)
            needed.update(node.input)
    replace_nodes(model, reversed(kept))
    held = [item for item in graph.initializer if item.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(held)


def replace_nodes(model: ModelProto, nodes: Iterable[NodeProto]) -> None:
    """Make `nodes` the nodes of the graph, in place."""
    kept = list(nodes)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def tensor_shape(value: onnx.ValueInfoProto) -> tuple[int | str | None, ...]:
    """The dimensions of a value: numbers, names where symbolic, None where unknown."""
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
        for dim in value.type.tensor_type.shape.dim
    )


def shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """The shapes that inference finds, where they are all numbers."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    found: dict[str, tuple[int, ...]] = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        dims = tensor_shape(value)
        if dims and all(isinstance(dim, int) and dim > 0 for dim in dims):
            found[value.name] = tuple(int(dim) for dim in dims if isinstance(dim, int))
    for name, value in constants(model).items():
        found[name] = value.shape
    return found
