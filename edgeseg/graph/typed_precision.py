"""Which nodes of a graph stay FP32 in the typed dialect, and why."""

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto

from edgeseg.graph.nodes import attribute, constants, consumers, producers
from edgeseg.graph.typed_opset import schema_of
from edgeseg.types import Array

FP16_MAX = 65504.0
WORST_ROUNDING = 1 / 16
"""The relative error (L2) of a constant in FP16 above which its node stays FP32.

Weights round by 2^-12; what comes near this bound lies among the subnormals, or is 0 in FP16.
"""

SQUARING = frozenset(
    {"ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "LpNormalization", "LpPool", "GlobalLpPool",
     "MeanVarianceNormalization"}
)  # fmt: skip
"""TensorRT's parser takes them apart; their squares or exponentials would be tensors in FP16."""

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
AS_IT_COMES = frozenset({"Cast", "Shape", "Size", "QuantizeLinear"})
"""Ops that read a float tensor in either precision, whatever they give."""


def key(node: NodeProto) -> str:
    """What `node` is called here: its name, or its first output where it has none."""
    return node.name or node.output[0]


def element_types(model: ModelProto) -> dict[str, int]:
    """The element type of each tensor that nodes or inputs give, by inference."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


def fp32_reasons(
    model: ModelProto, floats: Collection[str], keep_fp32: Collection[str]
) -> dict[str, str]:
    """The nodes of `model` (opset 19, all float32) that stay FP32, each with its reason.

    A mapping as `keep_fp32` gives reasons of its own. What stands between nodes that stay FP32
    stays so too, unless it has weights; an INT8 layer and the Q/DQ pairs that it reads have one
    precision, as TensorRT makes one kernel of them.
    """
    given = dict(keep_fp32) if isinstance(keep_fp32, Mapping) else dict.fromkeys(keep_fp32, "asked")
    values, head = constants(model), _head(model)
    reasons: dict[str, str] = {}
    for node in model.graph.node:
        why = given.get(key(node)) or _own_reason(model, node, floats, values)
        if key(node) in head:
            why = "prepares the picture, whose bytes FP16 would round"
        if why:
            reasons[key(node)] = why
    _spread(model, floats, reasons)
    _quantize_as_it_comes(model, floats, reasons)
    return {key(node): reasons[key(node)] for node in model.graph.node if key(node) in reasons}


def follows(node: NodeProto, index: int) -> bool:
    """Whether input number `index` is FP16 where the node is; scales of a Resize never are."""
    if node.op_type == "Resize":
        return index == 0
    schema = schema_of(node)
    if schema is None:
        return False
    return "tensor(float16)" in schema.inputs[min(index, len(schema.inputs) - 1)].types


def is_exact(scale: Array) -> bool:
    """Whether FP16 holds every one of the positive numbers `scale`."""
    with np.errstate(over="ignore"):
        return bool(np.all(scale.astype(np.float16).astype(np.float32) == scale))


def _head(model: ModelProto) -> set[str]:
    """The nodes that make `pixels` of a frame; none in a core."""
    made_by = producers(model)
    found: set[str] = set()
    waiting = ["pixels"]
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None and key(node) not in found:
            found.add(key(node))
            waiting.extend(node.input)
    return found


def _own_reason(
    model: ModelProto, node: NodeProto, floats: Collection[str], values: Mapping[str, Array]
) -> str:
    if node.op_type in SQUARING:
        return "sums squares or exponentials, which leave the range of FP16"
    if node.op_type in QDQ:
        exact = node.input[1] in values and is_exact(values[node.input[1]])
        return "" if exact else "FP16 does not hold its scale"
    if node.op_type == "Cast":
        # Of class ids, on their way to uint8.
        readers = [r for r in model.graph.node if set(r.input) & set(node.output)]
        gives_float = attribute(node, "to") == TensorProto.FLOAT
        only_cast = bool(readers) and all(reader.op_type == "Cast" for reader in readers)
        return "is between two casts" if gives_float and only_cast else ""
    if not any(name in floats for name in (*node.input, *node.output)):
        return ""
    if not _has_fp16_form(node, floats, values):
        return f"{node.op_type} has no FP16 form"
    return _constant_trouble(node, values)


def _has_fp16_form(node: NodeProto, floats: Collection[str], values: Mapping[str, Array]) -> bool:
    schema = schema_of(node)
    if schema is None:
        return False
    types = set()
    for index, name in enumerate(node.input):
        if name in floats or (name in values and values[name].dtype == np.float32):
            if follows(node, index):
                types.add(schema.inputs[min(index, len(schema.inputs) - 1)].type_str)
            elif name in floats:
                return False
    last = len(schema.outputs) - 1
    given = [schema.outputs[min(i, last)] for i, name in enumerate(node.output) if name in floats]
    return bool(types) and all(output.type_str in types for output in given)


def _constant_trouble(node: NodeProto, values: Mapping[str, Array]) -> str:
    for index, name in enumerate(node.input):
        value = values.get(name)
        if value is None or value.dtype != np.float32 or not value.size or not follows(node, index):
            continue
        finite = value[np.isfinite(value)].astype(np.float64)
        largest = float(np.abs(finite).max(initial=0))
        if largest > FP16_MAX:
            if node.op_type != "Clip":  # its bounds end where FP16 does
                return f"its constant {name} reaches {largest:.3g}, beyond FP16"
            continue
        lost = np.linalg.norm(finite.astype(np.float16) - finite)
        if lost > WORST_ROUNDING * np.linalg.norm(finite):
            return f"its constant {name} (up to {largest:.3g}) is too small for FP16"
    return ""


def _spread(model: ModelProto, floats: Collection[str], reasons: dict[str, str]) -> None:
    """Add, in place, the nodes that have to or had better stay FP32 because of others."""
    before = -1
    while len(reasons) > before:
        before = len(reasons)
        _join_int8_layers(model, reasons)
        _bridge(model, floats, reasons)


def _join_int8_layers(model: ModelProto, reasons: dict[str, str]) -> None:
    read_by = consumers(model)
    joined = {key(n): n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    changed = True
    while changed:
        changed = False
        for node in joined.values():
            group = [node, *read_by.get(node.output[0], [])]
            wide = [each for each in group if key(each) in reasons]
            for each in group if wide else ():
                if key(each) not in reasons:
                    reasons[key(each)] = f"is one INT8 kernel with {key(wide[0])}"
                    changed = True


def _bridge(model: ModelProto, floats: Collection[str], reasons: dict[str, str]) -> None:
    """Keep what lies between nodes that stay FP32, rather than cast there and back."""
    made_by, read_by = producers(model), consumers(model)
    between = {
        key(node): node
        for node in model.graph.node
        if key(node) not in reasons and _may_bridge(node)
    }

    def is_wide(node: NodeProto) -> bool:
        return key(node) in reasons or key(node) in between

    def is_between(node: NodeProto) -> bool:
        sources = [made_by.get(name) for name in node.input if name in floats]
        given = [name for name in node.output if name in floats]
        return (
            (bool(sources) or node.op_type == "Cast")
            and all(source is not None and is_wide(source) for source in sources)
            and all(
                is_wide(reader) or reader.op_type in AS_IT_COMES
                for name in given
                for reader in read_by.get(name, [])
            )
        )

    while lost := [name for name, node in between.items() if not is_between(node)]:
        for name in lost:
            del between[name]
    for name in between:
        reasons[name] = "is between nodes that stay FP32"


def _may_bridge(node: NodeProto) -> bool:
    if node.op_type == "Cast":
        return attribute(node, "to") == TensorProto.FLOAT
    return node.op_type not in WEIGHTED | QDQ | AS_IT_COMES


def _quantize_as_it_comes(
    model: ModelProto, floats: Collection[str], reasons: dict[str, str]
) -> None:
    """A QuantizeLinear reads the precision that there is: that costs no Cast."""
    made_by = producers(model)
    borders = {value.name for value in (*model.graph.input, *model.graph.output)} & set(floats)
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and key(node) not in reasons:
            source = made_by.get(node.input[0])
            if source is None or node.input[0] in borders or key(source) in reasons:
                reasons[key(node)] = "reads what is FP32"
