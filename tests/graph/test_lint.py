"""Clean graphs pass; each rule that is broken is named with the node that breaks it."""

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.lint import examined, lint
from edgeseg.graph.load import load_model
from edgeseg.graph.nodes import replace_nodes
from edgeseg.graph.quantize import activation_tensors, quantized
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.typed import typed
from edgeseg.types import PixelFormat, Size
from edgeseg.zoo.shipped import shipped_core
from tests.networks import small_graph

Array = np.ndarray


def framed(core: ModelProto, pixel_format: PixelFormat = PixelFormat.RGB8) -> ModelProto:
    size = Size(60, 80)
    spec = FrameSpec(
        size=size,
        pixel_format=pixel_format,
        order="rgb",
        gain=(1, 1, 1),
        bias=(0, 0, 0),
        mask_size=size,
    )
    return frame_graph(core, spec)


@pytest.fixture
def graph(int8_core: ModelProto) -> ModelProto:
    """The quantised frame graph, the test's own."""
    return framed(int8_core)


def found(model: ModelProto, tensorrt: tuple[int, int] | None = None) -> list[tuple[str, str]]:
    """The node and the rule of each finding."""
    return [(finding.node, finding.id) for finding in lint(model, tensorrt)]


@pytest.fixture(scope="module")
def shipped() -> ModelProto:
    path = shipped_core("deeplabv3plus-mobilenetv2")
    assert path is not None
    return fixed_core(load_model(path), Size(64, 96))


def named(model: ModelProto, name: str) -> NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def add_pair(model: ModelProto, tensor: str, readers: list[str]) -> None:
    """Put a further Q/DQ pair on `tensor` for the nodes `readers`."""
    scale, zero = f"{tensor}_new_scale", f"{tensor}_new_zero"
    set_constant(model, scale, np.float32(0.1).reshape(()))
    set_constant(model, zero, np.zeros((), np.int8))
    pair = [
        helper.make_node("QuantizeLinear", [tensor, scale, zero], [f"{tensor}_nq"], name="new_q"),
        helper.make_node(
            "DequantizeLinear", [f"{tensor}_nq", scale, zero], [f"{tensor}_ndq"], name="new_dq"
        ),
    ]
    nodes = []
    for node in model.graph.node:
        if node.name in readers:
            node.input[:] = [f"{tensor}_ndq" if name == tensor else name for name in node.input]
        nodes.append(node)
        if tensor in node.output:
            nodes.extend(pair)
    replace_nodes(model, nodes)


def set_constant(model: ModelProto, name: str, value: Array) -> None:
    kept = [item for item in model.graph.initializer if item.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, numpy_helper.from_array(value, name)])


@pytest.mark.parametrize("pixel_format", PixelFormat)
@pytest.mark.parametrize("name", ["core", "int8_core"])
def test_our_own_graphs_are_clean(
    name: str, pixel_format: PixelFormat, request: pytest.FixtureRequest
) -> None:
    assert lint(framed(request.getfixturevalue(name), pixel_format)) == []


def test_the_typed_dialect_is_held_against_tensorrt_10(graph: ModelProto) -> None:
    assert lint(typed(graph)) == []
    assert ("graph", "opset") in found(typed(graph), (8, 6))


@pytest.mark.parametrize("keep", [(), ("*",), ("*_1*", "*add*")])
def test_a_shipped_network_is_clean_whatever_is_kept_in_float(
    shipped: ModelProto, keep: tuple[str, ...]
) -> None:
    amax = dict.fromkeys(activation_tensors(shipped), 3.0)
    found = examined(framed(quantized(shipped, amax, keep=keep)))
    assert found.findings == []
    assert found.share is not None
    assert (found.share.macs_int8 == 0) == (keep == ("*",))


def test_a_uint8_input_with_two_readers_is_refused(graph: ModelProto) -> None:
    graph.graph.node.append(
        helper.make_node("Cast", ["frame"], ["again"], name="second", to=TensorProto.FLOAT)
    )
    assert found(graph) == [("frame", "uint8-input")]


def test_a_uint8_input_that_feeds_no_cast_is_refused(graph: ModelProto) -> None:
    cast = named(graph, "Cast_bytes")
    cast.op_type = "Identity"
    del cast.attribute[:]
    assert ("frame", "uint8-input") in found(graph)


@pytest.mark.parametrize("by_way_of", [None, TensorProto.INT32])
def test_a_tail_that_casts_integers_to_uint8_is_refused(
    graph: ModelProto, by_way_of: int | None
) -> None:
    if by_way_of is None:
        named(graph, "Cast_labels").input[0] = "ids"
    else:
        named(graph, "Cast_float_ids").attribute[0].i = by_way_of
    assert found(graph) == [("Cast_labels", "uint8-output")]


@pytest.mark.parametrize(
    ("tensor", "activation"), [("refine_out", "refine_relu"), ("expand_out", "expand_clip")]
)
def test_a_pair_between_convolution_and_activation_is_found(
    graph: ModelProto, tensor: str, activation: str
) -> None:
    add_pair(graph, tensor, [activation])
    assert found(graph) == [("new_q", "activation")]


