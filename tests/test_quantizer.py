"""One calibrated network with any of its layers left in float, by exact name and by pattern."""

import math

import numpy as np
import pytest
from onnx import ModelProto, helper

from edgeseg.errors import UsageError
from edgeseg.graph.nodes import constants
from edgeseg.graph.quantize import activation_tensors
from edgeseg.graph.simplify import fixed_core
from edgeseg.quantizer import Quantizer
from edgeseg.types import RoundedWeights, Size
from tests.networks import CLASSES, SIZE, small_graph, tiny_core

pytestmark = pytest.mark.needs("onnx", "onnxsim")

LAYERS = {
    "stem": (24 * 32, 16 * 3 * 9),
    "down": (12 * 16, 16 * 9),
    "project": (12 * 16, 16 * 16),
    "expand": (12 * 16, 32 * 16),
    "depthwise": (12 * 16, 32 * 9),
    "linear": (12 * 16, 16 * 32),
    "deep": (6 * 8, 24 * 16 * 9),
    "local": (6 * 8, 16 * 24),
    "pooled": (1, 16 * 24),
    "fuse": (6 * 8, 16 * 32),
    "detail": (12 * 16, 8 * 16),
    "refine": (12 * 16, 16 * 24 * 9),
    "classifier": (12 * 16, CLASSES * 16),
}
"""Of each layer how many outputs a channel has, and how many weights."""


@pytest.fixture(scope="module")
def core() -> ModelProto:
    return fixed_core(tiny_core(), Size(*SIZE))


@pytest.fixture(scope="module")
def quantizer(core: ModelProto) -> Quantizer:
    return Quantizer(core, dict.fromkeys(activation_tensors(core), 4.0))


def _float_layers(graph: ModelProto) -> list[str]:
    """The convolutions that read no dequantised tensor."""
    made = {n.output[0] for n in graph.graph.node if n.op_type == "DequantizeLinear"}
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    return [node.name for node in convolutions if not made & {*node.input}]


def _quantized(graph: ModelProto) -> list[str]:
    return [n.input[0] for n in graph.graph.node if n.op_type == "QuantizeLinear"]


def test_layers_come_in_the_order_of_the_graph_with_their_macs(quantizer: Quantizer) -> None:
    assert {each.name: each.macs for each in quantizer.layers} == {
        name: math.prod(counts) for name, counts in LAYERS.items()
    }
    assert [each.name for each in quantizer.layers] == list(LAYERS)
    assert {each.op for each in quantizer.layers} == {"Conv"}
    assert quantizer.macs == sum(each.macs for each in quantizer.layers)


@pytest.mark.parametrize("keep", [[], ["stem"], ["classifier", "depthwise", "pooled"]])
def test_exactly_the_named_layers_stay_float(quantizer: Quantizer, keep: list[str]) -> None:
    assert sorted(_float_layers(quantizer.graph(keep))) == sorted(keep)
    assert sorted(_float_layers(quantizer.graph(set(keep)))) == sorted(keep)


def test_spared_layers_stay_float_unless_others_are_named(core: ModelProto) -> None:
    amax = dict.fromkeys(activation_tensors(core), 4.0)
    quantizer = Quantizer(core, amax, spared=("stem", "down"))

    assert _float_layers(quantizer.graph()) == ["stem", "down"]
    assert _float_layers(quantizer.graph(["fuse"])) == ["fuse"]
    assert _float_layers(quantizer.graph(())) == []


def test_core_is_never_changed(quantizer: Quantizer, core: ModelProto) -> None:
    before = core.SerializeToString()

    quantizer.graph(["stem"])

    assert quantizer.core.SerializeToString() == before


def test_rounded_weights_are_taken_where_there_are_any(core: ModelProto) -> None:
    amax = dict.fromkeys(activation_tensors(core), 4.0)
    integers = np.random.default_rng(0).integers(-127, 128, (8, 16, 1, 1)).astype(np.int8)
    own = RoundedWeights(integers, np.full(8, 0.25, np.float32), np.arange(8, dtype=np.float32))
    graph = Quantizer(core, amax, weights={"detail": own}).graph()

    (node,) = [node for node in graph.graph.node if node.name == "detail"]
    (back,) = [each for each in graph.graph.node if each.output[0] == node.input[1]]
    values, before = constants(graph), constants(core)
    (plain,) = [each for each in core.graph.node if each.name == "detail"]
    np.testing.assert_array_equal(values[back.input[0]], integers)
    np.testing.assert_array_equal(values[back.input[1]], own.scales)
    np.testing.assert_array_equal(values[node.input[2]], before[plain.input[2]] + own.bias_shift)


