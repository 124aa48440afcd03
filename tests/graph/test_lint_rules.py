"""Each rule: a graph by hand that breaks it, named with its node, and a corrected twin."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from edgeseg.errors import UsageError
from edgeseg.graph.lint import examined
from edgeseg.graph.lint_rules import RULES, Version, newest_opset, version_from_text
from tests.graph.sketch import CHANNELS, SHAPE, Sketch

UINT8, FLOAT, FLOAT16, INT32 = (
    TensorProto.UINT8,
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT32,
)


def found(model: ModelProto, tensorrt: Version | None = None) -> list[tuple[str, str]]:
    """The rule and the node of each finding."""
    return [(item.id, item.node) for item in examined(model, tensorrt).findings]


def bytes_in(wrong: bool) -> ModelProto:
    s = Sketch()
    s.entry = helper.make_tensor_value_info("x", UINT8, SHAPE)
    return s.model(s.add("Cast", ["x"], "floats", to=INT32 if wrong else FLOAT), kind=INT32)


def bytes_out(wrong: bool) -> ModelProto:
    s = Sketch()
    ids = s.add("ArgMax", ["x"], "ids", axis=1)
    ids = ids if wrong else s.add("Cast", [ids], "float_ids", to=FLOAT16)
    return s.model(s.add("Cast", [ids], "labels", to=UINT8), kind=UINT8)


def bytes_inside(wrong: bool) -> ModelProto:
    s = Sketch()
    inner = s.add("Cast", ["x"], "cast", to=UINT8 if wrong else FLOAT16)
    return s.model(s.add("Cast", [inner], "back", to=FLOAT))


def newer_opset(wrong: bool) -> ModelProto:
    s = Sketch(opset=18 if wrong else 17)
    return s.model(s.add("Relu", ["x"], "relu"))


def fp16_scale(wrong: bool) -> ModelProto:
    s = Sketch(opset=18 if wrong else 19)
    half = s.add("Cast", ["x"], "half", to=FLOAT16)
    out = s.add("Cast", [s.conv(half, "conv")], "full", to=FLOAT)
    for name in ("conv_x_scale", "conv_w_scale"):
        s.weights[name] = s.weights[name].astype(np.float16)
    return s.model(out)


def unpool(wrong: bool) -> ModelProto:
    s = Sketch()
    indices = s.constant("indices", np.zeros((1, CHANNELS, 8, 8), np.int64))
    if wrong:
        return s.model(s.add("MaxUnpool", ["x", indices], "up", kernel_shape=[2, 2]))
    return s.model(s.add("DepthToSpace", ["x"], "up", blocksize=2))


def strange_resize(wrong: bool) -> ModelProto:
    s = Sketch()
    sizes = s.constant("sizes", np.array([1, CHANNELS, 16, 16]))
    mode = "tf_crop_and_resize" if wrong else "pytorch_half_pixel"
    region = s.constant("region", np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32))
    inputs = ["x", region, "", sizes]
    return s.model(s.add("Resize", inputs, "large", coordinate_transformation_mode=mode))


def smoothed_resize(wrong: bool) -> ModelProto:
    s = Sketch(opset=18)
    scales = s.constant("scales", np.array([1, 1, 0.5, 0.5], np.float32))
    out = s.add("Resize", ["x", "", scales], "small", mode="linear", antialias=int(wrong))
    return s.model(out)


def spread_pool(wrong: bool) -> ModelProto:
    s = Sketch()
    dilations = [1, 2] if wrong else [1, 1]
    return s.model(s.add("MaxPool", ["x"], "pool", kernel_shape=[2, 2], dilations=dilations))


def own_operator(wrong: bool) -> ModelProto:
    s = Sketch()
    return s.model(s.add("Relu", ["x"], "relu", domain="own" if wrong else ""))


def pool_indices(wrong: bool) -> ModelProto:
    s = Sketch()
    out = s.add("MaxPool", ["x"], "pool", kernel_shape=[2, 2])
    if wrong:
        s.nodes[-1].output.append("indices")
    return s.model(out)


def integer_conv(wrong: bool) -> ModelProto:
    s = Sketch()
    if not wrong:
        return s.model(s.conv("x", "conv"))
    weight = s.constant("w", np.ones((CHANNELS, CHANNELS, 1, 1), np.uint8))
    integers = s.add("Cast", ["x"], "integers", to=TensorProto.INT8)
    return s.model(s.add("ConvInteger", [integers, weight], "conv"), kind=INT32)


def computed_scale(wrong: bool) -> ModelProto:
    s = Sketch()
    top = s.add("ReduceMax", ["x"], "top", keepdims=0)
    out = s.conv("x", "conv")
    if wrong:
        s.node("conv_x_q").input[1] = top
    return s.model(out, top)


def negative_scale(wrong: bool) -> ModelProto:
    s = Sketch()
    out = s.conv("x", "conv")
    s.weights["conv_w_scale"][2] *= -1 if wrong else 1
    return s.model(out)


def zero_point(kind: object, value: int = 0) -> Callable[[bool], ModelProto]:
    def drawn(wrong: bool) -> ModelProto:
        s = Sketch()
        pair = s.pair("x", "pair", zero=np.asarray(value, kind) if wrong else np.int8(0))
        return s.model(pair)

    return drawn


def no_zero_point(wrong: bool) -> ModelProto:
    s = Sketch(opset=19)
    return s.model(s.pair("x", "pair", zero=None if wrong else np.int8(0)))


def computed_zero_point(wrong: bool) -> ModelProto:
    s = Sketch()
    s.constant("none", np.zeros(1, np.int8))
    s.constant("first", np.zeros((), np.int64))
    computed = s.add("Gather", ["none", "first"], "computed")
    pair = s.pair("x", "pair")
    if wrong:
        s.node("pair_q").input[2] = computed
    return s.model(pair, computed)


def channels_of_an_activation(wrong: bool) -> ModelProto:
    s = Sketch()
    count = CHANNELS if wrong else 1
    return s.model(s.pair("x", "pair", np.full(count, 0.1), np.zeros(count, np.int8)))


def axis_of_a_deconvolution(wrong: bool) -> ModelProto:
    s = Sketch()
    weight = s.weight("w", (CHANNELS, CHANNELS, 2, 2), axis=0 if wrong else 1)
    return s.model(s.add("ConvTranspose", [s.pair("x", "pair"), weight], "up"))


def one_scale_for_a_weight(wrong: bool) -> ModelProto:
    s = Sketch()
    scale = np.float32(0.01) if wrong else None
    weight = s.weight("w", (CHANNELS, CHANNELS, 1, 1), scale=scale)
    return s.model(s.add("Conv", [s.pair("x", "pair"), weight], "conv"))


def bias(kind: object) -> Callable[[bool], ModelProto]:
    def drawn(wrong: bool) -> ModelProto:
        s = Sketch()
        s.constant("b", np.zeros(CHANNELS, kind if wrong else np.float32))
        s.constant("b_zero", np.zeros((), kind))
        s.constant("b_scale", np.float32(0.001))
        b = s.add("DequantizeLinear", ["b", "b_scale", "b_zero"], "b_dq") if wrong else "b"
        return s.model(s.conv("x", "conv", b))

    return drawn


def deconvolution_in_groups(wrong: bool) -> ModelProto:
    s = Sketch()
    weight, source = s.constant("w", np.ones((CHANNELS, 1, 2, 2), np.float32)), "x"
    if wrong:
        weight = s.weight("w", (CHANNELS, 1, 2, 2), axis=1)
        source = s.pair("x", "pair")
    return s.model(s.add("ConvTranspose", [source, weight], "up", group=CHANNELS))


def integers_of_nowhere(wrong: bool) -> ModelProto:
    s = Sketch()
    pair = s.pair("x", "pair")
    if wrong:
        s.nodes[0] = helper.make_node("Cast", ["x"], ["pair_q_out"], to=TensorProto.INT8)
    return s.model(pair)


def integers_for_nobody(wrong: bool) -> ModelProto:
    s = Sketch()
    pair = s.pair("x", "pair")
    read = s.add("Cast", ["pair_q_out"], "read", to=FLOAT) if wrong else pair
    return s.model(pair, read)


def float_weight(wrong: bool) -> ModelProto:
    s = Sketch()
    weight = s.constant("w", np.ones((CHANNELS, CHANNELS), np.float32))
    if not wrong:
        weight = s.weight("w", (CHANNELS, CHANNELS), axis=1)
    flat = s.add("GlobalAveragePool", ["x"], "pool")
    flat = s.add("Flatten", [s.pair(flat, "pair")], "flat")
    return s.model(s.add("Gemm", [flat, weight], "gemm"))


def pair_before_activation(wrong: bool) -> ModelProto:
    s = Sketch()
    out = s.conv("x", "first")
    if wrong:
        out = s.pair(out, "between")
    return s.model(s.conv(s.add("HardSwish", [out], "swish"), "second"))


def pair_on_the_branch(wrong: bool) -> ModelProto:
    s = Sketch()
    branch = s.conv("x", "conv")
    branch = s.pair(branch, "branch") if wrong else branch
    return s.model(s.add("Add", [branch, "conv_x_dq_out"], "sum"))


def half_a_concat(wrong: bool) -> ModelProto:
    s = Sketch()
    other = s.add("Relu", ["x"], "relu")
    other = other if wrong else s.pair(other, "other")
    both = s.add("Concat", [s.pair("x", "one"), other], "both", axis=1)
    return s.model(both if wrong else s.pair(both, "behind"))


def unequal_concat(wrong: bool) -> ModelProto:
    s = Sketch()
    other = s.pair(s.add("Relu", ["x"], "relu"), "other", 0.2 if wrong else 0.1)
    both = s.add("Concat", [s.pair("x", "one"), other], "both", axis=1)
    return s.model(s.pair(both, "behind"))


def pool_of_integers(wrong: bool) -> ModelProto:
    s = Sketch()
    pool = s.add("GlobalAveragePool", [s.pair("x", "before")], "pool")
    return s.model(pool if wrong else s.pair(pool, "behind"))


def resized(wrong: bool) -> ModelProto:
    s = Sketch()
    sizes = s.constant("sizes", np.array([1, CHANNELS, 16, 16]))
    mode = "linear" if wrong else "nearest"
    return s.model(s.add("Resize", [s.pair("x", "pair"), "", "", sizes], "large", mode=mode))


def two_pairs(wrong: bool) -> ModelProto:
    s = Sketch()
    once = s.pair("x", "one")
    again = once if wrong else s.add("AveragePool", [once], "pool", kernel_shape=[2, 2])
    return s.model(s.pair(again, "two", 0.2))


def softmax(wrong: bool) -> ModelProto:
    s = Sketch()
    return s.model(s.add("Softmax", [s.pair("x", "pair") if wrong else "x"], "shares", axis=1))


def float32_outside(wrong: bool) -> ModelProto:
    return fp16_scale(wrong=False) if not wrong else integer_conv(wrong=False)


class Case(NamedTuple):
    rule: str
    draw: Callable[[bool], ModelProto]
    nodes: list[str]
    tensorrt: Version | None = None


CASES = [
    Case("uint8-input", bytes_in, ["x"]),
    Case("uint8-output", bytes_out, ["labels"]),
    Case("uint8-inside", bytes_inside, ["cast"]),
    Case("opset", newer_opset, ["graph"]),
    Case("scale-fp16", fp16_scale, ["graph"], (10, 0)),
    Case("operator", unpool, ["up"]),
    Case("operator-form", strange_resize, ["large"]),
    Case("operator-form", smoothed_resize, ["small"], (10, 0)),
    Case("operator-form", spread_pool, ["pool"]),
    Case("foreign-operator", own_operator, ["relu"]),
    Case("pool-indices", pool_indices, ["pool"]),
    Case("integer-operator", integer_conv, ["conv"]),
    Case("scale-constant", computed_scale, ["conv_x_q"]),
    Case("scale-positive", negative_scale, ["conv_w_dq"]),
    Case("zero-point-type", zero_point(np.uint8), ["pair_q", "pair_dq"]),
    Case("zero-point-type", zero_point(np.uint8, 128), ["pair_q", "pair_dq"]),
    Case("zero-point-missing", no_zero_point, ["pair_q"], (9, 0)),
    Case("zero-point-guessed", no_zero_point, ["pair_q"], (10, 0)),
    Case("zero-point-constant", computed_zero_point, ["pair_q"]),
    Case("zero-point-zero", zero_point(np.int8, -3), ["pair_q", "pair_dq"]),
    Case("activation-scale", channels_of_an_activation, ["pair_q", "pair_dq"]),
    Case("weight-axis", axis_of_a_deconvolution, ["up"]),
    Case("weight-scale", one_scale_for_a_weight, ["conv"]),
    Case("bias", bias(np.int32), ["conv"]),
    Case("bias", bias(np.int8), ["conv"]),
    Case("grouped-deconvolution", deconvolution_in_groups, ["up"]),
    Case("lone-dequantize", integers_of_nowhere, ["pair_dq"]),
    Case("lone-quantize", integers_for_nobody, ["pair_q"]),
    Case("one-input", float_weight, ["gemm"]),
    Case("activation", pair_before_activation, ["between_q"]),
    Case("add-branch", pair_on_the_branch, ["sum"]),
    Case("some-inputs", half_a_concat, ["both"]),
    Case("concat-scales", unequal_concat, ["both"]),
    Case("float-output", pool_of_integers, ["pool"]),
    Case("resize", resized, ["large"]),
    Case("double", two_pairs, ["two_q"]),
    Case("softmax", softmax, ["shares"]),
    Case("float32", float32_outside, ["graph"], (11, 0)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.draw.__name__}")
def test_a_broken_rule_is_named_with_its_nodes_and_the_corrected_twin_is_clean(case: Case) -> None:
    assert found(case.draw(True), case.tensorrt) == [(case.rule, node) for node in case.nodes]
    assert found(case.draw(False), case.tensorrt) == []


def test_every_rule_is_broken_above() -> None:
    assert {case.rule for case in CASES} == set(RULES)


def test_a_graph_between_two_versions_is_judged_by_the_one_that_is_named() -> None:
    typed = fp16_scale(wrong=False)
    assert found(typed) == []  # no 8.6 is meant by it
    assert found(typed, (8, 6)) == [("opset", "graph"), ("scale-fp16", "graph")]
    assert found(deconvolution_in_groups(wrong=True), (10, 9)) == []
    assert found(computed_scale(wrong=True), (11, 0)) == [("float32", "graph")]


@pytest.mark.parametrize(
    ("text", "version"), [("8.6", (8, 6)), ("10.3.0", (10, 3)), ("11", (11, 0)), ("8.5", (8, 5))]
)
def test_versions_are_read_as_they_are_written(text: str, version: Version) -> None:
    assert version_from_text(text) == version


@pytest.mark.parametrize("text", ["", "8", "8.4", "7", "v10", "10,3", "10.x", "-1"])
def test_what_is_no_version_that_can_be_checked_for_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        version_from_text(text)
    assert "8.5" in refused.value.fix or "8.6" in refused.value.fix


@pytest.mark.parametrize(
    ("version", "opset"), [((8, 6), 17), ((10, 0), 20), ((10, 5), 20), ((10, 7), 22), ((12, 0), 25)]
)
def test_newer_versions_parse_newer_opsets(version: Version, opset: int) -> None:
    assert newest_opset(version) == opset
