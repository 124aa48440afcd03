"""Q/DQ pairs go before a pool and stay behind a Concat; every output keeps every bit."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from edgeseg.graph.nodes import attribute, producers
from edgeseg.graph.seams import pooled_as_integers, whole_concats
from tests.graph.sketch import SHAPE, Sketch
from tests.oracle import run_all

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

Array = np.ndarray
POOL = {"kernel_shape": [2, 2], "strides": [2, 2]}
ZEROS = [np.int8(0), np.uint8(128)]


def pictures() -> Array:
    """Beyond what the pairs below hold, and with many equal integers."""
    return np.random.default_rng(0).normal(0, 8, SHAPE).astype(np.float32)


def drawn(sketch: Sketch, *outputs: str) -> ModelProto:
    """The model, without notes of the shapes inside."""
    model = sketch.model(*outputs)
    del model.graph.value_info[:]
    return model


def assert_same_bits(model: ModelProto, changed: ModelProto) -> None:
    onnx.checker.check_model(changed, full_check=True)
    for optimized in (False, True):
        wanted = run_all(model, {"x": pictures()}, optimized=optimized)
        found = run_all(changed, {"x": pictures()}, optimized=optimized)
        for one, other in zip(wanted, found, strict=True):
            np.testing.assert_array_equal(one, other)


def ops(model: ModelProto, output: str) -> list[str]:
    """What makes `output`, from its maker back to the input, by first inputs."""
    made_by, found = producers(model), []
    while output in made_by:
        node = made_by[output]
        found.append(node.name)
        output = node.input[0]
    return found


@pytest.mark.parametrize("zero", ZEROS, ids=["s8", "u8"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"strides": [1, 1]},
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [3, 3], "ceil_mode": 1},
        {"strides": [1, 1], "dilations": [2, 2]},
    ],
    ids=str,
)
def test_a_pool_is_quantised_before_it_and_gives_the_same_bits(
    zero: object, more: dict[str, object]
) -> None:
    sketch = Sketch()
    sketch.add("MaxPool", ["x"], "pool", **(POOL | more))
    sketch.add("Neg", [sketch.pair("pool_out", "pair", zero=zero)], "end")
    model = drawn(sketch, "end_out")
    assert ops(model, "end_out") == ["end", "pair_dq", "pair_q", "pool"]
    changed = pooled_as_integers(model)
    assert ops(changed, "end_out") == ["end", "pool", "pair_dq", "pair_q"]
    before, after = (next(n for n in m.graph.node if n.name == "pool") for m in (model, changed))
    assert before.attribute == after.attribute
    assert_same_bits(model, changed)


def test_all_readers_of_the_pair_read_the_pool_afterwards() -> None:
    sketch = Sketch()
    sketch.add("MaxPool", ["x"], "pool", **POOL)
    pair = sketch.pair("pool_out", "pair")
    sketch.add("Neg", [pair], "left")
    sketch.add("Abs", [pair], "right")
    model = drawn(sketch, "left_out", "right_out", "pair_dq_out")
    changed = pooled_as_integers(model)
    for name in ("left_out", "right_out"):
        assert ops(changed, name)[1:] == ["pool", "pair_dq", "pair_q"]
    assert_same_bits(model, changed)


def test_in_a_chain_of_pools_each_pair_goes_before_its_own_pool() -> None:
    sketch = Sketch()
    sketch.add("MaxPool", ["x"], "pool1", kernel_shape=[2, 2])
    sketch.add("Neg", [sketch.pair("pool1_out", "first", 0.2)], "neg")
    sketch.add("MaxPool", ["neg_out"], "pool2", kernel_shape=[2, 2])
    model = drawn(sketch, sketch.pair("pool2_out", "second", 0.3))
    changed = pooled_as_integers(model)
    order = ["pool2", "second_dq", "second_q", "neg", "pool1", "first_dq", "first_q"]
    assert ops(changed, "second_dq_out") == order
    assert_same_bits(model, changed)


def unchanged_cases() -> dict[str, ModelProto]:
    """Pools that stay where they are, and why."""
    found = {}
    sketch = Sketch()
    sketch.add("MaxPool", ["x"], "pool", **POOL)
    sketch.nodes[-1].output.append("which")
    found["tells indices"] = sketch.model(sketch.pair("pool_out", "pair"))

    sketch = Sketch()
    sketch.add("MaxPool", ["x"], "pool", **POOL)
    sketch.add("Neg", ["pool_out"], "side")
    found["has two readers"] = sketch.model(sketch.pair("pool_out", "pair"), "side_out")

    sketch = Sketch()
    sketch.add("MaxPool", ["x"], "pool", **POOL)
    found["is an output"] = sketch.model(sketch.pair("pool_out", "pair"), "pool_out")

    sketch = Sketch()
    sketch.add("MaxPool", ["x"], "pool", **POOL)
    found["has two pairs"] = sketch.model(
        sketch.pair("pool_out", "pair"), sketch.pair("pool_out", "other", 0.3)
    )

    sketch = Sketch()
    sketch.add("MaxPool", ["x"], "pool", **POOL)
    sketch.pair("pool_out", "pair")
    sketch.add("DequantizeLinear", ["pair_q_out", "pair_scale", "pair_zero"], "again")
    found["has a Q with two DQ"] = sketch.model("pair_dq_out", "again_out")

    sketch = Sketch()
    sketch.add("MaxPool", ["x"], "pool", **POOL)
    sketch.add("Relu", ["pool_out"], "act")
    found["is not read by the Q"] = sketch.model(sketch.pair("act_out", "pair"))

    sketch = Sketch()
    sketch.add("AveragePool", ["x"], "pool", **POOL)
    found["takes means"] = sketch.model(sketch.pair("pool_out", "pair"))
    return found


@pytest.mark.parametrize("case", unchanged_cases())
def test_a_pool_stays_where_it(case: str) -> None:
    model = unchanged_cases()[case]
    assert pooled_as_integers(model).graph == model.graph


def joined(zero: object = ZEROS[0], *, axis: int = 1) -> Sketch:
    """A Concat of a signed and a never-negative tensor, and a pair behind it."""
    sketch = Sketch()
    sketch.add("Relu", ["x"], "act")
    sketch.add("Concat", ["x", "act_out"], "both", axis=axis)
    sketch.pair("both_out", "pair", zero=zero)
    return sketch


@pytest.mark.parametrize("axis", [1, 3])
def test_a_signed_pair_behind_a_concat_gets_a_pool_of_one_pixel_before_it(axis: int) -> None:
    model = joined(axis=axis).model("pair_dq_out")
    changed = whole_concats(model)
    maker = producers(changed)[producers(changed)["pair_q_out"].input[0]]
    assert (maker.op_type, attribute(maker, "kernel_shape")) == ("MaxPool", [1, 1])
    assert list(maker.input) == ["both_out"]
    assert len(changed.graph.node) == len(model.graph.node) + 1
    assert_same_bits(model, changed)


def test_what_else_reads_the_concat_still_reads_it() -> None:
    sketch = joined()
    sketch.add("Neg", ["both_out"], "side")
    model = sketch.model("pair_dq_out", "side_out")
    changed = whole_concats(model)
    assert producers(changed)["side_out"].input[0] == "both_out"
    assert_same_bits(model, changed)


def test_two_signed_pairs_behind_one_concat_get_a_pool_each() -> None:
    sketch = joined()
    sketch.pair("both_out", "other", 0.3)
    model = sketch.model("pair_dq_out", "other_dq_out")
    changed = whole_concats(model)
    assert [node.op_type for node in changed.graph.node].count("MaxPool") == 2
    assert_same_bits(model, changed)


def test_an_unsigned_pair_behind_a_concat_stays() -> None:
    model = joined(np.uint8(0)).model("pair_dq_out")
    assert whole_concats(model).graph == model.graph


def test_a_signed_pair_behind_anything_else_stays() -> None:
    sketch = joined(np.uint8(0))
    sketch.add("Relu", ["both_out"], "after")
    model = sketch.model(sketch.pair("after_out", "signed"), sketch.pair("x", "input"))
    assert whole_concats(model).graph == model.graph


def test_the_given_graph_stays_as_it_is() -> None:
    sketch = joined()
    sketch.add("MaxPool", ["pair_dq_out"], "pool", **POOL)
    model = sketch.model(sketch.pair("pool_out", "pooled"))
    before = model.SerializeToString(deterministic=True)
    assert pooled_as_integers(model).graph.node != model.graph.node
    assert whole_concats(model).graph.node != model.graph.node
    assert model.SerializeToString(deterministic=True) == before
