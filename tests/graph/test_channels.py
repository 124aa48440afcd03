"""Channels that one op mixes have one scale; those that an op would change keep theirs."""

import numpy as np
import pytest

from edgeseg.graph.channels import FIXED, channels_of
from tests.graph.sketch import CHANNELS, Sketch

pytestmark = pytest.mark.needs("onnx")

Array = np.ndarray
LIMITS = {"zero": 0.0, "half": 0.5, "one": 1.0, "six": 6.0, "minus": -6.0}


def drawing() -> Sketch:
    """The convolution `stem` of four channels, `stem_out`, and some numbers."""
    sketch = Sketch()
    for name, value in LIMITS.items():
        sketch.constant(name, np.float32(value).reshape(()))
    conv(sketch, "x", "stem")
    return sketch


def conv(sketch: Sketch, source: str, name: str, *, inputs: int = CHANNELS, group: int = 1) -> str:
    weight = sketch.constant(f"{name}_w", np.ones((CHANNELS, inputs // group, 1, 1), np.float32))
    return sketch.add("Conv", [source, weight], name, group=group)


def groups(sketch: Sketch, *names: str) -> list[list[int]]:
    """Of `names`; the graph ends in a convolution of its own, whose output has no reader."""
    conv(sketch, "x", "end")
    of = channels_of(sketch.model("end_out")).of
    return [of[name].tolist() for name in names]


def are_free(found: list[int]) -> bool:
    """Whether each channel can be scaled on its own."""
    return FIXED not in found and len(set(found)) == len(found)


def test_each_output_channel_of_a_convolution_is_a_group_of_its_own() -> None:
    sketch = drawing()
    conv(sketch, "stem_out", "deep")
    conv(sketch, "deep_out", "depthwise", group=CHANNELS)
    stem, deep, depthwise = groups(sketch, "stem_out", "deep_out", "depthwise_out")
    assert are_free(stem + deep + depthwise)


def test_the_input_and_the_outputs_of_the_network_keep_their_scales() -> None:
    sketch = drawing()
    sketch.add("Relu", ["stem_out"], "act")
    of = channels_of(sketch.model("act_out")).of
    assert {name: groups.tolist() for name, groups in of.items()} == {
        "x": [FIXED] * 4,
        "stem_out": [FIXED] * 4,
        "act_out": [FIXED] * 4,
    }


PASSING = {
    "relu": ("Relu", [], {}),
    "leaky relu": ("LeakyRelu", [], {"alpha": 0.1}),
    "max pool": ("MaxPool", [], {"kernel_shape": [2, 2]}),
    "average pool": ("AveragePool", [], {"kernel_shape": [2, 2]}),
    "global pool": ("GlobalAveragePool", [], {}),
    "mean": ("ReduceMean", [], {"axes": [2, 3]}),
    "mean from behind": ("ReduceMean", [], {"axes": [-1, -2]}),
    "relu6": ("Clip", ["zero", "six"], {}),
    "resize": ("Resize", ["", "twice"], {"mode": "linear"}),
    "pad by zero": ("Pad", ["border"], {}),
    "pad by 0.0": ("Pad", ["border", "zero"], {}),
    "pad by what is there": ("Pad", ["border", "one"], {"mode": "reflect"}),
    "expand": ("Expand", ["batch"], {}),
}


@pytest.mark.parametrize("case", PASSING)
def test_an_op_that_scales_with_its_input_hands_the_groups_on(case: str) -> None:
    op, more, attributes = PASSING[case]
    sketch = drawing()
    sketch.constant("twice", np.array([1, 1, 2, 2], np.float32))
    sketch.constant("border", np.array([0, 0, 1, 1, 0, 0, 2, 2], np.int64))
    sketch.constant("batch", np.array([3, 1, 1, 1], np.int64))
    sketch.add(op, ["stem_out", *more], "op", **attributes)
    before, after = groups(sketch, "stem_out", "op_out")
    assert before == after
    assert are_free(after)


STOPPING = {
    "sigmoid": ("Sigmoid", [], {}),
    "tanh": ("Tanh", [], {}),
    "hard swish": ("HardSwish", [], {}),
    "softmax": ("Softmax", [], {"axis": 1}),
    "clip to both sides": ("Clip", ["minus", "six"], {}),
    "clip from above zero": ("Clip", ["half", "six"], {}),
    "clip without an upper end": ("Clip", ["zero"], {}),
    "mean over the channels": ("ReduceMean", [], {"axes": [1]}),
    "mean that drops its axes": ("ReduceMean", [], {"axes": [2, 3], "keepdims": 0}),
    "pad by one": ("Pad", ["border", "one"], {}),
    "pad of channels": ("Pad", ["more"], {}),
    "sum with a constant": ("Add", ["one"], {}),
    "product with a constant": ("Mul", ["six"], {}),
    "DCR": ("DepthToSpace", [], {"blocksize": 2}),
    "concat of rows": ("Concat", ["stem_out"], {"axis": 2}),
    "concat with a constant": ("Concat", ["plane"], {"axis": 1}),
    "computed weight": ("Conv", ["computed"], {}),
}


@pytest.mark.parametrize("case", STOPPING)
def test_an_op_that_does_not_fixes_what_it_reads(case: str) -> None:
    op, more, attributes = STOPPING[case]
    sketch = drawing()
    sketch.constant("border", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    sketch.constant("more", np.array([0, 1, 0, 0, 0, 0, 0, 0], np.int64))
    sketch.constant("plane", np.ones((1, 1, 8, 8), np.float32))
    if case == "computed weight":
        computed_weight(sketch)
    sketch.add("Relu", ["stem_out"], "act")
    sketch.add(op, ["act_out", *more], "op", **attributes)
    conv(sketch, "act_out", "other")
    found, before, other = groups(sketch, "act_out", "stem_out", "other_out")
    assert found == before == [FIXED] * 4
    assert are_free(other)


def computed_weight(sketch: Sketch) -> None:
    """`computed`, (1, 4, 1, 1), which depends on the picture."""
    sketch.add("GlobalAveragePool", ["x"], "weigh")
    sketch.nodes[-1].output[0] = "computed"


def test_a_pool_that_tells_indices_fixes_what_it_reads() -> None:
    sketch = drawing()
    sketch.add("MaxPool", ["stem_out"], "pool", kernel_shape=[2, 2])
    sketch.nodes[-1].output.append("which")
    before, after = groups(sketch, "stem_out", "pool_out")
    assert before == after == [FIXED] * 4


@pytest.mark.parametrize("op", ["Add", "Sub", "Max", "Min", "Sum"])
def test_ops_on_two_tensors_join_them_channel_by_channel(op: str) -> None:
    sketch = drawing()
    conv(sketch, "x", "other")
    sketch.add(op, ["other_out", "stem_out"], "both")
    stem, other, both = groups(sketch, "stem_out", "other_out", "both_out")
    assert stem == other == both
    assert are_free(both)


def test_a_sum_with_one_channel_fixes_both() -> None:
    sketch = drawing()
    weight = sketch.constant("gate_w", np.ones((1, CHANNELS, 1, 1), np.float32))
    sketch.add("Conv", ["x", weight], "gate")
    sketch.add("Add", ["stem_out", "gate_out"], "both")
    assert groups(sketch, "stem_out", "gate_out") == [[FIXED] * 4, [FIXED]]


def test_a_concat_has_the_groups_of_its_inputs_one_after_the_other() -> None:
    sketch = drawing()
    conv(sketch, "x", "other")
    sketch.add("Concat", ["other_out", "x", "stem_out", "stem_out"], "all", axis=1)
    stem, other, together = groups(sketch, "stem_out", "other_out", "all_out")
    assert together == other + [FIXED] * 4 + stem + stem
    assert are_free(stem + other)


def test_what_is_joined_to_half_a_concat_leaves_the_other_half_free() -> None:
    """Two and two channels, joined to four of which the last two are fixed."""
    sketch = drawing()
    for name in ("left", "right"):
        weight = sketch.constant(f"{name}_w", np.ones((2, CHANNELS, 1, 1), np.float32))
        sketch.add("Conv", ["x", weight], name)
    sketch.add("Concat", ["left_out", "right_out"], "halves", axis=1)
    sketch.add("Add", ["halves_out", "stem_out"], "both")
    sketch.add("Sigmoid", ["right_out"], "gate")
    stem, left, right = groups(sketch, "stem_out", "left_out", "right_out")
    assert right == [FIXED] * 2
    assert stem == left + right
    assert are_free(left)


def test_depth_to_space_joins_the_channels_of_one_block() -> None:
    sketch = drawing()
    weight = sketch.constant("wide_w", np.ones((8, CHANNELS, 1, 1), np.float32))
    sketch.add("Conv", ["x", weight], "wide")
    sketch.add("DepthToSpace", ["wide_out"], "shuffle", blocksize=2, mode="CRD")
    before, after = groups(sketch, "wide_out", "shuffle_out")
    assert before == [after[0]] * 4 + [after[1]] * 4
    assert are_free(after)


@pytest.mark.parametrize(("group", "free"), [(1, True), (2, False)])
def test_a_transposed_convolution_makes_groups_unless_it_is_grouped(group: int, free: bool) -> None:
    sketch = drawing()
    weight = sketch.constant("up_w", np.ones((CHANNELS, 6 // group, 2, 2), np.float32))
    sketch.add("ConvTranspose", ["stem_out", weight], "up", group=group)
    before, after = groups(sketch, "stem_out", "up_out")
    assert are_free(before) == are_free(after) == free
    assert len(after) == 6


@pytest.mark.parametrize("seed", range(6))
def test_groups_are_the_connected_parts_of_what_is_summed(seed: int) -> None:
    """Against the closure of "is added to": powers of a matrix; number 0 is the picture."""
    rng = np.random.default_rng(seed)
    count = 9
    sketch = Sketch()
    names = ["x", *(conv(sketch, "x", f"conv{index}") for index in range(1, count))]
    meets = np.eye(count, dtype=int)
    for index in range(7):
        one, other = (int(i) for i in rng.choice(count, 2, replace=False))
        sketch.add("Add", [names[one], names[other]], f"sum{index}")
        meets[one, other] = meets[other, one] = 1
    together = np.linalg.matrix_power(meets, count) > 0
    found = np.array(groups(sketch, *names))
    for channel in range(CHANNELS):
        np.testing.assert_array_equal(
            np.equal.outer(found[:, channel], found[:, channel]), together
        )
    np.testing.assert_array_equal(found == FIXED, np.repeat(together[:, :1], CHANNELS, 1))
    free = found[~together[0]]
    assert all(set(free[:, 0]).isdisjoint(free[:, channel]) for channel in range(1, CHANNELS))
