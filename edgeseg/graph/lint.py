"""Checking a graph against TensorRT's rules before any TensorRT sees it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from onnx import ModelProto
from onnx.shape_inference import InferenceError

from edgeseg.graph import lint_numbers, lint_placement, lint_support
from edgeseg.graph.cost import cost_of
from edgeseg.graph.lint_rules import Finding, Version, finding, text_of
from edgeseg.graph.lint_view import View

Quantization = Literal["none", "qdq", "operators"]

NODE_RULES = (
    lint_numbers.numbers,
    lint_numbers.weights,
    lint_placement.weighted,
    lint_placement.activation,
    lint_placement.add,
    lint_placement.joined,
    lint_placement.left_float,
    lint_placement.pairs,
)
"""Each takes a view and one of its nodes, and gives what it finds there."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """How much of the work of one picture is INT8."""

    macs: int
    macs_int8: int
    """Of the layers whose both inputs are quantised."""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """All that there is to say of a graph."""

    opset: int
    tensorrt: Version
    """Whose rules were applied."""
    quantization: Quantization
    """How INT8 is written: not at all, as Q/DQ, or as integer operators."""
    share: Share | None
    """None where a size is open."""
    findings: list[Finding]


def lint(model: ModelProto, tensorrt: Version | None = None) -> list[Finding]:
    """What in `model` breaks a rule of quantisation or of its borders, in the order of the graph.

    Without `tensorrt` the oldest that takes its dialect is meant. Operators that it has no layer
    for are not told: other backends have.
    """
    return list(_findings(View(model, tensorrt)))


def examined(model: ModelProto, tensorrt: Version | None = None) -> Examination:
    """What `model` is, and all that breaks a rule, operators included."""
    view = View(model, tensorrt)
    operators = (found for node in view.nodes for found in lint_support.operators(view, node))
    return Examination(
        opset=view.opset,
        tensorrt=view.tensorrt,
        quantization=_quantization(view),
        share=_share(model),
        findings=[*operators, *_findings(view)],
    )


def _findings(view: View) -> Iterator[Finding]:
    yield from lint_support.opset(view)
    yield from lint_support.borders(view)
    if view.tensorrt >= (11, 0) and view.is_quantized() and not view.is_typed():
        yield finding("float32", "graph", tensorrt=text_of(view.tensorrt))
    for node in view.nodes:
        for rule in NODE_RULES:
            yield from rule(view, node)


def _quantization(view: View) -> Quantization:
    if any(node.op_type in lint_support.INTEGER for node in view.nodes):
        return "operators"
    return "qdq" if view.is_quantized() else "none"


def _share(model: ModelProto) -> Share | None:
    named = ModelProto()
    named.CopyFrom(model)
    held = Counter(node.name for node in named.graph.node)
    for index, node in enumerate(named.graph.node):
        if not node.name or held[node.name] > 1:  # MACs are counted by name
            node.name = f"{node.op_type} {index}"
    try:
        macs = cost_of(named).macs_by_node
    except (KeyError, InferenceError, ValueError):  # an open size, an unknown operator, over 2 GB
        return None
    view = View(named)
    int8 = sum(macs[n.name] for n in view.nodes if n.name in macs and view.is_int8(n))
    return Share(macs=sum(macs.values()), macs_int8=int8)
