"""Seven bits for the weights whose products would saturate in 16 bits; others keep eight."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, helper

from edgeseg.graph.narrow import narrowed
from edgeseg.graph.nodes import constants, producers
from edgeseg.graph.quantize import activation_tensors, quantized
from edgeseg.graph.unsigned import unsigned_where_never_negative
from edgeseg.types import RoundedWeights
from tests.networks import small_graph
from tests.oracle import run

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

Array = np.ndarray
SIGNED = {"signed", "last"}
"""The dense layers that read INT8 once never-negative activations are U8."""
FLOAT_AGAIN = "stem"


def network() -> ModelProto:
    """The picture, a signed map, a never-negative one, a depthwise layer and one that is wider."""
    rng = np.random.default_rng(0)
    edge = {"pads": [1, 1, 1, 1]}
    weights = {
        "stem_w": rng.normal(size=(8, 3, 3, 3)),
        "signed_w": rng.normal(size=(8, 8, 3, 3)),
        "thin_w": rng.normal(size=(8, 1, 3, 3)),
        "unsigned_w": rng.normal(size=(8, 8, 1, 1)),
        "last_w": rng.normal(size=(8, 5, 2, 2)),
    }
    nodes = [
        helper.make_node("Conv", ["pixels", "stem_w"], ["wave"], "stem", **edge),
        helper.make_node("Conv", ["wave", "signed_w"], ["sums"], "signed", **edge),
        helper.make_node("Relu", ["sums"], ["positive"], "relu"),
        helper.make_node("Conv", ["positive", "unsigned_w"], ["mixed"], "unsigned"),
        helper.make_node("Conv", ["mixed", "thin_w"], ["thin"], "thin", group=8, **edge),
        helper.make_node("ConvTranspose", ["thin", "last_w"], ["logits"], "last", strides=[2, 2]),
    ]
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    return small_graph(nodes, weights, shape=(1, 3, 8, 8), out=(1, 5, 16, 16))


@pytest.fixture(scope="module")
def qdq() -> ModelProto:
    core = network()
    amax = dict.fromkeys(activation_tensors(core), 20.0) | {"pixels": 3.0}
    return unsigned_where_never_negative(quantized(core, amax))


@pytest.fixture(scope="module")
def narrow(qdq: ModelProto) -> ModelProto:
    model = narrowed(qdq)
    onnx.checker.check_model(model, full_check=True)
    return model


def layer(model: ModelProto, name: str) -> NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def stored(model: ModelProto, name: str) -> tuple[Array, Array]:
    """The integers and the scales of the weight of the layer `name`."""
    values = constants(model)
    back = producers(model)[layer(model, name).input[1]]
    return values[back.input[0]], values[back.input[1]]


def dequantised(model: ModelProto, name: str) -> Array:
    rows, scales = stored(model, name)
    shape = (1, -1, 1, 1) if layer(model, name).op_type == "ConvTranspose" else (-1, 1, 1, 1)
    return rows.astype(np.float64) * scales.reshape(shape)


@pytest.mark.parametrize("name", sorted(SIGNED))
def test_weights_that_meet_signed_activations_end_at_63_with_twice_the_scale(
    qdq: ModelProto, narrow: ModelProto, name: str
) -> None:
    (wide, steps), (rows, scales) = stored(qdq, name), stored(narrow, name)
    assert np.abs(wide).max() == 127
    assert (rows.dtype, rows.shape) == (np.int8, wide.shape)
    assert np.abs(rows).max() == 63
    np.testing.assert_array_equal(scales, 2 * steps)


@pytest.mark.parametrize("name", sorted(SIGNED))
def test_no_weight_moves_by_more_than_half_a_new_step(
    qdq: ModelProto, narrow: ModelProto, name: str
) -> None:
    moved = np.abs(dequantised(narrow, name) - dequantised(qdq, name))
    axis = (0, 2, 3) if name == "last" else (1, 2, 3)
    half = stored(narrow, name)[1] / 2
    assert np.all(moved.max(axis) <= half * (1 + 1e-6))
    assert moved.max() > 0


@pytest.mark.parametrize("name", sorted(SIGNED))
def test_halved_weights_lean_to_neither_side(
    qdq: ModelProto, narrow: ModelProto, name: str
) -> None:
    """Every other one is odd; cut towards zero, they would lose half an old step on average."""
    wide, rows = (np.abs(stored(model, name)[0].astype(int)) for model in (qdq, narrow))
    assert abs(np.mean(2 * rows - wide)) < 0.2


@pytest.mark.parametrize("name", sorted(SIGNED))
def test_two_products_fit_16_bits_afterwards_and_did_not_before(
    qdq: ModelProto, narrow: ModelProto, name: str
) -> None:
    """Of the worst activations: what is signed is shifted to 0..255 for the multiplication."""
    worst = [2 * 255 * int(np.abs(stored(m, name)[0].astype(int)).max()) for m in (qdq, narrow)]
    assert worst[0] > np.iinfo(np.int16).max >= worst[1]


@pytest.mark.parametrize("name", ["unsigned", "thin"])
def test_layers_that_read_u8_and_depthwise_layers_keep_their_weights(
    qdq: ModelProto, narrow: ModelProto, name: str
) -> None:
    for before, after in zip(stored(qdq, name), stored(narrow, name), strict=True):
        np.testing.assert_array_equal(before, after)
    assert layer(narrow, name) == layer(qdq, name)


def test_without_unsigned_activations_every_dense_layer_is_narrow() -> None:
    core = network()
    model = narrowed(quantized(core, dict.fromkeys(activation_tensors(core), 20.0)))
    largest = {
        name: int(np.abs(stored(model, name)[0].astype(int)).max())
        for name in ("signed", "unsigned", "thin", "last")
    }
    assert largest == {"signed": 63, "unsigned": 63, "thin": 127, "last": 63}


def test_the_layer_that_reads_the_picture_is_float_and_reads_the_picture_itself(
    qdq: ModelProto, narrow: ModelProto
) -> None:
    stem = layer(narrow, FLOAT_AGAIN)
    assert stem.input[0] == "pixels"
    rows = constants(narrow)[stem.input[1]]
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, dequantised(qdq, FLOAT_AGAIN), rtol=1e-6)
    assert stem.attribute == layer(qdq, FLOAT_AGAIN).attribute
    assert not {"pixels_q", "pixels_dq"} & {node.name for node in narrow.graph.node}


def test_it_is_float_also_where_others_read_the_integers() -> None:
    """The four channels are read by a depthwise layer too, which stays INT8."""
    rng = np.random.default_rng(0)
    weights = {
        "few_w": rng.normal(size=(4, 4, 1, 1)).astype(np.float32),
        "thin_w": rng.normal(size=(4, 1, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["pixels", "few_w"], ["few"], "few"),
        helper.make_node("Conv", ["pixels", "thin_w"], ["thin"], "thin", group=4),
        helper.make_node("Concat", ["few", "thin"], ["logits"], "both", axis=1),
    ]
    core = small_graph(nodes, weights, shape=(1, 4, 8, 8), out=(1, 8, 8, 8))
    model = narrowed(quantized(core, {"pixels": 1.0}))
    assert layer(model, "few").input[0] == "pixels"
    assert layer(model, "thin").input[0] == "pixels_dq"


@pytest.mark.parametrize(("inputs", "becomes_float"), [(4, True), (5, False)])
def test_four_input_channels_are_few_and_five_are_not(inputs: int, becomes_float: bool) -> None:
    model = narrowed(quantized(one_layer(inputs), {"pixels": 1.0}))
    assert (layer(model, "only").input[0] == "pixels") == becomes_float


def one_layer(inputs: int) -> ModelProto:
    rows = np.random.default_rng(0).normal(size=(2, inputs, 1, 1)).astype(np.float32)
    node = helper.make_node("Conv", ["pixels", "w"], ["logits"], "only")
    return small_graph([node], {"w": rows}, shape=(1, inputs, 4, 4), out=(1, 2, 4, 4))


@pytest.mark.parametrize("largest", [62, 63, 64])
def test_weights_that_end_at_63_already_stay(largest: int) -> None:
    rows = np.tile(np.array([1, -largest], np.int8), (2, 4)).reshape(2, 8, 1, 1)
    rounded = RoundedWeights(rows, np.full(2, 0.5, np.float32), np.zeros(2, np.float32))
    model = quantized(one_layer(8), {"pixels": 1.0}, weights={"only": rounded})
    found, scales = stored(narrowed(model), "only")
    if largest < 64:
        np.testing.assert_array_equal(found, rows)
        np.testing.assert_array_equal(scales, 0.5)
    else:
        np.testing.assert_array_equal(found, np.where(rows < 0, -32, 0))
        np.testing.assert_array_equal(scales, 1.0)


def test_a_weight_that_two_layers_share_is_halved_once() -> None:
    rows = np.random.default_rng(0).normal(size=(8, 8, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["pixels", "w"], ["inner"], "first"),
        helper.make_node("Conv", ["inner", "w"], ["logits"], "second"),
    ]
    core = small_graph(nodes, {"w": rows}, shape=(1, 8, 4, 4), out=(1, 8, 4, 4))
    model = quantized(core, {"pixels": 1.0, "inner": 1.0})
    change = np.abs(dequantised(narrowed(model), "second") - dequantised(model, "second"))
    assert np.all(change.max((1, 2, 3)) <= stored(model, "second")[1] * (1 + 1e-6))


def test_the_network_computes_nearly_what_it_did(qdq: ModelProto, narrow: ModelProto) -> None:
    pixels = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    wanted, found = (run(m, {"pixels": pixels}, optimized=False) for m in (qdq, narrow))
    assert 0 < np.std(found - wanted) < 0.1 * np.std(wanted)


def test_a_float_graph_and_the_given_one_stay_as_they_are(qdq: ModelProto) -> None:
    before = qdq.SerializeToString(deterministic=True)
    narrowed(qdq)
    assert qdq.SerializeToString(deterministic=True) == before
    assert narrowed(network()).graph.node == network().graph.node
