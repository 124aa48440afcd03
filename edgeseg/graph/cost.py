"""What a graph costs: multiply-accumulates and parameters, counted from its shapes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from edgeseg.graph.nodes import attribute, constants, producers, shapes


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one picture at the graph's input size."""

    macs: int
    parameters: int
    macs_by_node: dict[str, int]


def cost_of(model: ModelProto) -> Cost:
    """MACs of the convolutions and matrix products, and the values of all their weights.

    A convolution has out_h * out_w * C_out * C_in / groups * k_h * k_w of them; biases, and
    everything that is no product with a weight, count as nothing, as is usual in the papers.
    """
    known, values, made_by = shapes(model), constants(model), producers(model)
    macs: dict[str, int] = {}
    parameters: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type not in {"Conv", "ConvTranspose", "Gemm", "MatMul"}:
            continue
        weight = _source(node.input[1], made_by)
        if weight not in values:
            continue
        shape = values[weight].shape
        for name in [weight, *[_source(name, made_by) for name in node.input[2:3]]]:
            if name in values:
                parameters[name] = values[name].size
        if node.op_type in {"Conv", "ConvTranspose"}:
            # Each weight value is used once per position: of the output, or of the input.
            place = node.output[0] if node.op_type == "Conv" else node.input[0]
            positions = math.prod(known[place][2:])
            macs[node.name] = positions * math.prod(shape)
        else:
            inner = shape[1] if attribute(node, "transB", 0) else shape[0]
            macs[node.name] = math.prod(known[node.output[0]]) * inner
    return Cost(macs=sum(macs.values()), parameters=sum(parameters.values()), macs_by_node=macs)


def _source(name: str, made_by: Mapping[str, NodeProto]) -> str:
    """The initialiser behind a chain of Cast, QuantizeLinear and DequantizeLinear."""
    node = made_by.get(name)
    while node is not None and node.op_type in {"Cast", "QuantizeLinear", "DequantizeLinear"}:
        name = node.input[0]
        node = made_by.get(name)
    return name
