"""Small questions about a graph have exact answers."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgeseg.graph.nodes import constants, consumers, hoist_constants, initializer, prune, shapes
from tests.networks import small_graph, tiny_core


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2, 3)])
def test_an_initialiser_keeps_value_and_shape_scalars_too(shape: tuple[int, ...]) -> None:
    value = np.full(shape, 1.5, np.float32)
    kept = numpy_helper.to_array(initializer("x", value))
    assert kept.shape == shape
    np.testing.assert_array_equal(kept, value)


def test_an_initialiser_of_a_view_has_its_values_in_order() -> None:
    view = np.arange(6, dtype=np.float32).reshape(2, 3).T[::-1]
    np.testing.assert_array_equal(numpy_helper.to_array(initializer("x", view)), view)


def test_a_node_that_reads_a_tensor_twice_is_one_reader() -> None:
    nodes = [helper.make_node("Mul", ["pixels", "pixels"], ["logits"], name="square")]
    model = small_graph(nodes, {}, shape=(1, 3, 4, 4), out=(1, 3, 4, 4))
    assert [node.name for node in consumers(model)["pixels"]] == ["square"]


def test_constant_nodes_become_initialisers_of_the_same_value() -> None:
    two = numpy_helper.from_array(np.float32(2).reshape(()))
    nodes = [
        helper.make_node("Constant", [], ["two"], value=two),
        helper.make_node("Mul", ["pixels", "two"], ["logits"]),
    ]
    model = small_graph(nodes, {}, shape=(1, 3, 4, 4), out=(1, 3, 4, 4))
    hoist_constants(model)
    assert [node.op_type for node in model.graph.node] == ["Mul"]
    assert {name: float(value) for name, value in constants(model).items()} == {"two": 2.0}


def test_pruning_removes_what_no_output_needs_and_nothing_else() -> None:
    model = tiny_core()
    whole = tiny_core()
    model.graph.node.insert(3, helper.make_node("Exp", ["stem_out"], ["unread"]))
    model.graph.initializer.append(initializer("unread_weight", np.zeros(3, np.float32)))
    prune(model)
    assert model == whole


def test_shapes_are_known_for_borders_inner_tensors_and_weights() -> None:
    found = shapes(tiny_core())
    assert found["pixels"] == (1, 3, 48, 64)
    assert found["context_out"] == (1, 32, 6, 8)
    assert found["stem_weight"] == (16, 3, 3, 3)
    assert found["logits"] == (1, 5, 12, 16)
