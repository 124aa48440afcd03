"""A file that is quantised already: recognised, never quantised again, and its float form."""

from collections.abc import Iterator, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, helper

from edgeseg.errors import InputFileError, UsageError
from edgeseg.graph.nodes import (
    attribute,
    constants,
    initializer,
    producers,
    prune,
    replace_nodes,
)
from edgeseg.types import Array

QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
INTEGER_OPS = frozenset({"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"})
KEEPS_VALUES = frozenset(
    {"MaxPool", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather",
     "Expand", "Identity", "DepthToSpace", "SpaceToDepth"}
)  # fmt: skip
"""What may stand between a Q and its DQ: these give their integers on as they are."""

Grid = tuple[bytes, bytes]
"""Scale and zero point, to be compared."""


def is_quantized(model: ModelProto) -> bool:
    """Whether activations of `model` are integers; weights alone are only stored that way."""
    values = constants(model)
    return any(
        _has_integer_arithmetic(node)
        or (node.op_type == "QuantizeLinear" and node.input[0] not in values)
        for node in model.graph.node
    )


def refuse_second_quantization(name: str, *, int8: bool, given: Sequence[str]) -> None:
    """Raise a UsageError unless the quantised file `name` is wanted as INT8 and as it is.

    `given` are the options of quantisation that were named, without dashes.
    """
    if not int8:
        raise UsageError(
            f"{name} is INT8 already: it holds QuantizeLinear nodes",
            fix="add --int8 to compile it as it is, or give the float network",
        )
    if given:
        raise UsageError(
            f"{name} is INT8 already and is not quantised again: --{given[0]} has no use",
            fix=f"leave --{given[0]} out to compile it as it is, or give the float network",
        )


def float_form(model: ModelProto) -> ModelProto:
    """A copy of `model` without Q/DQ: its weights are float constants, nothing is rounded.

    Values still end where the integers end: exporters leave out a ReLU or ReLU6 that coincides
    with that. So it differs from `model` by rounding alone. A float model comes back as it is.

    Raises:
        InputFileError: integers that no pair of QuantizeLinear and DequantizeLinear explains.
    """
    copy = explicit_zero_points(model)
    _refuse_unexplained(copy)
    if copy is model:
        return model
    values = constants(copy)
    floats: dict[str, str] = {}  # what stands for a tensor that is no more
    nodes: list[NodeProto] = []
    for node in copy.graph.node:
        is_constant = bool(node.input) and node.input[0] in values
        node.input[:] = [floats.get(name, name) for name in node.input]
        if node.op_type == "DequantizeLinear" and is_constant:
            weight = _dequantized(node, values)
            copy.graph.initializer.append(initializer(node.output[0], weight))
        elif node.op_type in QDQ:
            ends = [] if is_constant else _ends(copy, node, values)
            nodes += ends
            floats[node.output[0]] = ends[-1].output[0] if ends else node.input[0]
        else:
            nodes.append(node)
    for output in copy.graph.output:
        if output.name in floats:
            nodes.append(helper.make_node("Identity", [floats[output.name]], [output.name]))
    del copy.graph.value_info[:]  # some of them speak of integers
    replace_nodes(copy, nodes)
    prune(copy)
    return copy


def explicit_zero_points(model: ModelProto) -> ModelProto:
    """A copy of `model` in which every Q and DQ of a constant scale names its zero point.

    A model without any comes back as it is.
    """
    if not any(node.op_type in QDQ for node in model.graph.node):
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    values, made_by = constants(copy), producers(copy)
    for node in copy.graph.node:
        if node.op_type not in QDQ or (len(node.input) > 2 and node.input[2]):
            continue
        if (scale := values.get(node.input[1])) is None:
            continue
        kind = _integers_of(node, values, made_by)
        name = f"{node.output[0]}_no_zero"
        copy.graph.initializer.append(initializer(name, np.zeros(scale.shape, kind)))
        node.input[:] = [*node.input[:2], name]
    return copy


