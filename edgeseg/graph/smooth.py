"""Steadier masks: a frame graph that remembers its scores and blends them with those of the next.

At the resolution of the logits, with p = softmax(logits) of this frame and s = the state
(N, C, h, w) that the frame before left (zeros where there was none):

    p = s where it is no number                     or one such pixel would spoil all others
    d = min(1, sum over the classes of |p - s|)     how much a pixel disagrees with its past
    w = 1 - strength * (1 - d * d)                  the weight of this frame, 1 where all is new
    w = max(w, cut)                                 cut: 0 .. 1 as the mean of d passes CUT
    state_out = s + w * (p - s)
    steady_logits = logits + log((state_out + FLOOR) / (p + FLOOR))

So a border that moves is drawn at once, and what trembles about a tie is held. With zeros as the
state w is 1, state_out is p, and the logarithm 0: the tail gets the very logits of the network.

A network that ends with a softmax or sigmoid calls shares its logits. There p is what they are of
their sum, and they are multiplied by the quotient instead.
"""

from typing import Any, TypeAlias

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgeseg.errors import BuildError
from edgeseg.graph.nodes import initializer, producers, prune, replace_nodes, shapes
from edgeseg.types import STATE, STATE_OUT, Array

CUT = (0.35, 0.55)
"""The mean disagreement from which on, and at which wholly, a frame is taken for another scene's.

Measured with deeplabv3plus-mobilenetv2: up to 0.3 between the frames of a street at 15 a second,
around 0.54 between unrelated pictures of one camera."""
FLOOR = 1e-4
"""Added to probabilities, whose logarithm is taken; FP16 holds it as a normal number."""
STEADY = "steady_logits"
"""What the tail reads in the place of the logits."""
WHY_FLOAT = "blends with the frame before, whose state is float32"

