"""An ONNX graph as TensorRT reads it: types and shapes by name, and what its parser refuses."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

LACKING = {
    *("Unique", "StringNormalizer", "TfIdfVectorizer", "Optional", "Bernoulli", "Det"),
    *("Multinomial", "SequenceMap", "ImageDecoder", "Compress"),
}
"""Operators that no recorded version parses."""

NEWEST_OPSET = {8: 17, 10: 20, 11: 24}
"""What each major version reads; 8.6 knows no FP16 scale of Q/DQ, which came with opset 19."""

UINT8, INT8, FLOAT, HALF = (
    TensorProto.UINT8,
    TensorProto.INT8,
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
)
INT32, INT64 = TensorProto.INT32, TensorProto.INT64
QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What the parser says about a node; -1 is the graph as a whole."""

    code: str
    description: str
    node: int = -1
    name: str = ""
    operator: str = ""


class GraphView:
    """A model with its types, shapes, constants and users by tensor name."""

    def __init__(self, model: ModelProto) -> None:
        self.model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        self.nodes: list[NodeProto] = list(self.model.graph.node)
        graph = self.model.graph
        self.constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        infos = [*graph.input, *graph.output, *graph.value_info]
        self.types = {item.name: item.type.tensor_type.elem_type for item in infos}
        self.types |= {item.name: item.data_type for item in graph.initializer}
        self.shapes = {item.name: _shape(item) for item in infos}
        self.shapes |= {name: value.shape for name, value in self.constants.items()}
        self.inputs = [item.name for item in graph.input if item.name not in self.constants]
        self.outputs = [item.name for item in graph.output]

    @cached_property
    def users(self) -> dict[str, list[NodeProto]]:
        found: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                found[name].append(node)
        return found

    @cached_property
    def maker(self) -> dict[str, NodeProto]:
        return {name: node for node in self.nodes for name in node.output}

    @property
    def is_quantized(self) -> bool:
        return any(node.op_type in QDQ for node in self.nodes)

    @property
    def is_dynamic(self) -> bool:
        return any(-1 in self.shapes[name] for name in self.inputs)

    def is_constant(self, name: str) -> bool:
        """Known when the engine is built, through casts too."""
        maker = self.maker.get(name)
        folded = maker is not None and maker.op_type in {"Cast", "Identity", "Reshape"}
        return name in self.constants or (folded and self.is_constant(maker.input[0]))


def problems(data: bytes, major: int) -> tuple[GraphView | None, list[Problem]]:
    """The graph in `data` and what the parser of a major version refuses about it."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
        assert model.graph.node
    except Exception:  # noqa: BLE001 - whatever protobuf raises
        text = "Failed to parse ONNX model from memory"
        return None, [Problem(code="MODEL_DESERIALIZE_FAILED", description=text)]
    domains = {item.domain: item.version for item in model.opset_import}
    opset = domains.get("", domains.get("ai.onnx", 0))
    if opset > NEWEST_OPSET[major]:
        text = f"opset {opset} is newer than {NEWEST_OPSET[major]}, the newest that is supported"
        return None, [Problem(code="UNSUPPORTED_GRAPH", description=text)]
    if lacking := [_lacking(i, n) for i, n in enumerate(model.graph.node) if _is_lacking(n)]:
        return None, lacking if major > 8 else lacking[:1]
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return None, [Problem(code="INVALID_GRAPH", description=str(error))]
    view = GraphView(model)
    found = [refusal for i, n in enumerate(view.nodes) if (refusal := _refusal(view, i, n))]
    return view, found


def _shape(info: onnx.ValueInfoProto) -> tuple[int, ...]:
    dims = info.type.tensor_type.shape.dim
    return tuple(item.dim_value if item.HasField("dim_value") else -1 for item in dims)


def _is_lacking(node: NodeProto) -> bool:
    return node.domain not in {"", "ai.onnx"} or node.op_type in LACKING


def _lacking(place: int, node: NodeProto) -> Problem:
    text = f"No importer registered for op: {node.op_type}. Attempting to import as plugin."
    return _about("UNSUPPORTED_NODE", f"{text} Plugin not found", place, node)


def _about(code: str, text: str, place: int, node: NodeProto) -> Problem:
    return Problem(code=code, description=text, node=place, name=node.name, operator=node.op_type)


def _refusal(view: GraphView, place: int, node: NodeProto) -> Problem | None:
    if node.op_type not in QDQ:
        return None
    scale, zero = view.constants.get(node.input[1]), _zero_point(view, node)
    if node.op_type == "DequantizeLinear" and view.types.get(node.input[0]) == INT32:
        text = "DequantizeLinear of INT32 is not supported, only INT8 and FP8"
    elif zero is not None and zero.dtype == np.uint8:
        text = "UINT8 is not supported as a quantized type"
    elif zero is None or np.any(zero != 0):
        text = "TensorRT only supports symmetric quantization: y_zero_point must be 0"
    elif not view.is_constant(node.input[1]):
        text = "the scale must be a build-time constant"
    elif scale is not None and not np.all(scale > 0):
        text = "Scale coefficients must all be positive"
    else:
        return None
    return _about("UNSUPPORTED_NODE", f"Assertion failed: {text}", place, node)


def _zero_point(view: GraphView, node: NodeProto) -> np.ndarray | None:
    """What it quantises to; None where that is known only at run time."""
    if len(node.input) > 2 and node.input[2]:
        return view.constants.get(node.input[2])
    signed = node.op_type == "DequantizeLinear" and view.types.get(node.input[0]) != UINT8
    return np.zeros(1, np.int8 if signed else np.uint8)
