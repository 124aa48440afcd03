"""What each operator has to be like, or is made to be like, to take several pictures at once."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgeseg.errors import BuildError
from edgeseg.graph.nodes import attribute, constants, initializer, shapes
from edgeseg.types import Array

COUNT = "cameras_count"
"""The tensor that holds the number of pictures, where a node needs it."""

BROADCASTING = frozenset(
    {"Abs", "Add", "And", "Cast", "Ceil", "Clip", "Div", "Elu", "Equal", "Erf", "Exp", "Floor",
     "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less",
     "LessOrEqual", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Not", "Or", "PRelu", "Pow",
     "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Softplus", "Sqrt", "Sub", "Sum", "Tanh",
     "Where", "Xor"}
)  # fmt: skip
"""They take each value by itself."""
IMAGEWISE = frozenset(
    {"AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace",
     "DequantizeLinear", "GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization", "LRN",
     "MaxPool", "QuantizeLinear", "SpaceToDepth"}
)  # fmt: skip
"""They take each row of the first axis by itself, with the same weights."""
ALONG_AN_AXIS = {"ArgMax": 0, "ArgMin": 0, "Concat": 0, "Gather": 0, "LayerNormalization": -1,
                 "LogSoftmax": -1, "LpNormalization": -1, "Softmax": -1, "Split": 0}  # fmt: skip
"""With the axis that is meant where none is given."""
REDUCTIONS = frozenset(
    {"ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
     "ReduceSumSquare"}
)  # fmt: skip
RESHAPES = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})


class Pictures:
    """What is known of the graph for one picture, and the constants that several need."""

    def __init__(self, model: ModelProto) -> None:
        self._sizes, self._values = shapes(model), constants(model)
        self._taken = {n for node in model.graph.node for n in (*node.input, *node.output)}
        self.carried = {value.name for value in model.graph.input}
        """The tensors that hold pictures."""
        self.constants: list[TensorProto] = []

    def size(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor for one picture."""
        if name not in self._sizes:
            raise unfit(name, "has a size that is open or unknown")
        return self._sizes[name]

    def integers(self, node: NodeProto, index: int) -> list[int]:
        """The constant that `node` reads as its input `index`; empty where it reads none there."""
        if index >= len(node.input) or not node.input[index]:
            return []
        if (value := self._values.get(node.input[index])) is None:
            raise unfit(called(node), "computes its shape or its axes")
        return [int(item) for item in value.reshape(-1)]

    def constant(self, name: str, value: Array) -> str:
        """The name, `name` where that is free, of a new constant."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        self.constants.append(initializer(name, value))
        return name


def called(node: NodeProto) -> str:
    """The name of `node`, and what it does."""
    return f"{node.name or node.output[0]} ({node.op_type})"


def unfit(name: str, why: str) -> BuildError:
    """That several pictures cannot be taken, because of the node or tensor `name`."""
    return BuildError(
        f"the graph cannot take several cameras at once: {name} {why}",
        fix="build one engine per camera: leave --cameras out",
    )


def _require(node: NodeProto, keeps_them_apart: bool) -> None:
    if not keeps_them_apart:
        raise unfit(called(node), "would mix the pictures of several cameras")


def _broadcasting(pictures: Pictures, node: NodeProto) -> list[NodeProto]:
    given = pictures.size(node.output[0])
    for name in filter(None, node.input):
        size = pictures.size(name)
        if name in pictures.carried:
            _require(node, len(size) == len(given) and size[:1] == given[:1])
        else:
            _require(node, len(size) < len(given) or size[:1] in {(), (1,)})
    return []


def _imagewise(pictures: Pictures, node: NodeProto) -> list[NodeProto]:
    _require(node, not pictures.carried.intersection(node.input[1:]))
    return []


def _along_an_axis(pictures: Pictures, node: NodeProto) -> list[NodeProto]:
    axis = int(str(attribute(node, "axis", ALONG_AN_AXIS[node.op_type])))
    if node.op_type == "Concat":
        _require(node, pictures.carried.issuperset(node.input))
    else:
        _imagewise(pictures, node)
    _require(node, axis % len(pictures.size(node.input[0])) != 0)
    return []


def _reduction(pictures: Pictures, node: NodeProto) -> list[NodeProto]:
    axes = _axes(node) or pictures.integers(node, 1)
    rank = len(pictures.size(node.input[0]))
    _require(node, bool(axes) and all(axis % rank for axis in axes))  # of none means of all
    return []


def _reshape(pictures: Pictures, node: NodeProto) -> list[NodeProto]:
    """All of them are a Reshape: whatever becomes of each picture, they stay in a row."""
    before, after = pictures.size(node.input[0]), pictures.size(node.output[0])
    _require(node, bool(before) and bool(after))
    rows = 0 if before[0] == after[0] else -1  # as many as there were, or what is left
    shape = np.array([rows, *after[1:]], np.int64)
    node.op_type = "Reshape"
    node.input[:] = [node.input[0], pictures.constant(f"{node.output[0]}_shape", shape)]
    del node.attribute[:]  # "allowzero" among them
    return []


def _expand(pictures: Pictures, node: NodeProto) -> list[NodeProto]:
    before, wanted = pictures.size(node.input[0]), pictures.integers(node, 1)
    _require(node, len(wanted) <= len(before))
    if len(wanted) == len(before):
        _require(node, wanted[0] in {1, before[0]})
        shape = np.array([1, *wanted[1:]], np.int64)
        node.input[1] = pictures.constant(f"{node.output[0]}_shape", shape)
    return []


def _gemm(pictures: Pictures, node: NodeProto) -> list[NodeProto]:
    _imagewise(pictures, node)
    added = pictures.size(node.input[2]) if len(node.input) > 2 else ()
    _require(node, not attribute(node, "transA", 0) and (len(added) < 2 or added[0] == 1))
    return []


def _matmul(pictures: Pictures, node: NodeProto) -> list[NodeProto]:
    rank = len(pictures.size(node.output[0]))
    _require(node, rank >= 2)
    return _broadcasting(pictures, node) if rank > 2 else _imagewise(pictures, node)


def _pad(pictures: Pictures, node: NodeProto) -> list[NodeProto]:
    rank = len(pictures.size(node.input[0]))
    axes, pads = pictures.integers(node, 3) or list(range(rank)), pictures.integers(node, 1)
    _require(
        node, not any(low for axis, low in zip(2 * axes, pads, strict=True) if not axis % rank)
    )
    return []


def _resize(pictures: Pictures, node: NodeProto) -> list[NodeProto]:
    """The sizes become factors where float32 holds those; else they are put together.

    With a rounded factor it depends on the runtime how many pixels there are, and where they lie.
    """
    before, sizes = pictures.size(node.input[0]), list(pictures.size(node.output[0]))
    _require(node, sizes[0] == before[0])
    if not pictures.integers(node, 3):
        return []
    _require(node, sizes[0] == 1)
    # With axes TensorRT fills the others in from the input, whose first is not known.
    kept = [item for item in node.attribute if item.name != "axes"]
    del node.attribute[:]
    node.attribute.extend(kept)
    factors = np.array(sizes, np.float32) / np.array(before, np.float32)
    exact = [Fraction(size, had) for size, had in zip(sizes, before, strict=True)]
    if [Fraction(float(factor)) for factor in factors] == exact:
        node.input[:] = [node.input[0], "", pictures.constant(f"{node.output[0]}_by", factors)]
        return []
    rest = pictures.constant(f"{node.output[0]}_rest", np.array(sizes[1:], np.int64))
    whole = f"{node.output[0]}_cameras"
    node.input[3] = whole
    return [helper.make_node("Concat", [COUNT, rest], [whole], name=whole, axis=0)]


def _slice(pictures: Pictures, node: NodeProto) -> list[NodeProto]:
    rank, axes = len(pictures.size(node.input[0])), pictures.integers(node, 3)
    _require(node, bool(axes) and all(axis % rank for axis in axes))
    return []


def _tile(pictures: Pictures, node: NodeProto) -> list[NodeProto]:
    _require(node, pictures.integers(node, 1)[:1] == [1])
    return []


def _transpose(_: Pictures, node: NodeProto) -> list[NodeProto]:
    order = attribute(node, "perm")
    _require(node, isinstance(order, list) and order[0] == 0)
    return []


def _axes(node: NodeProto) -> list[int]:
    found = attribute(node, "axes")
    return [int(axis) for axis in found] if isinstance(found, list) else []


RULES: dict[str, Callable[[Pictures, NodeProto], list[NodeProto]]] = {
    **dict.fromkeys(BROADCASTING, _broadcasting),
    **dict.fromkeys(IMAGEWISE, _imagewise),
    **dict.fromkeys(ALONG_AN_AXIS, _along_an_axis),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(RESHAPES, _reshape),
    "Expand": _expand,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
    "Tile": _tile,
    "Transpose": _transpose,
}
"""By operator: checks a node that reads pictures, changes it where needed, and gives what has to
come before it."""
