"""A float graph gives what it means, whichever runtime is installed."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgeseg.backends import floats
from edgeseg.graph.simulate import simulated
from tests.networks import picture, pixels_of, tiny_core

pytestmark = pytest.mark.needs("onnx", "openvino", "onnxruntime")


@pytest.fixture(params=["_openvino_runner", "_onnxruntime_runner"])
def runner(request: pytest.FixtureRequest) -> Callable[[bytes], floats.RunGraph]:
    return getattr(floats, request.param)  # type: ignore[no-any-return]


def test_two_outputs_of_one_tensor_both_have_their_names(
    runner: Callable[[bytes], floats.RunGraph],
) -> None:
    nodes = [
        helper.make_node("Relu", ["pixels"], ["positive"], name="relu"),
        helper.make_node("Identity", ["positive"], ["first"], name="a"),
        helper.make_node("Identity", ["positive"], ["logits"], name="b"),
    ]
    value = [1, 2, 2, 2]
    graph = helper.make_graph(
        nodes,
        "twice",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, value)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, value) for n in ("first", "logits")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    pixels = np.linspace(-1, 1, 8, dtype=np.float32).reshape(value)

    found = runner(model.SerializeToString())({"pixels": pixels})

    assert [*found] == ["first", "logits"]
    for values in found.values():
        np.testing.assert_array_equal(values, np.maximum(pixels, 0))


def test_weights_that_only_look_like_integers_are_not_rounded_again() -> None:
    from edgeseg.graph.quantize import activation_tensors, quantized

    core = tiny_core()
    grid = simulated(quantized(core, dict.fromkeys(activation_tensors(core), 4.0)))
    feeds = {"pixels": pixels_of(picture())}

    one, other = (
        make(grid.SerializeToString())(feeds)["logits"].copy()
        for make in (floats._openvino_runner, floats._onnxruntime_runner)
    )

    # A value on the border between two integers may go either way, rarely.
    assert np.mean(np.abs(one - other) < 1e-3 * np.abs(one).max()) > 0.98
