"""The convolutions of a core as plain values: weights, and where each output looks."""

from collections.abc import Collection

import numpy as np
from onnx import ModelProto, NodeProto

from edgeseg.graph.nodes import attribute, constants
from edgeseg.graph.quantize import quantized_layers
from edgeseg.types import Convolution, Floats


def convolutions(core: ModelProto, *, keep: Collection[str] = ()) -> list[Convolution]:
    """The two-dimensional Conv layers that INT8 can compute, but for those named in `keep`."""
    values = constants(core)
    return [
        _convolution(node, np.asarray(values[node.input[1]], np.float32))
        for node in quantized_layers(core)
        if node.op_type == "Conv" and node.name not in keep and values[node.input[1]].ndim == 4
    ]


def _convolution(node: NodeProto, weight: Floats) -> Convolution:
    def numbers(name: str, default: list[int]) -> tuple[int, ...]:
        value = attribute(node, name, default)
        return tuple(int(each) for each in value) if isinstance(value, list) else tuple(default)

    auto = attribute(node, "auto_pad", b"NOTSET")
    return Convolution(
        name=node.name,
        reads=node.input[0],
        weight=weight,
        strides=numbers("strides", [1, 1]),
        dilations=numbers("dilations", [1, 1]),
        pads=numbers("pads", [0, 0, 0, 0]),
        same=auto.decode() if isinstance(auto, bytes) and auto.startswith(b"SAME") else None,
        groups=int(str(attribute(node, "group", 1))),
    )
