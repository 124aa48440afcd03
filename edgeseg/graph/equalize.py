"""Cross-layer equalisation: channels are scaled so that one INT8 step suits all of a tensor.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction", section 4.1. Theirs evens out the weights of two layers; here weights have a scale
per output channel anyway, so the activations are evened out: fully where only depthwise layers
read them, which costs nothing, and half way where the weights that read them lose by it.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgeseg.graph.channels import FIXED, Channels, channels_of
from edgeseg.graph.nodes import attribute, constants, initializer, prune, replace_nodes
from edgeseg.graph.quantize import WEIGHT_AXIS, activation_tensors
from edgeseg.types import Array

HALF_WAY = 0.5
"""The exponent of the factors where dense layers read a tensor: in the middle, as in the paper."""
MOST = 64.0
"""By which a channel is scaled at most: a silent one is not blown up."""


def equalizable_tensors(core: ModelProto) -> list[str]:
    """The quantised tensors with at least one channel that can be scaled."""
    groups = channels_of(core).of
    return [
        name
        for name in activation_tensors(core)
        if name in groups and (groups[name] != FIXED).any()
    ]


def peaks_graph(core: ModelProto, names: Sequence[str]) -> ModelProto:
    """A copy of `core` that gives the largest magnitude of each channel of `names`, (1, C, 1, 1).

    The outputs are called as the tensors, with `_peak` behind.
    """
    copy = ModelProto()
    copy.CopyFrom(core)
    del copy.graph.output[:]
    for name in names:
        copy.graph.node.extend(
            [
                helper.make_node("Abs", [name], [f"{name}_abs"], name=f"{name}_abs"),
                helper.make_node(
                    "ReduceMax", [f"{name}_abs"], [f"{name}_peak"], name=f"{name}_peak", axes=[2, 3]
                ),
            ]
        )
        copy.graph.output.append(
            helper.make_tensor_value_info(f"{name}_peak", TensorProto.FLOAT, None)
        )
    return onnx.shape_inference.infer_shapes(copy)


def equalized(
    core: ModelProto, peaks: Mapping[str, Array], *, unsure: Collection[str] = ()
) -> ModelProto:
    """A copy of `core` that computes the same with channels scaled for INT8.

    `peaks` has the largest magnitude of each channel, (C,), of the `equalizable_tensors`; those
    that are `unsure` keep their channels, and so does what has channels in common with them. A
    ReLU6 whose channels are scaled becomes a ReLU and a Min with a bound for each channel; once
    quantised, INT8 itself saturates there and `quantized` drops the Min.
    """
    channels = channels_of(core)
    factors = _factors(core, channels, peaks, frozenset(unsure))
    copy = ModelProto()
    copy.CopyFrom(core)
    factor_of = {name: factors[groups] for name, groups in channels.of.items()}
    _scale_weights(copy, factor_of)
    _scale_bounds(copy, factor_of)
    prune(copy)
    return copy


def _factors(
    core: ModelProto, channels: Channels, peaks: Mapping[str, Array], unsure: frozenset[str]
) -> Array:
    """The scale of every group: never below 1, so that no bound comes below its own."""
    count = 1 + max((int(groups.max()) for groups in channels.of.values()), default=0)
    factors = np.ones(count)
    dense = _read_by_dense_layers(core)
    for tensors in _components(channels, peaks):
        if unsure.intersection(tensors):
            continue
        peak = np.zeros(count)
        for name in tensors:
            np.maximum.at(peak, channels.of[name], peaks[name])
        peak[FIXED] = 0.0
        seen = peak > 0
        strength = HALF_WAY if dense.intersection(tensors) else 1.0
        factors[seen] = np.minimum(peak.max() / peak[seen], MOST) ** strength
    return factors


def _read_by_dense_layers(core: ModelProto) -> set[str]:
    values = constants(core)
    return {
        node.input[0]
        for node in core.graph.node
        if node.op_type in WEIGHT_AXIS
        and node.input[1] in values
        and (node.op_type == "ConvTranspose" or values[node.input[1]].shape[1] > 1)
    }


def _components(channels: Channels, peaks: Mapping[str, Array]) -> list[list[str]]:
    """Tensors that share groups, together."""
    components: list[tuple[set[int], list[str]]] = []
    for name in peaks:
        groups = {int(group) for group in channels.of[name]} - {FIXED}
        names = [name]
        for other in [each for each in components if each[0] & groups]:
            components.remove(other)
            groups |= other[0]
            names = other[1] + names
        components.append((groups, names))
    return [names for _, names in components]


def _scale_weights(model: ModelProto, factor_of: Mapping[str, Array]) -> None:
    """Divide what reads a scaled channel by its factor and multiply what makes it, in place."""
    values = constants(model)
    for node in model.graph.node:
        if node.op_type not in WEIGHT_AXIS or node.input[1] not in values:
            continue
        into = factor_of.get(node.input[0])
        out = factor_of.get(node.output[0])
        if (into is None or (into == 1).all()) and (out is None or (out == 1).all()):
            continue
        weight = np.asarray(values[node.input[1]], np.float64)
        weight = _rescaled(node, weight, into, out)
        # Its module is still the start of its name.
        name = f"{node.input[1]}_equalized_{node.name.replace('.', '_')}"
        model.graph.initializer.append(initializer(name, weight.astype(np.float32)))
        node.input[1] = name
        if len(node.input) > 2 and node.input[2] and out is not None:
            bias = np.asarray(values[node.input[2]], np.float64) * out
            name = f"{node.name}_equalized_bias"
            model.graph.initializer.append(initializer(name, bias.astype(np.float32)))
            node.input[2] = name


def _rescaled(node: NodeProto, weight: Array, into: Array | None, out: Array | None) -> Array:
    group = int(str(attribute(node, "group", 1)))
    if node.op_type == "ConvTranspose":
        weight = weight if into is None else weight / into[:, None, None, None]
        return weight if out is None else weight * out[None, :, None, None]
    if into is not None:
        each = into.reshape(group, 1, weight.shape[1], 1, 1)
        weight = (weight.reshape(group, -1, *weight.shape[1:]) / each).reshape(weight.shape)
    return weight if out is None else weight * out[:, None, None, None]


def _scale_bounds(model: ModelProto, factor_of: Mapping[str, Array]) -> None:
    """Make each Clip of scaled channels a ReLU and a Min with a bound a channel, in place."""
    values = constants(model)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes.append(node)
        factor = factor_of.get(node.output[0]) if node.op_type == "Clip" else None
        if factor is None or (factor == 1).all():
            continue
        high = np.float32(values[node.input[2]]) * factor.astype(np.float32)
        bound, inner = f"{node.output[0]}_bound", f"{node.output[0]}_relu"
        model.graph.initializer.append(initializer(bound, high.reshape(1, -1, 1, 1)))
        nodes[-1] = helper.make_node("Relu", [node.input[0]], [inner], name=f"{node.name}_relu")
        nodes.append(helper.make_node("Min", [inner, bound], [node.output[0]], name=node.name))
    replace_nodes(model, nodes)
