"""The numbers of each QuantizeLinear and DequantizeLinear: scales, zero points, axes."""

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, helper

from edgeseg.graph.lint_rules import Finding, finding
from edgeseg.graph.lint_view import DQ, WEIGHTED, Q, View, key
from edgeseg.graph.nodes import attribute
from edgeseg.graph.quantize import WEIGHT_AXIS
from edgeseg.types import Array

NARROW = frozenset({"float8_e4m3fn", "float4_e2m1fn", "int4"})
"""Types that TensorRT 10 quantises to as well: other kernels, with other rules."""


def numbers(view: View, node: NodeProto) -> Iterator[Finding]:
    """What is wrong with the scale and the zero point of one Q or DQ."""
    if node.op_type not in {Q, DQ} or view.is_bias(node):
        return
    scale = view.constant(node.input[1])
    if scale is None:
        if view.tensorrt < (11, 0):
            yield finding("scale-constant", key(node))
    elif not np.all(np.isfinite(scale) & (scale > 0)):
        yield finding("scale-positive", key(node))
    elif scale.size > 1 and view.weight(node) is None:
        yield finding("activation-scale", key(node), count=scale.size)
    yield from _zero_point(view, node)


def weights(view: View, node: NodeProto) -> Iterator[Finding]:
    """What is wrong with the scales of the weight of a layer, and with its bias."""
    if node.op_type not in WEIGHTED:
        return
    if len(node.input) > 2 and view.dequantizer(node.input[2]) is not None:
        yield finding("bias", key(node))
    in_groups = node.op_type == "ConvTranspose" and attribute(node, "group", 1) != 1
    if in_groups and view.is_int8(node) and view.tensorrt < (10, 9):
        yield finding("grouped-deconvolution", key(node))
    maker = view.dequantizer(node.input[1])
    weight = view.weight(maker) if maker is not None else None
    scale = view.constant(maker.input[1]) if maker is not None else None
    if maker is None or weight is None or scale is None:
        return
    found, wanted = _axis(view, node, maker, weight.ndim), _wanted_axis(node, weight.ndim)
    if scale.size > 1 and found is not None and found != wanted:
        words = {"op": node.op_type, "axis": wanted, "found": found}
        yield finding("weight-axis", key(node), **words)
    if node.op_type == "Conv" and scale.size == 1 < weight.shape[0]:
        yield finding("weight-scale", key(node))


def _zero_point(view: View, node: NodeProto) -> Iterator[Finding]:
    name = node.input[2] if len(node.input) > 2 else ""
    zero = view.constant(name) if name else _implied(view, node)
    if name and zero is None:
        yield finding("zero-point-constant", key(node))
    elif zero is None:
        missing = "zero-point-missing" if view.tensorrt < (10, 0) else "zero-point-guessed"
        yield finding(missing, key(node))
    elif str(zero.dtype) in NARROW and view.tensorrt >= (10, 0):
        return
    elif zero.dtype != np.int8:
        yield finding("zero-point-type", key(node), kind=zero.dtype)
    elif np.any(zero):
        yield finding("zero-point-zero", key(node))


def _implied(view: View, node: NodeProto) -> Array | None:
    """The zero point that one without it has: a 0 of its integers' type; None for a guess.

    Of a pair, the Q says what is wrong.
    """
    if node.op_type == DQ:
        data = view.constant(node.input[0])
        return np.zeros((), np.int8 if data is None else data.dtype)
    kind = attribute(node, "output_dtype")  # since opset 21
    return np.zeros((), helper.tensor_dtype_to_np_dtype(kind)) if isinstance(kind, int) else None


def _wanted_axis(node: NodeProto, rank: int) -> int:
    """The axis of the output channels in the weight of `node`."""
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return WEIGHT_AXIS.get(node.op_type, rank - 1)


def _axis(view: View, node: NodeProto, maker: NodeProto, rank: int) -> int | None:
    """The axis of the scales as `node` sees its weight; None where it cannot be followed."""
    name, moves = node.input[1], []
    while (step := view.made_by[name]) is not maker:
        if step.op_type not in {"Cast", "Identity", "Transpose"}:
            return None
        if step.op_type == "Transpose":
            moves.append(_order(step, rank))
        name = step.input[0]
    axis = int(str(attribute(maker, "axis", 1))) % rank
    for order in reversed(moves):
        axis = order.index(axis)
    return axis


def _order(transpose: NodeProto, rank: int) -> list[int]:
    for item in transpose.attribute:
        if item.name == "perm":
            return list(item.ints)
    return list(reversed(range(rank)))
