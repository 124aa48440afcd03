"""Q/DQ stands where TensorRT wants it, with the numbers that numpy gives."""

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, helper

from edgeseg.errors import BuildError
from edgeseg.graph.nodes import attribute, constants, consumers, producers
from edgeseg.graph.quantize import activation_tensors, quantization_hash, quantized
from tests.networks import picture, pixels_of, small_graph
from tests.oracle import run

Array = np.ndarray


def named(model: ModelProto, name: str) -> NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def quantised_inputs(model: ModelProto, op: str) -> list[list[bool]]:
    """For each node of `op`, which of its inputs come from a DequantizeLinear."""
    made_by = producers(model)
    return [
        [name in made_by and made_by[name].op_type == "DequantizeLinear" for name in node.input]
        for node in model.graph.node
        if node.op_type == op
    ]


def test_both_inputs_of_every_convolution_are_quantised_and_no_bias(int8_core: ModelProto) -> None:
    assert quantised_inputs(int8_core, "Conv") == [[True, True, False]] * 13
    onnx.checker.check_model(int8_core, full_check=True)


def test_nothing_else_is_quantised_but_the_residual_branch(int8_core: ModelProto) -> None:
    (add,) = [node for node in int8_core.graph.node if node.op_type == "Add"]
    # The projected map is read by the residual block as well, so only `linear` can take the Add in.
    assert [name.removesuffix("_dq") for name in add.input] == ["project_out", "linear_out"]
    assert quantised_inputs(int8_core, "Add") == [[True, False]]
    for op in ("Concat", "Resize", "Expand", "ReduceMean", "Clip", "Relu"):
        assert not any(any(inputs) for inputs in quantised_inputs(int8_core, op)), op


def test_nothing_stands_between_a_convolution_and_its_activation(
    core: ModelProto, int8_core: ModelProto
) -> None:
    made_by = producers(int8_core)
    activations = [node for node in int8_core.graph.node if node.op_type in {"Relu", "Clip"}]
    assert len(activations) == sum(n.op_type in {"Relu", "Clip"} for n in core.graph.node) == 10
    assert {made_by[node.input[0]].op_type for node in activations} == {"Conv"}


def test_a_tensor_has_one_pair_that_all_its_readers_share(int8_core: ModelProto) -> None:
    quantizers = [n.input[0] for n in int8_core.graph.node if n.op_type == "QuantizeLinear"]
    assert len(quantizers) == len(set(quantizers))
    # The projected low-level map feeds the residual block and the Add.
    readers = consumers(int8_core)["project_out_dq"]
    assert {node.name for node in readers} == {"expand", "residual"}


