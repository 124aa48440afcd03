"""Never-negative activations become U8, and every output keeps every bit."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

from edgeseg.graph.lint import lint
from edgeseg.graph.nodes import constants
from edgeseg.graph.quantize import quantized
from edgeseg.graph.unsigned import unsigned_bytes, unsigned_where_never_negative
from tests.networks import picture, pixels_of, small_graph
from tests.oracle import run

Array = np.ndarray


def unsigned_tensors(model: ModelProto) -> set[str]:
    values = constants(model)
    return {
        node.output[0].removesuffix("_q")
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and values[node.input[2]].dtype == np.uint8
    }


def signed_tensors(model: ModelProto) -> set[str]:
    names = {
        n.output[0].removesuffix("_q") for n in model.graph.node if n.op_type == "QuantizeLinear"
    }
    return names - unsigned_tensors(model)


def test_exactly_the_never_negative_activations_become_u8(int8_core: ModelProto) -> None:
    model = unsigned_where_never_negative(int8_core)
    onnx.checker.check_model(model, full_check=True)
    assert signed_tensors(model) == {"pixels", "project_out", "residual_out"}
    assert unsigned_tensors(model) == {
        "stem_clip_out",
        "down_clip_out",
        "expand_clip_out",
        "depthwise_clip_out",
        "deep_relu_out",
        "mean_out",
        "context_out",
        "both_out",
        "refine_relu_out",
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("contrast", [1, 3])
def test_outputs_keep_every_bit_also_beyond_the_calibrated_range(
    int8_core: ModelProto, seed: int, contrast: int
) -> None:
    feeds = {"pixels": contrast * pixels_of(picture(seed=seed))}
    model = unsigned_where_never_negative(int8_core)
    wanted = run(int8_core, feeds, optimized=False)
    np.testing.assert_array_equal(run(model, feeds, optimized=False), wanted)


def test_the_check_above_saturates(int8_core: ModelProto) -> None:
    """U8 without the Clip would hold values that S8 cannot, and change the output."""
    naive = ModelProto()
    naive.CopyFrom(unsigned_where_never_negative(int8_core))
    for item in naive.graph.initializer:
        if item.name.endswith("_high"):
            item.CopyFrom(onnx.numpy_helper.from_array(np.float32(1e9).reshape(()), item.name))
    feeds = {"pixels": pixels_of(picture())}
    wanted = run(int8_core, feeds, optimized=False)
    assert np.abs(run(naive, feeds, optimized=False) - wanted).max() > 1e-3


def test_lint_finds_nothing_but_the_zero_points(int8_core: ModelProto) -> None:
    findings = lint(unsigned_where_never_negative(int8_core))
    assert findings
    assert {finding.rule for finding in findings} == {"zero points are int8 (here uint8)"}


def test_the_given_graph_stays_as_it_is(int8_core: ModelProto) -> None:
    before = int8_core.SerializeToString(deterministic=True)
    unsigned_where_never_negative(int8_core)
    assert int8_core.SerializeToString(deterministic=True) == before


def test_serialised_graphs_come_back_serialised(int8_core: ModelProto) -> None:
    model = unsigned_where_never_negative(int8_core)
    assert onnx.load_model_from_string(unsigned_bytes(int8_core.SerializeToString())) == model


def test_a_float_graph_comes_back_as_it_was(core: ModelProto) -> None:
    assert unsigned_where_never_negative(core).graph.node == core.graph.node


def activation_then_conv(*nodes: onnx.NodeProto, **weights: Array) -> ModelProto:
    """`nodes` from `pixels` to `inner`, and a convolution on it whose input is quantised."""
    weight = np.random.default_rng(0).normal(size=(2, 3, 1, 1)).astype(np.float32)
    conv = helper.make_node("Conv", ["inner", "w"], ["logits"], name="conv")
    core = small_graph(
        [*nodes, conv], {"w": weight, **weights}, shape=(1, 3, 8, 8), out=(1, 2, 8, 8)
    )
    return quantized(core, {"inner": 2.0})


def assert_same_bits(model: ModelProto) -> ModelProto:
    pixels = np.random.default_rng(1).normal(0, 3, (1, 3, 8, 8)).astype(np.float32)
    changed = unsigned_where_never_negative(model)
    onnx.checker.check_model(changed, full_check=True)
    np.testing.assert_array_equal(
        run(changed, {"pixels": pixels}, optimized=False),
        run(model, {"pixels": pixels}, optimized=False),
    )
    return changed


@pytest.mark.parametrize("op", ["Relu", "Sigmoid", "Softmax"])
def test_activations_that_are_never_negative(op: str) -> None:
    model = activation_then_conv(helper.make_node(op, ["pixels"], ["inner"], name="act"))
    assert unsigned_tensors(assert_same_bits(model)) == {"inner"}


@pytest.mark.parametrize("op", ["LeakyRelu", "Tanh", "HardSwish"])
def test_activations_that_may_be_negative_stay_signed(op: str) -> None:
    model = activation_then_conv(helper.make_node(op, ["pixels"], ["inner"], name="act"))
    assert unsigned_tensors(assert_same_bits(model)) == set()


@pytest.mark.parametrize(("low", "high"), [(0, 6), (0, 1), (0.5, 6), (1, 3)])
def test_a_clip_keeps_its_own_ends(low: float, high: float) -> None:
    clip = helper.make_node("Clip", ["pixels", "low", "high"], ["inner"], name="act")
    ends = {"low": np.float32(low).reshape(()), "high": np.float32(high).reshape(())}
    assert unsigned_tensors(assert_same_bits(activation_then_conv(clip, **ends))) == {"inner"}


def test_a_clip_that_ends_below_zero_stays_signed() -> None:
    clip = helper.make_node("Clip", ["pixels", "low", "high"], ["inner"], name="act")
    ends = {"low": np.float32(-1).reshape(()), "high": np.float32(6).reshape(())}
    assert unsigned_tensors(assert_same_bits(activation_then_conv(clip, **ends))) == set()


def test_a_clip_keeps_an_upper_end_that_is_computed() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["mean"], name="mean", keepdims=0),
        helper.make_node("Abs", ["mean"], ["high"], name="abs"),
        helper.make_node("Clip", ["pixels", "low", "high"], ["inner"], name="act"),
    ]
    model = activation_then_conv(*nodes, low=np.float32(0).reshape(()))
    assert unsigned_tensors(assert_same_bits(model)) == {"inner"}


@pytest.mark.parametrize("absent", [[], [""]])
def test_a_clip_without_an_upper_end_gets_one(absent: list[str]) -> None:
    clip = helper.make_node("Clip", ["pixels", "low", *absent], ["inner"], name="act")
    model = activation_then_conv(clip, low=np.float32(0).reshape(()))
    assert unsigned_tensors(assert_same_bits(model)) == {"inner"}


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_a_cubic_resize_may_undershoot_and_stays_signed(mode: str) -> None:
    nodes = [
        helper.make_node("Relu", ["pixels"], ["positive"], name="relu"),
        helper.make_node("Resize", ["positive", "", "", "to"], ["large"], name="grow", mode=mode),
        helper.make_node("AveragePool", ["large"], ["inner"], name="pool", kernel_shape=[1, 1],
                         strides=[2, 2]),
    ]  # fmt: skip
    model = activation_then_conv(*nodes, to=np.array([1, 3, 16, 16], np.int64))
    found = unsigned_tensors(assert_same_bits(model))
    assert found == ({"inner"} if mode == "linear" else set())


def test_a_value_that_others_read_too_is_clipped_beside_them() -> None:
    """The activation is read by a float Add as well, which must see what it saw."""
    weight = np.random.default_rng(0).normal(size=(3, 3, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Relu", ["pixels"], ["inner"], name="relu"),
        helper.make_node("Conv", ["inner", "w"], ["branch"], name="conv"),
        helper.make_node("Sigmoid", ["inner"], ["side"], name="side"),
        helper.make_node("Mul", ["branch", "side"], ["logits"], name="mul"),
    ]
    core = small_graph(nodes, {"w": weight}, shape=(1, 3, 8, 8), out=(1, 3, 8, 8))
    assert unsigned_tensors(assert_same_bits(quantized(core, {"inner": 1.0}))) == {"inner"}