def _has_integer_arithmetic(node: NodeProto) -> bool:
    return node.op_type.startswith("QLinear") or node.op_type in INTEGER_OPS


def _integers_of(
    node: NodeProto, values: dict[str, Array], made_by: dict[str, NodeProto]
) -> np.dtype[np.generic]:
    """The type of the integers that a Q makes or a DQ reads, where no zero point says it."""
    source: NodeProto | None = node
    if node.op_type == "DequantizeLinear":
        if node.input[0] in values:
            return values[node.input[0]].dtype
        source = made_by.get(node.input[0])
        while source is not None and source.op_type in KEEPS_VALUES:
            source = made_by.get(source.input[0])
    if source is not None and source.op_type == "QuantizeLinear":
        if len(source.input) > 2 and source.input[2] in values:
            return values[source.input[2]].dtype
        wanted = attribute(source, "output_dtype", 0)
        if isinstance(wanted, int) and wanted:
            return np.dtype(helper.tensor_dtype_to_np_dtype(wanted))
    return np.dtype(np.uint8)  # as the standard says


def _refuse_unexplained(model: ModelProto) -> None:
    for node, reason in _unexplained(model):
        raise InputFileError(
            f"the file is quantised in a form that has no float form: {node.op_type} "
            f"{node.name or node.output[0]} {reason}",
            fix="quantise it as Q/DQ (quant_format=QuantFormat.QDQ), or give the float network",
        )


def _unexplained(model: ModelProto) -> Iterator[tuple[NodeProto, str]]:
    values = constants(model)
    grids: dict[str, Grid] = {}
    for node in model.graph.node:
        if _has_integer_arithmetic(node):
            yield node, "computes in integers by itself"
        elif node.op_type in KEEPS_VALUES and node.input[0] in grids:
            grids[node.output[0]] = grids[node.input[0]]
        if node.op_type not in QDQ:
            continue
        if not set(node.input[1:]) <= values.keys():
            yield node, "has a scale that is no constant"
            continue
        scale, zero = (values[name] for name in node.input[1:])
        grid = scale.tobytes(), zero.tobytes()
        if node.op_type == "QuantizeLinear":
            grids[node.output[0]] = grid
        is_activation = node.op_type == "QuantizeLinear" and node.input[0] not in values
        if scale.ndim > 1:
            yield node, "has a scale for each block"
        elif is_activation and scale.size > 1:
            yield node, "has a scale for each channel of an activation"
        elif zero.dtype.kind not in "iu":
            yield node, f"is of type {zero.dtype}, not INT8"
        elif node.op_type == "DequantizeLinear" and node.input[0] not in values:
            if node.input[0] not in grids:
                yield node, "reads what no QuantizeLinear wrote"
            elif grids[node.input[0]] != grid:
                yield node, "has another scale than its QuantizeLinear"


def _dequantized(node: NodeProto, values: dict[str, Array]) -> Array:
    stored, scale, zero = (values[name] for name in node.input)
    axis = int(str(attribute(node, "axis", 1)))
    shape = [1] * stored.ndim
    if scale.size > 1:
        shape[axis] = -1
    steps = stored.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    return (steps * scale.astype(np.float32).reshape(shape)).astype(scale.dtype)


def _ends(model: ModelProto, node: NodeProto, values: dict[str, Array]) -> list[NodeProto]:
    """The nodes that end the values where the integers of the Q `node` end; none for a DQ.

    Max and Min, since Clip has another form in opset 10.
    """
    if node.op_type != "QuantizeLinear":
        return []
    scale, zero = values[node.input[1]], values[node.input[2]]
    limits = np.iinfo(zero.dtype)
    name, source = node.output[0], node.input[0]
    made = []
    for op, limit in (("Max", limits.min), ("Min", limits.max)):
        end = ((limit - zero.astype(np.float32)) * scale).astype(scale.dtype)
        bound = f"{name}_{op.lower()}_end"
        model.graph.initializer.append(initializer(bound, end))
        made.append(helper.make_node(op, [source, bound], [f"{name}_{op.lower()}"], name=bound))
        source = made[-1].output[0]
    return made