def test_every_pair_is_symmetric_s8_with_the_step_of_its_range(
    int8_core: ModelProto, amax: Mapping[str, float]
) -> None:
    values = constants(int8_core)
    seen = {}
    for node in int8_core.graph.node:
        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
            continue
        scale, zero = values[node.input[1]], values[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
        assert zero.shape == scale.shape
        if node.op_type == "QuantizeLinear":
            assert scale.shape == ()
            seen[node.input[0]] = float(scale)
            (back,) = consumers(int8_core)[node.output[0]]
            assert (back.op_type, list(back.input[1:])) == ("DequantizeLinear", node.input[1:])
    assert seen == pytest.approx({name: value / 127 for name, value in amax.items()}, rel=2**-11)


def test_weights_are_s8_per_channel_and_off_by_half_a_step_at_most(
    core: ModelProto, int8_core: ModelProto
) -> None:
    floats, values = constants(core), constants(int8_core)
    checked = 0
    for node in int8_core.graph.node:
        if node.op_type != "Conv":
            continue
        weight = floats[node.input[1].removesuffix("_dq")]
        back = named(int8_core, node.input[1])
        stored, scale = values[back.input[0]], values[back.input[1]]
        assert (stored.dtype, stored.shape, attribute(back, "axis")) == (np.int8, weight.shape, 0)
        assert scale.shape == weight.shape[:1]
        steps = np.abs(weight).max((1, 2, 3)) / 127
        np.testing.assert_allclose(scale, steps, rtol=2**-11)
        assert stored.min() >= -127  # TensorRT's weights are symmetric
        assert np.abs(stored).reshape(len(stored), -1).max(1).min() == 127  # all levels are used
        error = np.abs(stored * scale.reshape(-1, 1, 1, 1) - weight).max((1, 2, 3))
        assert np.all(error <= steps * (0.5 + 127 * 2**-11))
        checked += 1
    assert checked == 13


def test_biases_stay_as_they_are(core: ModelProto, int8_core: ModelProto) -> None:
    floats, values = constants(core), constants(int8_core)
    for node in int8_core.graph.node:
        if node.op_type == "Conv":
            np.testing.assert_array_equal(values[node.input[2]], floats[node.input[2]])
            assert values[node.input[2]].dtype == np.float32


def test_the_float_weights_are_gone_and_the_core_is_untouched(
    core: ModelProto, amax: Mapping[str, float]
) -> None:
    before = core.SerializeToString(deterministic=True)
    weights = {node.input[1] for node in core.graph.node if node.op_type == "Conv"}
    assert weights.isdisjoint({item.name for item in quantized(core, amax).graph.initializer})
    assert core.SerializeToString(deterministic=True) == before


def test_the_quantised_network_computes_nearly_the_same(
    core: ModelProto, amax: Mapping[str, float]
) -> None:
    whole = {name: 1.5 * value for name, value in amax.items()}
    feeds = {"pixels": pixels_of(picture())}
    wanted, found = run(core, feeds), run(quantized(core, whole), feeds)
    error = np.abs(found - wanted).mean() / wanted.std()
    assert 1e-4 < error < 0.05


def test_a_dead_channel_and_a_dead_tensor_keep_a_positive_step() -> None:
    weight = np.zeros((2, 3, 1, 1), np.float32)
    weight[1] = 0.5
    nodes = [helper.make_node("Conv", ["pixels", "w"], ["logits"], name="c")]
    model = small_graph(nodes, {"w": weight}, shape=(1, 3, 4, 4), out=(1, 2, 4, 4))
    values = constants(quantized(model, {"pixels": 0.0}))
    assert values["pixels_scale"] > 0
    assert values["w_scale"].min() > 0
    np.testing.assert_array_equal(values["w_s8"].reshape(2, 3), [[0] * 3, [127] * 3])


def transposed_convolution(group: int) -> ModelProto:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 6 // group, 2, 2)).astype(np.float32)
    weight *= np.geomspace(0.01, 1, 6 // group, dtype=np.float32).reshape(1, -1, 1, 1)
    nodes = [
        helper.make_node(
            "ConvTranspose", ["pixels", "w"], ["logits"], name="up", strides=[2, 2], group=group
        )
    ]
    return small_graph(nodes, {"w": weight}, shape=(1, 4, 8, 8), out=(1, 6, 16, 16))


def test_a_transposed_convolution_has_one_scale_which_every_tensorrt_takes() -> None:
    float_model = transposed_convolution(1)
    model = quantized(float_model, {"pixels": 4.0})
    back, values = named(model, "w_dq"), constants(model)
    weight, scale = constants(float_model)["w"], values[back.input[1]]
    assert (scale.shape, attribute(back, "axis")) == ((), None)
    assert values[back.input[2]].shape == ()
    assert scale == pytest.approx(np.abs(weight).max() / 127, rel=2**-11)
    assert np.abs(values[back.input[0]] * scale - weight).max() <= scale * (0.5 + 127 * 2**-11)
    pixels = np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)
    wanted, found = run(float_model, {"pixels": pixels}), run(model, {"pixels": pixels})
    assert np.abs(found - wanted).mean() / np.abs(wanted).mean() < 0.05


def test_a_transposed_convolution_can_have_a_scale_for_each_channel_on_axis_1() -> None:
    float_model = transposed_convolution(1)
    model = quantized(float_model, {"pixels": 4.0}, per_tensor_deconv=False)
    one = quantized(float_model, {"pixels": 4.0})
    assert quantization_hash(model) != quantization_hash(one)
    back, values = named(model, "w_dq"), constants(model)
    assert attribute(back, "axis") == 1
    weight = constants(float_model)["w"]
    np.testing.assert_allclose(
        values[back.input[1]], np.abs(weight).max((0, 2, 3)) / 127, rtol=2**-11
    )
    pixels = np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)
    wanted, found = run(float_model, {"pixels": pixels}), run(model, {"pixels": pixels})
    # Per channel, even the one whose weights are a hundredth of the others.
    error = np.abs(found - wanted).mean((0, 2, 3)) / np.abs(wanted).mean((0, 2, 3))
    assert error.max() < 0.05


def test_a_grouped_transposed_convolution_stays_float() -> None:
    model = transposed_convolution(2)
    assert activation_tensors(model) == []
    assert quantized(model, {}).graph.node == model.graph.node


