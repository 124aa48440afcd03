"""INT8 without Q/DQ nodes: how far each tensor of the float frame graph goes.

A DLA takes no Q/DQ before TensorRT 11.4. It is given the network in float and a range for every
tensor, and it rounds the weights itself. The ranges are those of the core's calibration; those of
the head follow from bytes being 0 to 255, those of the tail from the logits.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from onnx import ModelProto, NodeProto

from edgeseg.errors import BuildError
from edgeseg.graph.nodes import constants, producers, shapes
from edgeseg.graph.quantize import WEIGHT_AXIS
from edgeseg.graph.tap import float_activations
from edgeseg.types import Array

ONE_SCALE = frozenset({"Concat", "MaxPool", "AveragePool"})
"""A DLA runs these in INT8 only where all inputs and the output have the same range."""
MOVING = frozenset(
    {"Cast", "Identity", "Transpose", "Gather", "Slice", "Reshape", "Resize", "Concat"}
)
"""Of the head and the tail: what comes out lies between what goes in."""


class Span(NamedTuple):
    """The least and the greatest value that a tensor can have."""

    low: float
    high: float


def frame_ranges(graph: ModelProto, calibrated: Mapping[str, float]) -> dict[str, float]:
    """The magnitude that INT8 127 stands for, of every float activation of the frame `graph`.

    `calibrated` has those of the core. Where a DLA wants one scale for several tensors, they share
    the widest.

    Raises:
        BuildError: a tensor of head or tail whose range follows from nothing.
    """
    spans = _spans(graph, calibrated)
    found: dict[str, float] = {}
    for name in float_activations(graph):
        if name not in calibrated and name not in spans:
            raise BuildError(
                f"no range is known for {name!r} in the frame graph",
                fix="please report this network, or build it for the GPU, without --dla",
            )
        found[name] = calibrated.get(name, max(map(abs, spans.get(name, (0.0, 0.0)))))
    return _with_one_scale(graph, found)


def spoilt_by_int8(graph: ModelProto, core: ModelProto) -> frozenset[str]:
    """The nodes of the frame `graph` of `core` that are to stay in float: head, tail, last layers.

    Of bytes, a step of 255 / 127 leaves every second; of logits, too few to tell classes apart.
    """
    inner = {node.name for node in core.graph.node}
    found = {node.name for node in graph.graph.node} - inner
    made_by, seen = producers(core), set[str]()
    tensors = [value.name for value in core.graph.output]
    while tensors:
        name = tensors.pop()
        if name in seen or name not in made_by:
            continue
        seen.add(name)
        found.add(made_by[name].name)
        if made_by[name].op_type not in WEIGHT_AXIS:
            tensors.extend(made_by[name].input)
    return frozenset(found)


def _spans(graph: ModelProto, calibrated: Mapping[str, float]) -> dict[str, Span]:
    """The span of each tensor of the head and the tail, from the bytes of the frame on."""
    values, known = constants(graph), shapes(graph)
    spans = {value.name: Span(0.0, 255.0) for value in graph.graph.input}
    spans |= {name: Span(-amax, amax) for name, amax in calibrated.items()}
    for node in graph.graph.node:
        output = node.output[0]
        if output in spans:
            continue
        if node.op_type == "ArgMax":
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            spans[output] = Span(0.0, max(known[node.input[0]][axis] - 1, 1))
        elif node.op_type in MOVING:
            inputs = [spans[name] for name in node.input if name in spans]
            if inputs:
                spans[output] = Span(min(s.low for s in inputs), max(s.high for s in inputs))
        elif node.op_type == "Add" and all(name in spans for name in node.input):
            one, other = (spans[name] for name in node.input)
            spans[output] = Span(one.low + other.low, one.high + other.high)
        elif node.op_type in COMPUTED and node.input[0] in spans:
            read = [values[name] for name in node.input[1:] if name in values]
            if len(read) == len(node.input) - 1:
                spans[output] = COMPUTED[node.op_type](spans[node.input[0]], read)
    return spans


def _multiplied(span: Span, read: list[Array]) -> Span:
    return _around(span.low * read[0], span.high * read[0])


def _added(span: Span, read: list[Array]) -> Span:
    return _around(span.low + read[0], span.high + read[0])


def _clipped(span: Span, read: list[Array]) -> Span:
    low, high = (float(value) for value in read)
    return Span(min(max(span.low, low), high), min(max(span.high, low), high))


def _rounded(span: Span, read: list[Array]) -> Span:
    del read  # there is none
    return Span(round(span.low), round(span.high))  # half to even, as ONNX does


def _around(*ends: Array) -> Span:
    return Span(min(float(end.min()) for end in ends), max(float(end.max()) for end in ends))


Rule: TypeAlias = Callable[[Span, list[Array]], Span]
COMPUTED: dict[str, Rule] = {
    "Mul": _multiplied,
    "Add": _added,
    "Clip": _clipped,
    "Round": _rounded,
}
"""Of the head: the span of the output from that of the first input and the constants."""


def _with_one_scale(graph: ModelProto, ranges: Mapping[str, float]) -> dict[str, float]:
    """`ranges`, where the tensors of each node of `ONE_SCALE` have the widest among them."""
    result = dict(ranges)
    nodes: list[NodeProto] = [node for node in graph.graph.node if node.op_type in ONE_SCALE]
    changed = True
    while changed:  # one may feed another
        changed = False
        for node in nodes:
            names = [name for name in (*node.input, *node.output) if name in result]
            widest = max((result[name] for name in names), default=0.0)
            changed = changed or any(result[name] != widest for name in names)
            result.update(dict.fromkeys(names, widest))
    return result