def test_a_pair_for_a_second_reader_beside_the_activation_is_fine() -> None:
    """As `quantized` makes it where a convolution's output is read by another one as well."""
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(3, 3, 1, 1)).astype(np.float32) for name in ("w0", "w1")}
    nodes = [
        helper.make_node("Conv", ["pixels", "w0"], ["inner"], name="first"),
        helper.make_node("Relu", ["inner"], ["left"], name="relu"),
        helper.make_node("Conv", ["inner", "w1"], ["right"], name="second"),
        helper.make_node("Mul", ["left", "right"], ["logits"], name="mul"),
    ]
    core = small_graph(nodes, weights, shape=(1, 3, 8, 8), out=(1, 3, 8, 8))
    assert lint(quantized(core, {"pixels": 1.0, "inner": 1.0})) == []


def test_a_sum_with_both_branches_quantised_is_found(graph: ModelProto) -> None:
    add_pair(graph, "linear_out", ["residual"])
    assert found(graph) == [("residual", "add-branch")]


def test_a_quantised_resize_is_found(graph: ModelProto) -> None:
    add_pair(graph, "fuse_relu_out", ["enlarged"])
    assert found(graph) == [("enlarged", "resize")]


def test_an_asymmetric_zero_point_is_refused(graph: ModelProto) -> None:
    set_constant(graph, "deep_relu_out_zero", np.full((), -128, np.int8))
    assert found(graph) == [
        ("deep_relu_out_q", "zero-point-zero"),
        ("deep_relu_out_dq", "zero-point-zero"),
    ]


def test_one_asymmetric_channel_of_a_weight_is_refused(graph: ModelProto) -> None:
    zeros = np.zeros(16, np.int8)
    zeros[7] = 1
    set_constant(graph, "fuse_weight_zero", zeros)
    assert found(graph) == [("fuse_weight_dq", "zero-point-zero")]


def test_a_uint8_zero_point_is_refused(graph: ModelProto) -> None:
    set_constant(graph, "deep_relu_out_zero", np.zeros((), np.uint8))
    assert [(finding.node, finding.rule) for finding in lint(graph)] == [
        ("deep_relu_out_q", "zero points are int8 (here uint8)"),
        ("deep_relu_out_dq", "zero points are int8 (here uint8)"),
    ]


@pytest.mark.parametrize("value", [0.0, -0.1, np.inf, np.nan])
def test_a_step_that_is_not_positive_is_refused(graph: ModelProto, value: float) -> None:
    set_constant(graph, "pixels_scale", np.float32(value).reshape(()))
    assert found(graph) == [("pixels_q", "scale-positive"), ("pixels_dq", "scale-positive")]


def test_a_computed_step_is_refused(graph: ModelProto) -> None:
    graph.graph.node.insert(0, helper.make_node("Exp", ["pixels_scale"], ["computed"], name="exp"))
    named(graph, "pixels_q").input[1] = "computed"
    assert found(graph) == [("pixels_q", "scale-constant")]
    assert found(graph, (11, 0)) == [("graph", "float32")]  # which takes a computed scale


def test_a_quantised_bias_is_refused(graph: ModelProto) -> None:
    set_constant(graph, "bias_s8", np.ones(16, np.int8))
    set_constant(graph, "bias_scale", np.float32(0.1).reshape(()))
    set_constant(graph, "bias_zero", np.zeros((), np.int8))
    graph.graph.node.insert(
        0,
        helper.make_node(
            "DequantizeLinear", ["bias_s8", "bias_scale", "bias_zero"], ["bias_dq"], name="bias_dq"
        ),
    )
    named(graph, "stem").input[2] = "bias_dq"
    assert found(graph) == [("stem", "bias")]


def test_a_convolution_with_one_quantised_input_is_found(graph: ModelProto) -> None:
    named(graph, "refine").input[0] = "both_out"
    assert found(graph) == [("refine", "one-input")]


def test_a_weight_whose_weight_alone_stays_float_is_found(core: ModelProto) -> None:
    model = quantized(core, {"pixels": 1.0}, keep=[n.name for n in core.graph.node[1:]])
    set_constant(
        model,
        "stem_weight",
        next(numpy_helper.to_array(w) for w in core.graph.initializer if w.name == "stem_weight"),
    )
    named(model, "stem").input[1] = "stem_weight"
    assert found(model) == [("stem", "one-input")]


def test_a_weight_with_its_channels_on_another_axis_is_refused(graph: ModelProto) -> None:
    named(graph, "classifier_weight_dq").attribute[0].i = 1
    assert found(graph) == [("classifier", "weight-axis")]


def test_an_opset_that_tensorrt_8_cannot_parse_is_said(graph: ModelProto) -> None:
    graph.opset_import[0].version = 19
    assert found(graph) == [("graph", "opset")]
    assert found(graph, (10, 3)) == []