def test_kept_nodes_stay_float_and_need_no_range(
    core: ModelProto, amax: Mapping[str, float]
) -> None:
    keep = ["class*", "stem", "residual"]
    needed = activation_tensors(core, keep=keep)
    model = quantized(core, {name: amax[name] for name in needed}, keep=keep)
    made_by = producers(model)
    for name in ("classifier", "stem", "residual"):
        assert all(
            item not in made_by or made_by[item].op_type != "DequantizeLinear"
            for item in named(model, name).input
        )
    assert "pixels" not in needed
    assert len(needed) == len(amax) - 2  # the residual is quantised for `expand` all the same
    assert sum(node.op_type == "Conv" for node in model.graph.node) == 13


def test_needed_tensors_come_once_in_the_order_of_the_graph(core: ModelProto) -> None:
    names = activation_tensors(core)
    assert names[:3] == ["pixels", "stem_clip_out", "down_clip_out"]
    assert len(names) == len(set(names)) == 12


@pytest.mark.parametrize("value", [None, np.nan, np.inf, -1.0])
def test_a_tensor_without_a_usable_range_is_named(
    core: ModelProto, amax: Mapping[str, float], value: float | None
) -> None:
    given = {name: range_ for name, range_ in amax.items() if name != "deep_relu_out"}
    if value is not None:
        given["deep_relu_out"] = value
    with pytest.raises(BuildError, match="'deep_relu_out' has no usable range") as caught:
        quantized(core, given)
    assert caught.value.exit_code == 5


def residual_graph(order: list[str]) -> ModelProto:
    """relu -> conv -> conv -> Add with the relu, the Add's inputs in `order`."""
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(3, 3, 1, 1)).astype(np.float32) for name in ("w0", "w1")}
    nodes = [
        helper.make_node("Relu", ["pixels"], ["identity"], name="relu"),
        helper.make_node("Conv", ["identity", "w0"], ["inner"], name="conv0"),
        helper.make_node("Conv", ["inner", "w1"], ["branch"], name="conv1"),
        helper.make_node("Add", order, ["logits"], name="add"),
    ]
    return small_graph(nodes, weights, shape=(1, 3, 8, 8), out=(1, 3, 8, 8))


@pytest.mark.parametrize("order", [["identity", "branch"], ["branch", "identity"]])
def test_the_identity_of_a_residual_block_is_quantised_on_either_side(order: list[str]) -> None:
    model = quantized(residual_graph(order), {"identity": 1.0, "inner": 1.0})
    add = named(model, "add")
    assert {"identity_dq", "branch"} == set(add.input)
    assert "identity_dq" in named(model, "conv0").input


@pytest.mark.parametrize("order", [["early", "late"], ["late", "early"]])
def test_of_two_convolutions_the_later_one_takes_the_sum_in(order: list[str]) -> None:
    """A projected shortcut: it is ready first, and is the residual."""
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(3, 3, 1, 1)).astype(np.float32) for name in ("w0", "w1")}
    nodes = [
        helper.make_node("Conv", ["pixels", "w0"], ["early"], name="shortcut"),
        helper.make_node("Conv", ["pixels", "w1"], ["late"], name="branch"),
        helper.make_node("Add", order, ["logits"], name="add"),
    ]
    core = small_graph(nodes, weights, shape=(1, 3, 8, 8), out=(1, 3, 8, 8))
    model = quantized(core, {"pixels": 1.0, "early": 1.0})
    assert set(named(model, "add").input) == {"early_dq", "late"}


def test_a_sum_without_a_convolution_stays_float() -> None:
    nodes = [
        helper.make_node("Relu", ["pixels"], ["left"], name="relu"),
        helper.make_node("Sigmoid", ["pixels"], ["right"], name="sigmoid"),
        helper.make_node("Add", ["left", "right"], ["logits"], name="add"),
    ]
    model = small_graph(nodes, {}, shape=(1, 3, 4, 4), out=(1, 3, 4, 4))
    assert activation_tensors(model) == []


def test_the_hash_is_stable_and_sees_scales_weights_and_places(
    core: ModelProto, amax: Mapping[str, float]
) -> None:
    def digest(core: ModelProto, ranges: Mapping[str, float], keep: tuple[str, ...] = ()) -> str:
        return quantization_hash(quantized(core, ranges, keep=keep))

    changed = ModelProto()
    changed.CopyFrom(core)
    (weight,) = [item for item in changed.graph.initializer if item.name == "fuse_weight"]
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[5] *= -1
    weight.CopyFrom(onnx.numpy_helper.from_array(values, "fuse_weight"))
    digests = [
        digest(core, amax),
        digest(core, {**amax, "pixels": amax["pixels"] * 1.001}),
        digest(changed, amax),
        digest(core, amax, ("stem",)),
    ]
    assert len(set(digests)) == len(digests)
    assert digest(core, dict(reversed(amax.items()))) == digests[0]
    assert len(digests[0]) == 64
