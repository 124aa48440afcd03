"""What TensorRT's parser takes at all: opsets, operators, and bytes at the borders."""

from collections.abc import Iterator

from onnx import NodeProto, TensorProto, helper

from edgeseg.graph.lint_rules import Finding, finding, newest_opset, text_of
from edgeseg.graph.lint_view import STANDARD, View, key
from edgeseg.graph.nodes import attribute

NO_LAYER = frozenset(
    {"AffineGrid", "Bernoulli", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
     "CenterCropPad", "Col2Im", "Compress", "ConcatFromSequence", "DFT", "Det", "ImageDecoder",
     "MaxRoiPool", "MaxUnpool", "MelWeightMatrix", "Multinomial", "NegativeLogLikelihoodLoss",
     "Optional", "OptionalGetElement", "OptionalHasElement", "RegexFullMatch", "SequenceAt",
     "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
     "SequenceMap", "SoftmaxCrossEntropyLoss", "SplitToSequence", "StringConcat",
     "StringNormalizer", "StringSplit", "TfIdfVectorizer", "Unique"}
)  # fmt: skip
"""What the table of operators of its ONNX parser (8.4 to 10.15) marks as not supported."""
INTEGER = frozenset(
    {"ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul",
     "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearSigmoid", "QLinearLeakyRelu",
     "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSoftmax", "QLinearReduceMean",
     "QGemm"}
)  # fmt: skip
"""The other way to write INT8, which ONNX Runtime calls QOperator."""
FORMS: dict[str, dict[str, frozenset[object]]] = {
    "BatchNormalization": {"training_mode": frozenset({0})},
    "Resize": {
        "antialias": frozenset({0}),
        "coordinate_transformation_mode": frozenset(
            {b"align_corners", b"asymmetric", b"half_pixel", b"pytorch_half_pixel",
             b"tf_half_pixel_for_nn"}
        ),
        "keep_aspect_ratio_policy": frozenset({b"stretch"}),
    },
    "ScatterND": {"reduction": frozenset({b"none"})},
}  # fmt: skip
"""The values of attributes that the importers of TensorRT 8.5 to 10.15 take, where not all."""
POOLS = frozenset({"AveragePool", "LpPool", "MaxPool"})
FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})
UINT8 = TensorProto.UINT8


def opset(view: View) -> Iterator[Finding]:
    """The opset, and FP16 scales, which need a new one."""
    newest = newest_opset(view.tensorrt)
    if view.opset > newest:
        words = {"newest": newest, "tensorrt": text_of(view.tensorrt), "opset": view.opset}
        yield finding("opset", "graph", **words)
    if (view.opset < 19 or view.tensorrt < (10, 0)) and any(map(view.has_fp16_scale, view.nodes)):
        yield finding("scale-fp16", "graph")


def borders(view: View) -> Iterator[Finding]:
    """Inputs and outputs of bytes."""
    for value in view.model.graph.input:
        if value.type.tensor_type.elem_type == UINT8 and value.name not in view.values:
            readers = view.read_by.get(value.name, [])
            if len(readers) != 1 or not _is_float_cast(readers[0]):
                yield finding("uint8-input", value.name)
    for value in view.model.graph.output:
        node = view.made_by.get(value.name)
        if value.type.tensor_type.elem_type != UINT8 or node is None:
            continue
        if node.op_type != "Cast" or not _is_float(view, node.input[0]):
            yield finding("uint8-output", key(node))


def operators(view: View, node: NodeProto) -> Iterator[Finding]:
    """A node that no layer of TensorRT does, whatever it is quantised like."""
    if node.op_type in INTEGER:
        yield finding("integer-operator", key(node), op=node.op_type)
    elif node.domain not in STANDARD and not node.domain.lower().startswith("trt"):
        yield finding("foreign-operator", key(node), op=node.op_type, domain=node.domain)
    elif node.op_type in NO_LAYER:
        yield finding("operator", key(node), op=node.op_type)
    elif node.op_type == "MaxPool" and len(node.output) > 1 and node.output[1]:
        yield finding("pool-indices", key(node))
    elif what := _strange_form(node):
        yield finding("operator-form", key(node), op=node.op_type, what=what)
    elif node.op_type == "Cast" and attribute(node, "to") == UINT8 and _is_read(view, node):
        yield finding("uint8-inside", key(node))


def _strange_form(node: NodeProto) -> str:
    """The attribute of `node` with a value that no layer has; empty where all are known."""
    known = FORMS.get(node.op_type, {})
    for item in node.attribute:
        if item.name in known and helper.get_attribute_value(item) not in known[item.name]:
            return str(item.name)
        if item.name == "dilations" and node.op_type in POOLS and set(item.ints) - {1}:
            return str(item.name)
    return ""


def _is_read(view: View, node: NodeProto) -> bool:
    """Whether another node works on what `node` gives."""
    return any(name in view.read_by for name in node.output)


def _is_float_cast(node: NodeProto) -> bool:
    return node.op_type == "Cast" and attribute(node, "to") in FLOATS


def _is_float(view: View, name: str) -> bool:
    """Whether a tensor is FP32 or FP16; where inference cannot say, a Cast must."""
    if view.types.get(name):
        return view.types[name] in FLOATS
    node = view.made_by.get(name)
    return node is not None and _is_float_cast(node)
