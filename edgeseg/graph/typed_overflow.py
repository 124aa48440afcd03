"""Where FP16 overflows, from the largest magnitudes that the tensors of a float graph reach."""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgeseg.graph.nodes import attribute, constants, producers, shapes
from edgeseg.graph.tap import float_activations
from edgeseg.graph.typed_precision import FP16_MAX, QDQ, WEIGHTED, key
from edgeseg.types import Array

LIMIT = FP16_MAX / 2
"""The largest magnitude left in FP16: other pictures may reach twice what calibration saw."""

DELICATE = frozenset(
    {"Softmax", "LogSoftmax", "Exp", "Log", "Pow", "Sqrt", "Reciprocal", "Div", "Softplus",
     "LayerNormalization", "InstanceNormalization", "GroupNormalization", "BatchNormalization"}
)  # fmt: skip
MEANS = frozenset({"ReduceMean", "ReduceSum", "GlobalAveragePool", "AveragePool"})
MIXES = frozenset({"Resize", "Add", "Sub", "Mul"})


class Extent(NamedTuple):
    """The least and the greatest value of a tensor; both NaN where one value is."""

    low: float
    high: float

    @property
    def is_finite(self) -> bool:
        """Whether it holds neither Inf nor NaN."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    @property
    def magnitude(self) -> float:
        """The largest of its finite ends: FP16 has infinities for those who mask with them."""
        return max((abs(end) for end in self if np.isfinite(end)), default=0.0)

    def joined(self, other: "Extent") -> "Extent":
        """Of both together; a NaN in either stays."""
        return Extent(
            float(np.minimum(self.low, other.low)), float(np.maximum(self.high, other.high))
        )


def peaked(model: ModelProto) -> ModelProto:
    """A copy of `model` whose outputs are three numbers for each float tensor T.

    T_peak_max, T_peak_min and T_peak_sum (of magnitudes, which is NaN where a value is).
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    for name in float_activations(model):
        for op, end in (("ReduceMax", "max"), ("ReduceMin", "min"), ("ReduceL1", "sum")):
            made = f"{name}_peak_{end}"
            copy.graph.node.append(helper.make_node(op, [name], [made], name=made, keepdims=0))
            copy.graph.output.append(helper.make_tensor_value_info(made, TensorProto.FLOAT, []))
    return copy


def extents(outputs: Mapping[str, Array]) -> dict[str, Extent]:
    """What a `peaked` graph gave, by tensor."""
    found = {}
    for name in outputs:
        if name.endswith("_peak_sum"):
            tensor = name.removesuffix("_peak_sum")
            low, high, total = (
                float(outputs[f"{tensor}_peak_{end}"]) for end in ("min", "max", "sum")
            )
            found[tensor] = Extent(low, high) if not np.isnan(total) else Extent(total, total)
    return found


def overflowing(model: ModelProto, seen: Mapping[str, Extent]) -> dict[str, str]:
    """The nodes of `model` that overflow in FP16 where its tensors are as `seen`, with reasons.

    TensorRT accumulates the products of a layer and the terms of a sum in FP32, as far as it says;
    so layers are judged by what they give. A mean is judged by its sum: that costs little.
    """
    found: dict[str, str] = {}
    sizes = shapes(model)
    for node in model.graph.node:
        for name in node.output:
            reached = seen[name].magnitude if name in seen else 0.0
            total = reached * _terms(node, sizes)
            if total > LIMIT:
                how = "reaches" if reached > LIMIT else "adds up to"
                found[key(node)] = f"{how} {total:.3g}; FP16 ends at {FP16_MAX:.0f}"
        for name in node.input:
            if name in seen and seen[name].magnitude > LIMIT and node.op_type != "QuantizeLinear":
                reads = f"reads {name}, which reaches {seen[name].magnitude:.3g}"
                found.setdefault(key(node), reads)
    return found


def to_blame(
    model: ModelProto,
    in_half: Mapping[str, Extent],
    seen: Mapping[str, Extent],
    keep: Collection[str],
) -> list[str]:
    """The nodes, not in `keep`, of the float `model` that bring Inf or NaN up in FP16.

    They are those whose result is broken `in_half`, but not in `seen`, though what they read is
    fine; where such a node is FP32 already, those before it that are not.
    """
    broken = {
        name
        for name, extent in in_half.items()
        if name in seen and seen[name].is_finite and not extent.is_finite
    }
    made_by = producers(model)
    waiting = [
        node
        for node in model.graph.node
        if broken.intersection(node.output) and not broken.intersection(node.input)
    ]
    blamed: dict[str, None] = {}
    while waiting:
        node = waiting.pop()
        if key(node) in keep:
            waiting.extend(made_by[name] for name in node.input if name in made_by)
        else:
            blamed[key(node)] = None
    return list(blamed)


def suspects(model: ModelProto) -> Iterator[tuple[str, list[str]]]:
    """Groups of nodes that may lose too much in FP16, each with its name, the likeliest first."""
    nodes = list(model.graph.node)
    delicate = [key(node) for node in nodes if node.op_type in DELICATE]
    yield "exponentials, norms and divisions", [*delicate, *_energies(model)]
    yield "the scores and what chooses among them", _tail(model)
    yield "means and sums", [key(node) for node in nodes if node.op_type in MEANS]
    yield "resizing and elementwise sums", [key(node) for node in nodes if node.op_type in MIXES]


def scores_of(model: ModelProto) -> str:
    """The tensor (N, C, H, W) whose greatest channel is the label."""
    for node in reversed(model.graph.node):
        if node.op_type == "ArgMax":
            return str(node.input[0])
    return str(model.graph.output[0].name)


def _terms(node: NodeProto, sizes: Mapping[str, tuple[int, ...]]) -> int:
    """How many values a mean adds up before it divides; 1 for any other op."""
    if node.op_type == "AveragePool":
        return int(np.prod(np.asarray(attribute(node, "kernel_shape"))))
    if node.op_type in {"ReduceMean", "GlobalAveragePool"}:
        before, after = sizes.get(node.input[0]), sizes.get(node.output[0])
        if before and after:
            return int(np.prod(before) // np.prod(after))
    return 1


def _energies(model: ModelProto) -> list[str]:
    """Products of two activations on their way to a Softmax."""
    made_by, fixed = producers(model), constants(model)
    found = []
    waiting = [n.input[0] for n in model.graph.node if n.op_type in {"Softmax", "LogSoftmax"}]
    while waiting:
        node = made_by.get(waiting.pop())
        if node is None or node.op_type in WEIGHTED - {"MatMul"} | QDQ:
            continue
        if node.op_type == "MatMul":
            found += [] if set(node.input) & set(fixed) else [key(node)]
        else:
            waiting.extend(node.input)
    return list(dict.fromkeys(found))


def _tail(model: ModelProto) -> list[str]:
    """What lies between the last layers with weights and the labels, those layers included."""
    made_by = producers(model)
    found: dict[str, None] = {}
    waiting = [scores_of(model)]
    found.update((key(n), None) for n in model.graph.node if n.op_type == "ArgMax")
    while waiting:
        node = made_by.get(waiting.pop())
        if node is None or key(node) in found:
            continue
        found[key(node)] = None
        if node.op_type not in WEIGHTED | QDQ:
            waiting.extend(node.input)
    return list(found)
