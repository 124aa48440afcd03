"""What leaves a tapped graph is what ONNX Runtime computes inside."""

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from edgeseg.graph.quantize import activation_tensors
from edgeseg.graph.tap import computed_by, condensed, float_activations, tapped
from tests.networks import picture, pixels_of
from tests.oracle import run_all

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

FEW = 500


def values(core: ModelProto, names: list[str]) -> dict[str, np.ndarray]:
    found = run_all(tapped(core, names), {"pixels": pixels_of(picture())})
    return dict(zip(names, found, strict=True))


def test_every_float_tensor_of_the_graph_is_an_activation(core: ModelProto) -> None:
    found = float_activations(core)
    assert found[0] == "pixels"
    assert found[-1] == "logits"
    assert set(activation_tensors(core)) <= set(found)
    every = values(core, found)
    assert all(value.dtype == np.float32 for value in every.values())


def test_integers_and_what_only_constants_make_are_no_activations() -> None:
    vector = helper.make_tensor("k", TensorProto.FLOAT, [3], [1, 2, 3])
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Shape", ["a"], ["shape"]),
        helper.make_node("Neg", ["k"], ["folded"]),
        helper.make_node("Add", ["a", "folded"], ["b"]),
        helper.make_node("ArgMax", ["b"], ["which"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, kind, [2, 3])
        for name, kind in (("x", TensorProto.FLOAT), ("b", TensorProto.FLOAT))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [vector])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    assert float_activations(model) == ["x", "a", "b"]


def test_a_condensed_graph_gives_samples_and_the_figures_of_all_values(core: ModelProto) -> None:
    names = float_activations(core)
    every = values(core, names)
    graph, taps = condensed(core, dict.fromkeys(names, FEW))
    outputs = [value.name for value in graph.graph.output]
    found = dict(
        zip(outputs, run_all(graph, {"pixels": pixels_of(picture())}), strict=True)
    )  # fmt: skip
    assert [tap.tensor for tap in taps] == names
    for tap in taps:
        whole = every[tap.tensor]
        if tap.figures is None:
            np.testing.assert_allclose(found[tap.sample], whole, atol=1e-5)
            continue
        assert found[tap.sample].size < whole.size
        low, high, total = (float(found[name]) for name in tap.figures)
        assert low == pytest.approx(whole.min(), abs=1e-5)
        assert high == pytest.approx(whole.max(), abs=1e-5)
        assert total == pytest.approx(whole.sum(dtype=np.float64), rel=1e-3, abs=1e-2)
    assert sum(tap.figures is not None for tap in taps) > 10


def test_the_sample_is_every_third_row_and_column(core: ModelProto) -> None:
    whole = values(core, ["pixels"])["pixels"]
    graph, (tap,) = condensed(core, {"pixels": whole.size // 5})
    found = dict(
        zip(
            [value.name for value in graph.graph.output],
            run_all(graph, {"pixels": pixels_of(picture())}),
            strict=True,
        )
    )
    np.testing.assert_array_equal(found[tap.sample], whole[:, :, ::3, ::3])


def test_small_tensors_leave_whole(core: ModelProto) -> None:
    names = float_activations(core)
    graph, taps = condensed(core, dict.fromkeys(names, 1 << 30))
    assert all(tap.figures is None for tap in taps)
    assert len(graph.graph.output) == len(names)


def test_the_graph_itself_is_left_alone(core: ModelProto) -> None:
    before = core.SerializeToString(deterministic=True)
    condensed(core, {"logits": 1, "pixels": 1})
    tapped(core, ["pixels"])
    assert core.SerializeToString(deterministic=True) == before


def test_what_computes_a_tensor_is_said_by_op_and_node(core: ModelProto) -> None:
    last = next(node for node in core.graph.node if "logits" in node.output)
    assert computed_by(core, "logits") == f"{last.op_type} {last.name!r}"
    assert computed_by(core, "pixels") == "the network's input"
