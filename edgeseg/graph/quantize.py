"""Explicit Q/DQ by TensorRT's placement rules: symmetric S8, zero point 0, weights per channel.

But for a ConvTranspose, whose weight has one scale: TensorRT's kernels take none for each output
channel (NVIDIA/TensorRT#2380; in #1519 and #1694 builds fail, or results are wrong), and one for
all is right whichever axis a version goes by.

Weighted layers have both inputs quantised and their outputs left alone; nothing stands between a
convolution and its activation; of an Add only the residual branch is quantised; biases stay float.
"""

import fnmatch
import hashlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, helper

from edgeseg.errors import BuildError
from edgeseg.graph.nodes import (
    attribute,
    constants,
    consumers,
    initializer,
    producers,
    prune,
    replace_nodes,
)
from edgeseg.types import Array, RoundedWeights

WEIGHT_AXIS = {"Conv": 0, "ConvTranspose": 1}
"""The axis of the output channels in the weight of each op that is quantised."""

LEVELS = 127


def activation_tensors(core: ModelProto, *, keep: Sequence[str] = ()) -> list[str]:
    """The tensors that need a range, in the order of the graph.

    `keep` are patterns of node names that stay float, such as `*classifier*`.
    """
    return list(dict.fromkeys(name for name, _, _ in _sites(core, keep)))


def quantized_layers(core: ModelProto) -> list[NodeProto]:
    """The nodes with weights that INT8 can compute, in the order of the graph."""
    weighted = {name for _, name, _ in _sites(core, ())}
    return [n for n in core.graph.node if n.name in weighted and n.op_type in WEIGHT_AXIS]


def quantized(
    core: ModelProto,
    amax: Mapping[str, float],
    *,
    keep: Sequence[str] = (),
    weights: Mapping[str, RoundedWeights] | None = None,
    per_tensor_deconv: bool = True,
) -> ModelProto:
    """A copy of `core` with Q/DQ on the inputs of its weighted layers and on residual branches.

    `weights` has by node name what was rounded beforehand; other weights go to the nearest
    integer, with the scale of the largest of each channel, or of the largest of all in a
    ConvTranspose that is `per_tensor_deconv`. All scales are numbers that FP16 holds.

    Raises:
        BuildError: a tensor without a usable range.
    """
    model = ModelProto()
    model.CopyFrom(core)
    values, rounded = constants(model), weights or {}
    sites = {(node, index) for _, node, index in _sites(core, keep)}
    made: dict[str, list[NodeProto]] = {}
    amax = _within_bounds(model, amax)
    for node in model.graph.node:
        for index, name in enumerate(list(node.input)):
            if (node.name, index) in sites:
                if name not in made:
                    made[name] = _activation_pair(model, name, amax)
                node.input[index] = f"{name}_dq"
        if (node.name, 0) in sites and node.op_type in WEIGHT_AXIS:
            _quantize_weight(model, node, values, made, rounded.get(node.name), per_tensor_deconv)
    _insert_after_producers(model, made)
    _drop_repeated_bounds(model)
    prune(model)
    return model


def step_of(amax: float) -> float:
    """The scale of an activation whose magnitude `amax` INT8 127 stands for."""
    return float(_held_by_half(np.asarray(amax / LEVELS)))


def quantization_hash(model: ModelProto) -> str:
    """SHA-256 of what was decided: Q/DQ positions, scales and integer weights, in any dialect."""
    values = constants(model)
    digest = hashlib.sha256()
    for node in model.graph.node:
        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
            continue
        digest.update(f"{node.op_type} {node.input[0]} {node.output[0]}".encode())
        digest.update(values[node.input[1]].astype(np.float32).tobytes())
        if node.input[0] in values:
            digest.update(values[node.input[0]].tobytes())
    return digest.hexdigest()


def is_kept(name: str, keep: Sequence[str]) -> bool:
    """Whether the node `name` stays float: it is one of `keep`, or matches a pattern among them."""
    return name in keep or any(fnmatch.fnmatch(name, pattern) for pattern in keep)


