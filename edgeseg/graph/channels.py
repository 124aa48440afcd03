"""Which channels of a core can only be scaled together, and which not at all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto

from edgeseg.graph.nodes import attribute, constants, shapes
from edgeseg.types import Array

FIXED = 0
"""The group of every channel that must keep its scale."""

SAME_CHANNELS = frozenset(
    {"Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity", "Dropout",
     "Resize"}
)  # fmt: skip
"""Ops f with f(s x) = s f(x) for each channel and s > 0, of their first input alone."""

JOINED = frozenset({"Add", "Sub", "Max", "Min", "Sum"})
"""The same for several inputs, where all are scaled alike."""


@dataclass
class Channels:
    """The group of each channel of each tensor: a group has one scale."""

    of: dict[str, Array] = field(default_factory=dict)
    """Tensor name to group numbers int64 (C,); what is not in it is not scaled."""


def channels_of(core: ModelProto) -> Channels:
    """The channel groups of `core`, from its convolutions and what lies between them."""
    walk = _Walk(core)
    for node in core.graph.node:
        walk.visit(node)
    for value in core.graph.output:
        walk.fix(value.name)
    found = walk.channels
    found.of = {name: walk.roots(groups) for name, groups in found.of.items()}
    return found


class _Walk:
    """The graph from its input on, joining the groups that meet."""

    def __init__(self, core: ModelProto) -> None:
        self.channels = Channels()
        self._shapes: Mapping[str, tuple[int, ...]] = shapes(core)
        self._values = constants(core)
        self._parent = [FIXED]
        for value in core.graph.input:
            self._fixed(value.name)

    def roots(self, groups: Array) -> Array:
        """The group that each of `groups` has become part of."""
        return np.array([self._root(int(group)) for group in groups], np.int64)

    def fix(self, name: str) -> None:
        """Let the channels of the tensor `name` keep their scales."""
        if name in self.channels.of:
            self._join(self.channels.of[name], np.zeros(len(self.channels.of[name]), np.int64))

    def visit(self, node: NodeProto) -> None:
        """Give the outputs of `node` their groups."""
        groups = self._groups_after(node)
        if groups is None or len(node.output) != 1:
            for name in node.input:
                self.fix(name)
            for name in node.output:
                self._fixed(name)
        else:
            self.channels.of[node.output[0]] = groups

    def _groups_after(self, node: NodeProto) -> Array | None:
        op, of = node.op_type, self.channels.of
        if op in {"Conv", "ConvTranspose"} and all(n in self._values for n in node.input[1:] if n):
            return self._after_convolution(node)
        if op in SAME_CHANNELS:
            return of.get(node.input[0])
        if op == "Clip":
            return self._after_clip(node)
        known: dict[str, Callable[[NodeProto], Array | None]] = {
            "Concat": self._after_concat,
            "DepthToSpace": self._after_depth_to_space,
            "Expand": self._after_expand,
            "Pad": self._after_pad,
            "ReduceMean": self._after_mean,
        }
        if op in JOINED and all(name in of for name in node.input):
            return self._joined(node)
        return known[op](node) if op in known else None

    def _after_convolution(self, node: NodeProto) -> Array | None:
        if node.op_type == "ConvTranspose" and attribute(node, "group", 1) != 1:
            return None
        count = self._shapes[node.output[0]][1]
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def _after_clip(self, node: NodeProto) -> Array | None:
        bounds = [self._values.get(name) for name in node.input[1:]]
        if len(bounds) != 2 or any(b is None for b in bounds) or bounds[0] != 0:
            return None
        return self.channels.of.get(node.input[0])

    def _joined(self, node: NodeProto) -> Array | None:
        groups = [self.channels.of[name] for name in node.input]
        if len({len(each) for each in groups}) != 1:
            return None
        for other in groups[1:]:
            self._join(groups[0], other)
        return groups[0]

    def _after_concat(self, node: NodeProto) -> Array | None:
        if attribute(node, "axis") != 1 or any(n not in self.channels.of for n in node.input):
            return None
        return np.concatenate([self.channels.of[name] for name in node.input])

    def _after_depth_to_space(self, node: NodeProto) -> Array | None:
        block = int(str(attribute(node, "blocksize")))
        groups = self.channels.of.get(node.input[0])
        if groups is None or attribute(node, "mode", b"DCR") != b"CRD":
            return None
        kept = groups.reshape(-1, block * block)
        for index in range(1, block * block):
            self._join(kept[:, 0], kept[:, index])
        return kept[:, 0]

    def _after_expand(self, node: NodeProto) -> Array | None:
        groups = self.channels.of.get(node.input[0])
        shape = self._shapes.get(node.output[0])
        return groups if groups is not None and shape and len(groups) == shape[1] else None

    def _after_pad(self, node: NodeProto) -> Array | None:
        value = self._values.get(node.input[2]) if len(node.input) > 2 and node.input[2] else 0
        pads = self._values.get(node.input[1])
        plain = attribute(node, "mode", b"constant") in {b"reflect", b"edge"} or value == 0
        if not plain or pads is None or pads.reshape(2, -1)[:, :2].any():
            return None
        return self.channels.of.get(node.input[0])

    def _after_mean(self, node: NodeProto) -> Array | None:
        axes = attribute(node, "axes", [])
        spatial = isinstance(axes, list) and sorted(axes) in ([2, 3], [-2, -1])
        if not spatial or not attribute(node, "keepdims", 1):
            return None
        return self.channels.of.get(node.input[0])

    def _fixed(self, name: str) -> None:
        shape = self._shapes.get(name)
        if shape and len(shape) == 4:
            self.channels.of[name] = np.zeros(shape[1], np.int64)

    def _join(self, one: Array, other: Array) -> None:
        for a, b in zip(one, other, strict=True):
            first, second = sorted((self._root(int(a)), self._root(int(b))))
            self._parent[second] = first  # the fixed group is the smallest number

    def _root(self, group: int) -> int:
        while self._parent[group] != group:
            self._parent[group] = self._parent[self._parent[group]]
            group = self._parent[group]
        return group
