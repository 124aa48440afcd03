"""Scales, zero points and axes that are written in other ways, and are fine; and the reverse."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgeseg.graph.lint import lint
from tests.graph.sketch import CHANNELS, Sketch

FLOAT_WEIGHT = np.ones((CHANNELS, CHANNELS, 1, 1), np.float32)


def scaled_float_weight(s: Sketch, axis: int) -> str:
    """A float weight that a Q and a DQ round, as training with fake quantisation writes it."""
    name = s.constant("w", FLOAT_WEIGHT)
    pair = s.pair(name, "w", np.full(CHANNELS, 0.01), np.zeros(CHANNELS, np.int8))
    for node in s.nodes[-2:]:
        node.attribute.append(helper.make_attribute("axis", axis))
    return pair


@pytest.mark.parametrize(("axis", "rules"), [(0, []), (-4, []), (1, ["weight-axis"])])
def test_a_float_weight_that_is_rounded_in_the_graph(axis: int, rules: list[str]) -> None:
    s = Sketch()
    weight = scaled_float_weight(s, axis)
    model = s.model(s.add("Conv", [s.pair("x", "pair"), weight], "conv"))
    assert [item.id for item in lint(model)] == rules


@pytest.mark.parametrize(
    ("op", "options", "turned", "axis"),
    [
        ("MatMul", {}, False, 1),
        ("MatMul", {}, True, 0),
        ("Gemm", {}, False, 1),
        ("Gemm", {"transB": 1}, False, 0),
        ("Gemm", {"transB": 1}, True, 1),
    ],
)
def test_the_axis_is_that_of_the_outputs_however_the_weight_is_turned(
    op: str, options: dict[str, int], turned: bool, axis: int
) -> None:
    for given, rules in ((axis, []), (1 - axis, ["weight-axis"])):
        s = Sketch()
        weight = s.weight("w", (CHANNELS, CHANNELS), axis=given)
        if turned:
            weight = s.add("Transpose", [weight], "turned", perm=[1, 0])
        flat = s.add("ReduceMean", ["x"], "mean", axes=[2, 3], keepdims=0)
        model = s.model(s.add(op, [s.pair(flat, "pair"), weight], "product", **options))
        assert [item.id for item in lint(model)] == rules


def test_numbers_in_constant_nodes_behind_casts_are_constants() -> None:
    s = Sketch()
    pair = s.pair("x", "pair")
    scale = helper.make_node("Constant", [], ["scale"], value_float=0.1)
    zero = helper.make_node("Constant", [], ["zero"], value_int=0)
    cast = helper.make_node("Cast", ["zero"], ["zero8"], to=TensorProto.INT8)
    for node in s.nodes:
        node.input[1:] = ["scale", "zero8"]
    s.nodes[:0] = [scale, zero, cast]
    assert lint(s.model(pair)) == []
    zero.attribute[0].i = 7
    assert [item.id for item in lint(s.model(pair))] == 2 * ["zero-point-zero"]


def test_an_output_type_stands_for_the_zero_point() -> None:
    for kind, rules in ((TensorProto.INT8, []), (TensorProto.UINT8, ["zero-point-type"])):
        s = Sketch(opset=21)
        pair = s.pair("x", "pair", zero=None)
        s.nodes[0].attribute.append(helper.make_attribute("output_dtype", int(kind)))
        assert [item.id for item in lint(s.model(pair), (10, 6))] == rules


def test_int8_weights_need_no_zero_point() -> None:
    for kind, rules in ((np.int8, []), (np.uint8, ["zero-point-type"])):
        s = Sketch()
        out = s.conv("x", "conv")
        s.weights["conv_w_s8"] = s.weights["conv_w_s8"].astype(kind)
        s.node("conv_w_dq").input.pop()
        assert [item.id for item in lint(s.model(out))] == rules


def test_fp8_is_the_business_of_tensorrt_10() -> None:
    s = Sketch(opset=19)
    s.nodes = []
    pair = s.pair("x", "pair")
    model = s.model(pair)
    zero = helper.make_tensor("pair_zero", TensorProto.FLOAT8E4M3FN, [], [0.0])
    kept = [item for item in model.graph.initializer if item.name != "pair_zero"]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, zero])
    assert lint(model, (10, 0)) == []
    assert {item.id for item in lint(model, (9, 0))} == {"zero-point-type"}


def test_a_float_that_is_cast_to_bytes_needs_no_second_cast() -> None:
    s = Sketch()
    out = s.add("Cast", [s.add("Sigmoid", ["x"], "sure")], "percent", to=TensorProto.UINT8)
    assert lint(s.model(out, kind=TensorProto.UINT8)) == []