def _sites(core: ModelProto, keep: Sequence[str]) -> list[tuple[str, str, int]]:
    """(tensor, node name, input index) of each activation that gets a Q/DQ pair."""
    weights, made_by, read_by = constants(core), producers(core), consumers(core)
    names = {node.name for node in core.graph.node}
    patterns = [pattern for pattern in keep if pattern not in names]
    floats = {name for name in names if name in keep or is_kept(name, patterns)}
    sites = []
    for node in core.graph.node:
        if node.name in floats:
            continue
        if node.op_type in WEIGHT_AXIS and node.input[1] in weights:
            if node.op_type == "ConvTranspose" and attribute(node, "group", 1) != 1:
                continue  # TensorRT has no INT8 kernel for it
            sites.append((node.input[0], node.name, 0))
        elif node.op_type == "Add" and not any(name in weights for name in node.input):
            residual = _residual_index(node, made_by, read_by, floats)
            if residual is not None:
                sites.append((node.input[residual], node.name, residual))
    return sites


def _residual_index(
    node: NodeProto,
    made_by: Mapping[str, NodeProto],
    read_by: Mapping[str, list[NodeProto]],
    floats: Collection[str],
) -> int | None:
    """Which input of an Add is the residual: the other one comes straight from a convolution.

    None where neither does, or where it is one of `floats`: then there is no INT8 kernel for the
    Add to be fused into.
    """
    from_conv = [
        name in made_by
        and made_by[name].op_type in WEIGHT_AXIS
        and made_by[name].name not in floats
        and len(read_by[name]) == 1
        for name in node.input
    ]
    if all(from_conv):  # a projected shortcut: the later convolution takes the Add in
        order = list(made_by)
        return int(order.index(node.input[0]) > order.index(node.input[1]))
    return from_conv.index(False) if any(from_conv) else None


def _activation_pair(model: ModelProto, name: str, amax: Mapping[str, float]) -> list[NodeProto]:
    value = amax.get(name)
    if value is None or not np.isfinite(value) or value < 0:
        raise BuildError(
            f"the tensor {name!r} has no usable range (got {value})",
            fix="calibrate this graph again: remove its ranges.json",
        )
    scale, zero = f"{name}_scale", f"{name}_zero"
    step = np.asarray(step_of(value), np.float32)
    model.graph.initializer.extend(
        [initializer(scale, step), initializer(zero, np.zeros((), np.int8))]
    )
    quantize, dequantize = f"{name}_q", f"{name}_dq"
    return [
        helper.make_node("QuantizeLinear", [name, scale, zero], [quantize], name=quantize),
        helper.make_node(
            "DequantizeLinear", [quantize, scale, zero], [dequantize], name=dequantize
        ),
    ]


def _quantize_weight(
    model: ModelProto,
    node: NodeProto,
    values: Mapping[str, Array],
    made: dict[str, list[NodeProto]],
    rounded: RoundedWeights | None,
    per_tensor_deconv: bool,
) -> None:
    """Let `node` read its weight as INT8, in place; what makes it goes into `made`."""
    name, axis = node.input[1], WEIGHT_AXIS[node.op_type]
    one = per_tensor_deconv and node.op_type == "ConvTranspose"
    found = rounded or _nearest(values[name], None if one else axis)
    own = f"{name}_of_{node.name}" if rounded else name
    if own not in made:
        made[own] = [_weight_dq(model, own, found, axis)]
    node.input[1] = f"{own}_dq"
    if found.bias_shift.any():
        _shift_bias(model, node, values, found.bias_shift)


def _nearest(weight: Array, axis: int | None) -> RoundedWeights:
    """The nearest integers, with a scale for each channel of `axis`; None is one scale for all."""
    values = np.asarray(weight, np.float32)
    others = tuple(other for other in range(values.ndim) if other != axis)
    scales = _held_by_half(np.abs(values).max(others) / LEVELS)
    shape = [-1 if dim == axis else 1 for dim in range(values.ndim)]
    integers = np.clip(np.rint(values / scales.reshape(shape)), -LEVELS, LEVELS).astype(np.int8)
    return RoundedWeights(integers, scales, np.zeros_like(scales))


