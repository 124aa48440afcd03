"""Checking a graph against TensorRT's rules before any TensorRT sees it."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from edgeseg.graph.nodes import OPSET, attribute, constants, consumers, producers
from edgeseg.graph.quantize import WEIGHT_AXIS
from edgeseg.types import Array

ACTIVATIONS = frozenset({"Relu", "Clip", "LeakyRelu", "HardSwish", "Sigmoid"})
QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})


class Finding(NamedTuple):
    """One node that breaks one rule, and what that costs."""

    node: str
    rule: str
    cost: str


def lint(model: ModelProto) -> list[Finding]:
    """The nodes of `model` that break a rule, in the order of the graph; empty for a clean one."""
    return [*_uint8_borders(model), *_quantization(model), *_opset(model)]


def _uint8_borders(model: ModelProto) -> Iterator[Finding]:
    read_by, made_by = consumers(model), producers(model)
    for value in model.graph.input:
        if value.type.tensor_type.elem_type == TensorProto.UINT8:
            readers = read_by.get(value.name, [])
            if len(readers) != 1 or readers[0].op_type != "Cast":
                yield Finding(
                    value.name, "a uint8 input feeds one Cast and nothing else", "refused"
                )
    for value in model.graph.output:
        node = made_by.get(value.name)
        if value.type.tensor_type.elem_type != TensorProto.UINT8 or node is None:
            continue
        source = made_by.get(node.input[0])
        if node.op_type != "Cast" or source is None or not _casts_to_float(source):
            yield Finding(node.name, "uint8 is cast from a float, never from an integer", "refused")


def _casts_to_float(node: NodeProto) -> bool:
    return node.op_type == "Cast" and attribute(node, "to") == TensorProto.FLOAT


def _quantization(model: ModelProto) -> Iterator[Finding]:
    values, read_by, made_by = constants(model), consumers(model), producers(model)
    for node in model.graph.node:
        if node.op_type in QDQ:
            yield from _scale_and_zero(node, values)
        if node.op_type in {"Conv", "ConvTranspose"}:
            yield from _weighted(node, made_by, values)
        source = made_by.get(node.input[0]) if node.input else None
        if node.op_type == "QuantizeLinear" and source is not None:
            readers = [
                reader.op_type
                for back in read_by.get(node.output[0], [])
                for reader in read_by.get(back.output[0], [])
            ]
            if source.op_type in WEIGHT_AXIS and ACTIVATIONS.intersection(readers):
                yield Finding(node.name, "no Q/DQ between convolution and activation", "one kernel")
        if node.op_type == "Add" and all(_is_dequantized(name, made_by) for name in node.input):
            yield Finding(node.name, "only the residual input of an Add is quantised", "one kernel")
        if node.op_type == "Resize" and _is_dequantized(node.input[0], made_by):
            yield Finding(node.name, "Resize is left unquantised", "a reformat")


def _scale_and_zero(node: NodeProto, values: dict[str, Array]) -> Iterator[Finding]:
    scale = values.get(node.input[1])
    if scale is None or not np.all(np.isfinite(scale) & (scale > 0)):
        yield Finding(node.name, "scales are positive constants", "refused")
    if len(node.input) > 2:
        zero = values.get(node.input[2])
        if zero is None or zero.dtype != np.int8:
            kind = "none" if zero is None else str(zero.dtype)
            yield Finding(node.name, f"zero points are int8 (here {kind})", "refused")
        elif np.any(zero):
            yield Finding(node.name, "zero points are 0", "refused")


def _weighted(
    node: NodeProto,
    made_by: dict[str, NodeProto],
    values: dict[str, Array],
) -> Iterator[Finding]:
    both = [_is_dequantized(name, made_by) for name in node.input[:2]]
    if any(both) and not all(both):
        yield Finding(node.name, "both inputs of a weighted layer are quantised", "runs in float")
    if len(node.input) > 2 and _is_dequantized(node.input[2], made_by):
        yield Finding(node.name, "the bias is not quantised", "refused")
    weight = made_by.get(node.input[1])
    if weight is not None and weight.op_type == "DequantizeLinear":
        axis, scale = attribute(weight, "axis", 1), values.get(weight.input[1])
        if scale is not None and scale.size > 1 and axis != WEIGHT_AXIS[node.op_type]:
            yield Finding(node.name, f"weight axis is {WEIGHT_AXIS[node.op_type]}", "refused")


def _opset(model: ModelProto) -> Iterator[Finding]:
    for entry in model.opset_import:
        if entry.domain in {"", "ai.onnx"} and entry.version > OPSET:
            yield Finding("graph", f"opset {OPSET} is the newest of TensorRT 8.6", "refused there")


def _is_dequantized(name: str, made_by: dict[str, NodeProto]) -> bool:
    node = made_by.get(name)
    return node is not None and node.op_type == "DequantizeLinear"
