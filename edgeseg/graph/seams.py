"""Where OpenVINO's own passes move a QuantizeLinear past a Concat or stop at a MaxPool."""

import numpy as np
from onnx import ModelProto, NodeProto, helper

from edgeseg.graph.nodes import constants, consumers, producers, replace_nodes, shapes
from edgeseg.types import Array


def whole_concats(model: ModelProto) -> ModelProto:
    """A copy in which a signed QuantizeLinear behind a Concat stays behind it.

    OpenVINO moves it into the branches and rounds the never-negative ones to a few levels there
    (U-Net: 23 dB instead of 50 dB in one layer). A MaxPool of one pixel, between, stops it.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    values, made_by, known = constants(copy), producers(copy), shapes(copy)
    nodes: list[NodeProto] = []
    for node in copy.graph.node:
        maker = made_by.get(node.input[0]) if _is_signed(node, values) else None
        is_map = len(known.get(node.input[0], ())) == 4
        if maker is not None and maker.op_type == "Concat" and is_map:
            name = f"{node.name}_whole"
            pool = helper.make_node("MaxPool", node.input[:1], [name], name, kernel_shape=[1, 1])
            nodes.append(pool)
            node.input[0] = name
        nodes.append(node)
    replace_nodes(copy, nodes)
    return copy


def _is_signed(node: NodeProto, values: dict[str, Array]) -> bool:
    """Whether it is a QuantizeLinear to INT8; without a zero point it is one to UINT8."""
    if node.op_type != "QuantizeLinear" or len(node.input) < 3:
        return False
    return bool(values[node.input[2]].dtype == np.int8)


def pooled_as_integers(model: ModelProto) -> ModelProto:
    """A copy that quantises before a MaxPool, not behind it: the same numbers, in fewer bytes.

    A MaxPool that tells indices stays: equal integers would hide which was the largest.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    read_by, outputs = consumers(copy), {output.name for output in copy.graph.output}
    nodes: list[NodeProto] = []
    moved: set[str] = set()
    for node in copy.graph.node:
        if node.output[0] in moved:
            continue
        plain = node.op_type == "MaxPool" and len(node.output) == 1
        behind = _pair_behind(node, read_by) if plain else []
        if behind and node.output[0] not in outputs:
            quantize, dequantize = behind
            pooled, integers = dequantize.output[0], f"{node.name}_integers"
            quantize.input[0], dequantize.output[0] = node.input[0], integers
            node.input[0], node.output[0] = integers, pooled
            moved.update([quantize.output[0], integers])
            nodes += behind
        nodes.append(node)
    replace_nodes(copy, nodes)
    if moved:
        del copy.graph.value_info[:]  # some tensors hold other numbers now
    return copy


def _pair_behind(node: NodeProto, read_by: dict[str, list[NodeProto]]) -> list[NodeProto]:
    """The QuantizeLinear and the DequantizeLinear that alone read `node`, one after the other."""
    found = [node]
    for kind in ("QuantizeLinear", "DequantizeLinear"):
        readers = read_by.get(found[-1].output[0], [])
        if [reader.op_type for reader in readers] != [kind]:
            return []
        found += readers
    return found[1:]
