"""The tensors that meet in a Concat get one range, the widest of them."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

from edgeseg.graph.nodes import constants
from edgeseg.graph.quantize import activation_tensors, quantized
from edgeseg.graph.ties import tied
from tests.networks import small_graph

pytestmark = pytest.mark.needs("onnx")


class Joined:
    """Activations of three channels, some of them in Concats, some read by convolutions."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        self.ends: list[str] = []
        for name in ("a", "b", "c", "d"):
            self.nodes.append(helper.make_node("Relu", ["pixels"], [name], name=f"relu_{name}"))

    def concat(self, output: str, *inputs: str, axis: int = 1) -> None:
        self.nodes.append(helper.make_node("Concat", inputs, [output], name=output, axis=axis))

    def read(self, channels: int, *names: str) -> None:
        """Let a convolution read each of `names`."""
        for name in names:
            self.weights[f"{name}_w"] = np.ones((2, channels, 1, 1), np.float32)
            self.nodes.append(
                helper.make_node("Conv", [name, f"{name}_w"], [f"{name}_read"], f"{name}_conv")
            )
            self.ends.append(f"{name}_read")

    def core(self) -> ModelProto:
        self.nodes.append(helper.make_node("Sum", self.ends, ["logits"], name="sum"))
        return small_graph(self.nodes, self.weights, shape=(1, 3, 8, 8), out=(1, 2, 8, 8))


def test_the_inputs_and_the_output_of_a_concat_get_the_widest_range() -> None:
    net = Joined()
    net.concat("ab", "a", "b")
    net.read(3, "a", "b", "c")
    net.read(6, "ab")
    found = tied(net.core(), {"a": 1.0, "b": 5.0, "c": 9.0, "ab": 4.0})
    assert found == {"a": 5.0, "b": 5.0, "c": 9.0, "ab": 5.0}


def test_an_input_that_is_not_quantised_takes_no_part() -> None:
    net = Joined()
    net.concat("abc", "a", "b", "c")
    net.read(3, "a")
    net.read(9, "abc")
    core = net.core()
    assert activation_tensors(core) == ["a", "abc"]
    found = tied(core, {"a": 1.0, "abc": 4.0, "b": 7.0})
    assert found == {"a": 4.0, "abc": 4.0, "b": 7.0}


def test_the_inputs_are_tied_also_where_the_output_stays_float() -> None:
    net = Joined()
    net.concat("ab", "a", "b")
    net.nodes.append(helper.make_node("Sigmoid", ["ab"], ["gate"], name="gate"))
    net.read(3, "a", "b")
    net.read(6, "gate")
    assert tied(net.core(), {"a": 1.0, "b": 3.0, "gate": 0.5}) == {"a": 3.0, "b": 3.0, "gate": 0.5}


def test_a_concat_of_one_quantised_tensor_changes_nothing() -> None:
    net = Joined()
    net.concat("ab", "a", "b")
    net.read(6, "ab")
    assert tied(net.core(), {"ab": 4.0}) == {"ab": 4.0}


@pytest.mark.parametrize("widest", ["a", "b", "c", "d", "ab", "abc", "cd"])
def test_concats_that_share_a_tensor_have_one_range_wherever_the_widest_is(widest: str) -> None:
    """ab joins abc, abc and cd share c: the range goes up and down the graph."""
    net = Joined()
    net.concat("ab", "a", "b")
    net.concat("abc", "ab", "c")
    net.concat("cd", "c", "d")
    net.read(3, "a", "b", "c", "d")
    net.read(6, "ab", "cd")
    net.read(9, "abc")
    core = net.core()
    amax = dict.fromkeys(activation_tensors(core), 1.0) | {widest: 8.0}
    assert len(amax) == 7
    assert tied(core, amax) == dict.fromkeys(amax, 8.0)


def test_the_given_ranges_stay_as_they_are() -> None:
    net = Joined()
    net.concat("ab", "a", "b")
    net.read(3, "a", "b")
    net.read(6, "ab")
    amax = {"a": 1.0, "b": 5.0, "ab": 4.0}
    tied(net.core(), amax)
    assert amax == {"a": 1.0, "b": 5.0, "ab": 4.0}


def test_the_quantised_graph_has_one_step_on_either_side_of_the_concat() -> None:
    net = Joined()
    net.concat("ab", "a", "b")
    net.read(3, "a", "b")
    net.read(6, "ab")
    core = net.core()
    values = constants(quantized(core, tied(core, {"a": 1.0, "b": 5.0, "ab": 4.0})))
    steps = {float(values[f"{name}_scale"]) for name in ("a", "b", "ab")}
    assert len(steps) == 1
    assert steps == {float(np.float16(5 / 127))}
