"""A graph as its linter sees it: who makes and reads each tensor, and what is quantised."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto

from edgeseg.graph.lint_rules import TYPED_TARGET, WIDE_TARGET, Version
from edgeseg.graph.nodes import attribute, constants, consumers, producers
from edgeseg.types import Array

CASTS = frozenset({"Cast"})
STANDARD = frozenset({"", "ai.onnx"})
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
Q, DQ = "QuantizeLinear", "DequantizeLinear"
COPYING = frozenset(
    {"DepthToSpace", "Expand", "Flatten", "Identity", "MaxPool", "Pad", "Reshape", "Slice",
     "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)  # fmt: skip
"""They only pick values, so TensorRT moves Q and DQ past them."""
TYPED_MARK = "edgeseg.fp32"
"""The metadata of a graph in the typed dialect, which may be without FP16."""
SCALARS = {"value_float": np.float32, "value_floats": np.float32,
           "value_int": np.int64, "value_ints": np.int64}  # fmt: skip


class View:
    """Questions about `model`, which must not change meanwhile."""

    def __init__(self, model: ModelProto, tensorrt: Version | None = None) -> None:
        self.model = model
        self.nodes = list(model.graph.node)
        self.made_by, self.read_by = producers(model), consumers(model)
        self.values = _all_constants(model)
        self.outputs = {value.name for value in model.graph.output}
        self.opset = max((e.version for e in model.opset_import if e.domain in STANDARD), default=0)
        self.tensorrt = tensorrt or (TYPED_TARGET if self.is_typed() else WIDE_TARGET)

    @cached_property
    def types(self) -> dict[str, int]:
        """The element types that inference finds; none where it fails."""
        return _element_types(self.model)

    def is_quantized(self) -> bool:
        """Whether there is any Q or DQ."""
        return any(node.op_type in {Q, DQ} for node in self.nodes)

    def is_typed(self) -> bool:
        """Whether it is in the typed dialect: marked so, or with FP16 in opset 19 or later."""
        if any(item.key == TYPED_MARK for item in self.model.metadata_props):
            return True
        return self.opset >= 19 and any(
            attribute(node, "to") == TensorProto.FLOAT16
            if node.op_type == "Cast"
            else self.has_fp16_scale(node)
            for node in self.nodes
        )

    def has_fp16_scale(self, node: NodeProto) -> bool:
        """Whether `node` is a Q or DQ that scales in FP16."""
        if node.op_type not in {Q, DQ}:
            return False
        scale = self.constant(node.input[1])
        return scale is not None and scale.dtype == np.float16

    def constant(self, name: str) -> Array | None:
        """The value of a tensor that is known before the graph runs."""
        casts: list[int] = []
        while (node := self.made_by.get(name)) and node.op_type in {"Identity", "Cast"}:
            casts.extend(item.i for item in node.attribute if item.name == "to")
            name = node.input[0]
        if (value := self.values.get(name)) is None:
            return None
        for kind in reversed(casts):
            value = value.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
        return value

    def made(self, name: str, past: frozenset[str] = CASTS) -> NodeProto | None:
        """What makes a tensor, where the ops `past` are looked through."""
        node = self.made_by.get(name)
        while node is not None and node.op_type in past:
            node = self.made_by.get(node.input[0])
        return node

    def readers(self, name: str, past: frozenset[str] = CASTS) -> Iterator[NodeProto]:
        """What reads a tensor, where the ops `past` are looked through."""
        for node in self.read_by.get(name, []):
            if node.op_type in past:
                for output in node.output:
                    yield from self.readers(output, past)
            else:
                yield node

    def dequantizer(self, name: str) -> NodeProto | None:
        """The DQ whose values a tensor holds, picked or moved perhaps; None for a float one."""
        node = self.made(name, COPYING | CASTS)
        return node if node is not None and node.op_type == DQ else None

    def quantizer(self, dequantizer: NodeProto) -> NodeProto | None:
        """The Q that a DQ undoes; None where it reads a constant, or nothing that is known."""
        node = self.made(dequantizer.input[0], COPYING)
        return node if node is not None and node.op_type == Q else None

    def weight(self, node: NodeProto) -> Array | None:
        """The constant that a Q or DQ has as its data, integers or floats; None for others."""
        name = ((node.op_type == DQ and self.quantizer(node)) or node).input[0]
        while (maker := self.made_by.get(name)) and maker.op_type in COPYING | CASTS:
            name = maker.input[0]
        return self.values.get(name)

    def is_bias(self, node: NodeProto) -> bool:
        """Whether a DQ gives nothing but biases."""
        readers = list(self.readers(node.output[0]))
        return bool(readers) and all(
            reader.op_type in WEIGHTED
            and len(reader.input) > 2
            and self.dequantizer(reader.input[2]) is node
            for reader in readers
        )

    def is_int8(self, node: NodeProto) -> bool:
        """Whether a weighted layer reads integers on both sides."""
        return all(self.dequantizer(name) is not None for name in node.input[:2])


def key(node: NodeProto) -> str:
    """What `node` is called: its name, or its first output where it has none."""
    return node.name or next((name for name in node.output if name), node.op_type)


def _all_constants(model: ModelProto) -> dict[str, Array]:
    found = constants(model)
    for node in model.graph.node:
        for item in node.attribute if node.op_type == "Constant" else ():
            if item.name in SCALARS:
                value = onnx.helper.get_attribute_value(item)
                found[node.output[0]] = np.asarray(value, SCALARS[item.name])
    return found


def _element_types(model: ModelProto) -> dict[str, int]:
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except (onnx.shape_inference.InferenceError, ValueError):  # over 2 GB, for one
        graph = model.graph
    values = (*graph.input, *graph.value_info, *graph.output)
    found = {value.name: int(value.type.tensor_type.elem_type) for value in values}
    return found | {item.name: int(item.data_type) for item in model.graph.initializer}
