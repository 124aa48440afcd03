"""What may look like a broken rule of placement, and is none."""

import numpy as np
import pytest

from edgeseg.graph.lint import Share, examined, lint
from tests.graph.sketch import CHANNELS, Sketch


def test_an_add_behind_no_convolution_may_have_both_inputs_quantised() -> None:
    """There is no kernel to fuse it into; it is INT8 on its own, as its output is."""
    s = Sketch()
    left = s.pair(s.add("Relu", ["x"], "relu"), "left")
    both = s.add("Relu", [s.add("Add", [left, s.pair("x", "right")], "sum")], "behind_sum")
    (found,) = lint(s.model(both))
    assert (found.id, found.node) == ("float-output", "sum")
    assert lint(s.model(s.conv(both, "conv"))) == []


@pytest.mark.parametrize("quantized", [0, 1])
def test_of_two_convolutions_either_may_take_the_add_in(quantized: int) -> None:
    s = Sketch()
    branches = [s.conv("x", "left"), s.conv("x", "right")]
    branches[quantized] = s.pair(branches[quantized], "residual")
    assert lint(s.model(s.add("Add", branches, "sum"))) == []


def test_the_wrong_branch_of_an_add_is_found_where_it_alone_is_quantised() -> None:
    s = Sketch()
    branch = s.pair(s.conv("x", "conv"), "branch")
    (found,) = lint(s.model(s.add("Add", [branch, "x"], "sum")))
    assert (found.id, found.node) == ("add-branch", "sum")


def test_a_linear_convolution_that_two_layers_read_is_itself_the_residual() -> None:
    """One Q/DQ serves the next convolution and the Add: nothing else could be fused."""
    s = Sketch()
    low = s.pair(s.conv("x", "first"), "low")
    weight = s.weight("w", (CHANNELS, CHANNELS, 1, 1))
    inner = s.add("Conv", [low, weight], "second")
    assert lint(s.model(s.add("Add", [low, inner], "sum"))) == []


def test_a_bias_that_is_added_is_no_branch() -> None:
    s = Sketch()
    bias = s.constant("bias", np.ones((1, CHANNELS, 1, 1), np.float32))
    assert lint(s.model(s.add("Add", [s.conv("x", "conv"), bias], "sum"))) == []


@pytest.mark.parametrize("op", ["MaxPool", "Transpose", "Identity"])
def test_quantisation_passes_what_only_picks_or_moves_values(op: str) -> None:
    s = Sketch()
    options = {"MaxPool": {"kernel_shape": [2, 2]}, "Transpose": {"perm": [0, 1, 3, 2]}}
    moved = s.add(op, [s.pair("x", "pair")], "moved", **options.get(op, {}))
    weight = s.weight("w", (CHANNELS, CHANNELS, 1, 1))
    model = s.model(s.add("Conv", [moved, weight], "conv"))
    assert lint(model) == []
    share = examined(model).share
    assert share is not None
    assert share.macs_int8 == share.macs > 0


def test_a_convolution_behind_an_average_of_integers_reads_float() -> None:
    s = Sketch()
    pool = s.add("AveragePool", [s.pair("x", "pair")], "pool", kernel_shape=[2, 2])
    weight = s.weight("w", (CHANNELS, CHANNELS, 1, 1))
    found = lint(s.model(s.add("Conv", [pool, weight], "conv")))
    assert [(item.id, item.node) for item in found] == [
        ("float-output", "pool"),
        ("one-input", "conv"),
    ]


def test_a_gate_is_quantised_on_both_sides_or_on_none() -> None:
    s = Sketch()
    gate = s.add("Sigmoid", ["x"], "gate")
    (found,) = lint(s.model(s.pair(s.add("Mul", [s.pair("x", "pair"), gate], "gated"), "behind")))
    assert (found.id, found.node) == ("some-inputs", "gated")


def test_a_constant_factor_is_neither() -> None:
    s = Sketch()
    half = s.constant("half", np.full((1, 1, 1, 1), 0.5, np.float32))
    scaled = s.add("Mul", [s.pair("x", "pair"), half], "scaled")
    assert lint(s.model(s.pair(scaled, "behind"))) == []


def test_the_share_counts_layers_without_names_and_those_in_float() -> None:
    s = Sketch()
    weight = s.constant("float_w", np.ones((2 * CHANNELS, CHANNELS, 1, 1), np.float32))
    first = s.conv("x", "conv")
    out = s.add("Conv", [first, weight], "wide")
    for node in s.nodes:
        node.name = ""
    work = 8 * 8 * CHANNELS * CHANNELS
    assert examined(s.model(out)).share == Share(macs=3 * work, macs_int8=work)


def test_a_finding_at_a_node_without_a_name_gives_its_output() -> None:
    s = Sketch()
    out = s.add("Softmax", [s.pair("x", "pair")], "shares")
    s.nodes[-1].name = ""
    assert [item.node for item in lint(s.model(out))] == ["shares_out"]