SHARES = frozenset({"Softmax", "Sigmoid", "HardSigmoid"})
"""Operators whose results are scores between 0 and 1, where the network ends with one."""
MOVES = frozenset(
    {"Cast", "Clip", "Concat", "DequantizeLinear", "Identity", "QuantizeLinear", "Reshape",
     "Resize", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze"}
)  # fmt: skip
"""Operators behind which such scores are still that; Sub, since one class has a background."""

Row: TypeAlias = tuple[str, list[str], str]
"""Operator, inputs, output."""

_FROM_LOGITS: tuple[Row, ...] = (("Softmax", ["logits"], "smooth_given"),)
_INTO_LOGITS: tuple[Row, ...] = (
    ("Log", ["smooth_ratio"], "smooth_gain"),
    ("Add", ["logits", "smooth_gain"], STEADY),
)
_FROM_SHARES: tuple[Row, ...] = (
    ("ReduceSum", ["logits", "smooth_axis"], "smooth_mass"),
    ("Max", ["smooth_mass", "smooth_floor"], "smooth_most"),
    ("Div", ["logits", "smooth_most"], "smooth_given"),
)
_INTO_SHARES: tuple[Row, ...] = (("Mul", ["logits", "smooth_ratio"], STEADY),)

_INNER = frozenset(
    {"smooth_mass", "smooth_most", "smooth_given", "smooth_sound", "smooth_p", "smooth_change",
     "smooth_sizes", "smooth_axis", "smooth_total", "smooth_zero", "smooth_one", "smooth_d",
     "smooth_square", "smooth_likeness", "smooth_strength", "smooth_held", "smooth_own",
     "smooth_mean", "smooth_slope", "smooth_steep", "smooth_start", "smooth_ramp", "smooth_cut",
     "smooth_weight", "smooth_step", "smooth_floor", "smooth_above", "smooth_below",
     "smooth_ratio", "smooth_gain"}
)  # fmt: skip
TENSORS = _INNER | {STATE, STATE_OUT, STEADY}
"""All that this file calls its own tensors."""


def smoothed(model: ModelProto, strength: float) -> ModelProto:
    """A copy of the frame graph `model` that also takes `state` and gives `state_out`.

    `strength` is the share of the past that is kept where nothing changes.

    Raises:
        BuildError: the graph has no `logits`.
    """
    result = ModelProto()
    result.CopyFrom(model)
    shape = shapes(model).get("logits")
    last = producers(result).get("logits")
    if shape is None or last is None:
        raise BuildError("the graph has no tensor 'logits'", fix="build the engine again")
    nodes: list[NodeProto] = []
    for node in result.graph.node:
        node.input[:] = [STEADY if name == "logits" else name for name in node.input]
        nodes.append(node)
        if node is last:
            nodes.extend(_blend(shares=gives_shares(model)))
    replace_nodes(result, nodes)
    result.graph.initializer.extend(
        initializer(name, value) for name, value in _constants(strength).items()
    )
    for borders, name in ((result.graph.input, STATE), (result.graph.output, STATE_OUT)):
        borders.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return result


def alone(model: ModelProto) -> ModelProto:
    """A copy of a smoothed frame graph whose state is always zeros; any other as it is."""
    result = ModelProto()
    result.CopyFrom(model)
    borders = [value for value in model.graph.input if value.name == STATE]
    if not borders:
        return result
    shape = [dim.dim_value for dim in borders[0].type.tensor_type.shape.dim]
    for held, name in ((result.graph.input, STATE), (result.graph.output, STATE_OUT)):
        kept = [value for value in held if value.name != name]
        del held[:]
        held.extend(kept)
    result.graph.initializer.append(initializer(STATE, np.zeros(shape, np.float32)))
    prune(result)
    return result


def gives_shares(model: ModelProto) -> bool:
    """Whether the `logits` of `model` are the result of a softmax or sigmoid."""
    made_by, waiting = producers(model), ["logits"]
    seen: set[str] = set()
    while waiting:
        node = made_by.get(waiting.pop())
        if node is None or node.output[0] in seen:
            continue
        seen.add(node.output[0])
        if node.op_type in SHARES:
            return True
        if node.op_type in MOVES:
            waiting.extend(node.input)
    return False


def float_nodes(model: ModelProto) -> dict[str, str]:
    """The nodes of a smoothed graph that stay FP32 in the typed dialect, each with its reason.

    Not the last one: the tail, at the size of the frame, is to stay FP16.
    """
    blend = _INNER | {STATE_OUT}
    return {node.name: WHY_FLOAT for node in model.graph.node if set(node.output) & blend}


def _constants(strength: float) -> dict[str, Array]:
    start, end = CUT
    slope = 1 / (end - start)
    numbers = {
        "smooth_zero": 0.0,
        "smooth_one": 1.0,
        "smooth_strength": strength,
        "smooth_slope": slope,
        "smooth_start": -start * slope,
        "smooth_floor": FLOOR,
    }
    found: dict[str, Array] = {name: np.full((), at, np.float32) for name, at in numbers.items()}
    return {**found, "smooth_axis": np.array([1], np.int64)}


def _blend(*, shares: bool) -> list[NodeProto]:
    """The nodes of the formula above, in its order."""
    rows: tuple[Row, ...] = (
        *(_FROM_SHARES if shares else _FROM_LOGITS),
        ("GreaterOrEqual", ["smooth_given", "smooth_zero"], "smooth_sound"),
        ("Where", ["smooth_sound", "smooth_given", STATE], "smooth_p"),
        ("Sub", ["smooth_p", STATE], "smooth_change"),
        ("Abs", ["smooth_change"], "smooth_sizes"),
        ("ReduceSum", ["smooth_sizes", "smooth_axis"], "smooth_total"),
        ("Clip", ["smooth_total", "smooth_zero", "smooth_one"], "smooth_d"),
        ("Mul", ["smooth_d", "smooth_d"], "smooth_square"),
        ("Sub", ["smooth_one", "smooth_square"], "smooth_likeness"),
        ("Mul", ["smooth_likeness", "smooth_strength"], "smooth_held"),
        ("Sub", ["smooth_one", "smooth_held"], "smooth_own"),
        # The mean of the whole picture: no ReduceMean, whose axes moved with opset 18.
        ("GlobalAveragePool", ["smooth_d"], "smooth_mean"),
        ("Mul", ["smooth_mean", "smooth_slope"], "smooth_steep"),
        ("Add", ["smooth_steep", "smooth_start"], "smooth_ramp"),
        ("Clip", ["smooth_ramp", "smooth_zero", "smooth_one"], "smooth_cut"),
        ("Max", ["smooth_own", "smooth_cut"], "smooth_weight"),
        ("Mul", ["smooth_weight", "smooth_change"], "smooth_step"),
        ("Add", [STATE, "smooth_step"], STATE_OUT),
        ("Add", [STATE_OUT, "smooth_floor"], "smooth_above"),
        ("Add", ["smooth_p", "smooth_floor"], "smooth_below"),
        ("Div", ["smooth_above", "smooth_below"], "smooth_ratio"),
        *(_INTO_SHARES if shares else _INTO_LOGITS),
    )
    more: dict[str, dict[str, Any]] = {"Softmax": {"axis": 1}, "ReduceSum": {"keepdims": 1}}
    return [
        helper.make_node(op, inputs, [output], name=f"{op}_{output}", **more.get(op, {}))
        for op, inputs, output in rows
    ]
