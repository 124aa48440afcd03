"""Where Q/DQ stand: what TensorRT can fuse into one INT8 kernel, and what it cannot."""

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto

from edgeseg.graph.lint_rules import Finding, finding
from edgeseg.graph.lint_view import CASTS, COPYING, DQ, WEIGHTED, Q, View, key
from edgeseg.graph.nodes import attribute

ACTIVATIONS = frozenset(
    {"BatchNormalization", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish",
     "PRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Swish", "Tanh"}
)  # fmt: skip
"""What is fused into the convolution before it."""
FOLDED = CASTS | {"BatchNormalization"}
"""What is no kernel of its own behind a convolution."""
POOLS = frozenset({"AveragePool", "GlobalAveragePool"})


def weighted(view: View, node: NodeProto) -> Iterator[Finding]:
    """A layer with weights computes in INT8 where both of its inputs are quantised."""
    if node.op_type in WEIGHTED:
        first, second = (view.dequantizer(name) is not None for name in node.input[:2])
        if first != second:
            which = "first" if first else "second"
            yield finding("one-input", key(node), which=f"{which} alone")


def activation(view: View, node: NodeProto) -> Iterator[Finding]:
    """A Q/DQ pair on the way from a convolution to its activation."""
    if node.op_type != Q:
        return
    source = view.made(node.input[0], FOLDED)
    if source is None or source.op_type not in WEIGHTED:
        return
    behind = [op for back in view.readers(node.output[0]) for op in view.readers(back.output[0])]
    if any(reader.op_type in ACTIVATIONS for reader in behind):
        yield finding("activation", key(node))


def add(view: View, node: NodeProto) -> Iterator[Finding]:
    """An Add is done by the convolution before it, which reads the other input in INT8."""
    if node.op_type != "Add" or any(view.constant(name) is not None for name in node.input):
        return
    pairs = [_pair(view, name) for name in node.input]
    fusible = [_ends_in_add(view, name, node) for name in node.input]
    if all(pairs):
        if any(fusible):
            yield finding("add-branch", key(node))
        elif not _is_quantized_behind(view, node):
            yield finding("float-output", key(node), op="Add")
    elif any(pairs):
        quantized = 0 if pairs[0] else 1
        if fusible[quantized] and not fusible[1 - quantized]:
            yield finding("add-branch", key(node))


def joined(view: View, node: NodeProto) -> Iterator[Finding]:
    """Concat, Mul and average pooling, which compute in INT8 where all they touch is INT8."""
    if node.op_type not in {"Concat", "Mul", *POOLS}:
        return
    names = [name for name in node.input if view.constant(name) is None]
    found = [maker for name in names if (maker := view.dequantizer(name)) is not None]
    if found and len(found) < len(names):
        yield finding("some-inputs", key(node), op=node.op_type)
    elif found:
        if node.op_type == "Concat" and len({_scale(view, maker) for maker in found}) > 1:
            yield finding("concat-scales", key(node))
        if not _is_quantized_behind(view, node):
            yield finding("float-output", key(node), op=node.op_type)


def left_float(view: View, node: NodeProto) -> Iterator[Finding]:
    """What loses by INT8: interpolation and softmax."""
    if node.op_type in {"Resize", "Upsample"} and attribute(node, "mode", b"nearest") != b"nearest":
        if view.dequantizer(node.input[0]) is not None:
            yield finding("resize", key(node))
    elif node.op_type in {"Softmax", "LogSoftmax"} and view.dequantizer(node.input[0]) is not None:
        yield finding("softmax", key(node))


def pairs(view: View, node: NodeProto) -> Iterator[Finding]:
    """A Q without its DQ, a DQ without its Q, and a pair behind a pair."""
    if node.op_type == DQ:
        if view.weight(node) is None and view.quantizer(node) is None:
            yield finding("lone-dequantize", key(node))
    elif node.op_type == Q:
        readers = list(view.readers(node.output[0], COPYING))
        alone = not readers or node.output[0] in view.outputs
        if alone or any(reader.op_type != DQ for reader in readers):
            yield finding("lone-quantize", key(node))
        before = view.made(node.input[0])
        if before is not None and before.op_type == DQ:
            yield finding("double", key(node))


def _scale(view: View, maker: NodeProto) -> bytes | str:
    """What says whether two scales are equal: the bits, or the name of one that is computed."""
    scale = view.constant(maker.input[1])
    return maker.input[1] if scale is None else scale.astype(np.float32).tobytes()


def _pair(view: View, name: str) -> NodeProto | None:
    """The DQ that gives a tensor directly."""
    node = view.made(name)
    return node if node is not None and node.op_type == DQ else None


def _ends_in_add(view: View, name: str, add: NodeProto) -> bool:
    """Whether an input of `add` comes from a convolution that gives it to nothing else."""
    if (pair := _pair(view, name)) is not None:
        quantizer = view.quantizer(pair)
        if quantizer is None or list(view.readers(quantizer.output[0])) != [pair]:
            return False
        if list(view.readers(pair.output[0])) != [add]:
            return False
        name, add = quantizer.input[0], quantizer
    node = view.made(name, FOLDED)
    if node is None or node.op_type not in WEIGHTED:
        return False
    return list(view.readers(node.output[0], FOLDED)) == [add]


def _is_quantized_behind(view: View, node: NodeProto) -> bool:
    past = COPYING | CASTS | ACTIVATIONS
    return any(reader.op_type == Q for reader in view.readers(node.output[0], past))