def _held_by_half(scales: Array) -> Array:
    """`scales` as FP16 holds them, and never 0."""
    smallest = np.finfo(np.float16).smallest_subnormal
    halves = np.maximum(np.asarray(scales, np.float32).astype(np.float16), smallest)
    return np.asarray(halves, np.float32)


def _weight_dq(model: ModelProto, name: str, weights: RoundedWeights, axis: int) -> NodeProto:
    stored, scale, zero = f"{name}_s8", f"{name}_scale", f"{name}_zero"
    model.graph.initializer.extend(
        [
            initializer(stored, weights.integers),
            initializer(scale, weights.scales),
            initializer(zero, np.zeros(weights.scales.shape, np.int8)),
        ]
    )
    node = helper.make_node(
        "DequantizeLinear", [stored, scale, zero], [f"{name}_dq"], name=f"{name}_dq"
    )
    if weights.scales.ndim:
        node.attribute.append(helper.make_attribute("axis", axis))
    return node


def _shift_bias(
    model: ModelProto, node: NodeProto, values: Mapping[str, Array], shift: Array
) -> None:
    """Add `shift` to the bias of `node`, in place; it stays float."""
    name = f"{node.name}_shifted_bias"
    has_bias = len(node.input) > 2 and bool(node.input[2])
    bias = np.asarray(values[node.input[2]], np.float32) + shift if has_bias else shift
    model.graph.initializer.append(initializer(name, bias))
    del node.input[2:]
    node.input.append(name)


def _insert_after_producers(model: ModelProto, made: Mapping[str, list[NodeProto]]) -> None:
    written = {name for node in model.graph.node for name in node.output}
    nodes = [node for name, pair in made.items() if name not in written for node in pair]
    for node in model.graph.node:
        nodes.append(node)
        for name in node.output:
            nodes.extend(made.get(name, []))
    replace_nodes(model, nodes)


def _drop_repeated_bounds(model: ModelProto) -> None:
    """Remove upper bounds, in place, where INT8 saturates at or below them anyway.

    A ReLU6 becomes a ReLU, a Min with constants goes. The integers are the same, bit for bit, and
    every backend fuses a ReLU best.
    """
    values, read_by = constants(model), consumers(model)
    gone: dict[str, str] = {}
    for node in model.graph.node:
        high = _upper_bound(node, values)
        readers = read_by.get(node.output[0], [])
        if high is None or [each.op_type for each in readers] != ["QuantizeLinear"]:
            continue
        if np.rint(high.min() / values[readers[0].input[1]]) < LEVELS:
            continue
        if node.op_type == "Clip":  # its bound is 127 already
            node.op_type = "Relu"
            del node.input[1:]
        else:
            gone[node.output[0]] = node.input[0]
            readers[0].input[0] = node.input[0]
    replace_nodes(model, [node for node in model.graph.node if node.output[0] not in gone])


def _within_bounds(model: ModelProto, amax: Mapping[str, float]) -> dict[str, float]:
    """`amax`, but of a tensor that ends at a bound for each channel never above the least."""
    values, capped = constants(model), dict(amax)
    for node in model.graph.node:
        high = _upper_bound(node, values)
        if high is not None and node.output[0] in capped:
            capped[node.output[0]] = min(capped[node.output[0]], float(high.min()))
    return capped


def _upper_bound(node: NodeProto, values: Mapping[str, Array]) -> Array | None:
    """What a Clip from 0, or a Min with constants, lets through at most."""
    if node.op_type == "Clip" and len(node.input) == 3 and values.get(node.input[1]) == 0:
        return values.get(node.input[2])
    if node.op_type == "Min" and len(node.input) == 2:
        return values.get(node.input[1])
    return None