@pytest.mark.parametrize("keep", [[], ["refine"], ["down", "detail", "pooled"], list(LAYERS)])
def test_share_in_int8_is_that_of_the_macs(quantizer: Quantizer, keep: list[str]) -> None:
    total = sum(math.prod(counts) for counts in LAYERS.values())
    kept = sum(math.prod(LAYERS[name]) for name in keep)

    assert quantizer.int8_share(keep) == pytest.approx(100 * (1 - kept / total))


def test_three_small_layers_cost_less_than_one_large_one(quantizer: Quantizer) -> None:
    small = quantizer.int8_share(["down", "detail", "pooled"])

    assert small > 90 > quantizer.int8_share(["refine"])


def test_macs_that_int8_cannot_compute_count_as_float() -> None:
    """A matrix product stays float: the share is of the whole network."""
    nodes = [
        helper.make_node("Conv", ["pixels", "w"], ["t"], name="conv"),
        helper.make_node("MatMul", ["t", "m"], ["logits"], name="product"),
    ]
    weights = {"w": np.ones((3, 3, 1, 1), np.float32), "m": np.eye(8, dtype=np.float32)}
    core = small_graph(nodes, weights, shape=(1, 3, 8, 8), out=(1, 3, 8, 8))
    quantizer = Quantizer(core, {"pixels": 1.0})

    assert [each.name for each in quantizer.layers] == ["conv"]
    conv, product = 8 * 8 * 9, 3 * 8 * 8 * 8
    assert quantizer.macs == conv + product
    assert quantizer.int8_share(()) == pytest.approx(100 * conv / (conv + product))


def test_network_without_macs_has_no_share() -> None:
    nodes = [helper.make_node("Relu", ["pixels"], ["logits"], name="relu")]
    core = small_graph(nodes, {}, shape=(1, 3, 8, 8), out=(1, 3, 8, 8))

    assert Quantizer(core, {}).int8_share(()) == 0.0
    assert Quantizer(core, {}).layers == []


def test_patterns_match_as_in_a_shell(quantizer: Quantizer) -> None:
    found = quantizer.matching(["*l*e*", "fuse", "de?p", "[st]*", "*"])

    assert found == {
        "*l*e*": ["linear", "pooled", "classifier"],
        "fuse": ["fuse"],
        "de?p": ["deep"],
        "[st]*": ["stem"],
        "*": list(LAYERS),
    }


def test_patterns_mind_the_case(quantizer: Quantizer) -> None:
    with pytest.raises(UsageError, match="Stem"):
        quantizer.matching(["Stem"])


def test_pattern_that_matches_nothing_is_refused_with_names_that_exist(
    quantizer: Quantizer,
) -> None:
    with pytest.raises(UsageError, match=r"'\*head\*' matches none of the 13 layers") as caught:
        quantizer.matching(["classifier", "*head*"])

    assert caught.value.exit_code == 2
    assert "'stem'" in caught.value.fix
    assert "'classifier'" in caught.value.fix


def test_name_with_brackets_is_a_name_and_no_pattern() -> None:
    quantizer = _bracketed()

    assert "block[1].conv" in _float_layers(quantizer.graph(["block[1].conv"]))
    assert "block[1].conv" in quantizer.matching(["block[1].conv"])["block[1].conv"]


def test_name_with_brackets_matches_no_other_layer() -> None:
    quantizer = _bracketed()

    assert _float_layers(quantizer.graph(["block[1].conv"])) == ["block[1].conv"]


def _bracketed() -> Quantizer:
    weights = {"w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["pixels", "w"], ["t"], name="block[1].conv"),
        helper.make_node("Conv", ["t", "w"], ["logits"], name="block1.conv"),
    ]
    core = small_graph(nodes, weights, shape=(1, 3, 8, 8), out=(1, 3, 8, 8))
    return Quantizer(core, {"pixels": 1.0, "t": 1.0})


def test_nothing_is_quantised_where_all_layers_stay_float(quantizer: Quantizer) -> None:
    assert _quantized(quantizer.graph(list(LAYERS))) == []
