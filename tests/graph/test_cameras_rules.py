"""Operator by operator: each keeps the pictures apart, or the graph is refused by its name."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgeseg.errors import BuildError
from edgeseg.graph.cameras import batched
from edgeseg.graph.nodes import producers, tensor_shape
from tests.networks import small_graph
from tests.oracle import run

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

Array = np.ndarray
CAMERAS = 3


@pytest.mark.parametrize("had", [3, 8, 49, 107, 360])
@pytest.mark.parametrize("wanted", [7, 8, 24, 64, 107, 720, 1081])
def test_enlarged_pictures_have_the_size_and_the_pixels_of_one(had: int, wanted: int) -> None:
    for mode in ("linear", "nearest"):
        model = _graph(
            [_resize(mode)],
            {"sizes": np.array([1, 1, wanted, 2])},
            (1, 1, had, 2),
            (1, 1, wanted, 2),
        )
        several, pixels = batched(model), _pixels((1, 1, had, 2))
        together = run(several, {"pixels": np.concatenate(pixels)})
        assert together.shape == (CAMERAS, 1, wanted, 2)
        np.testing.assert_array_equal(
            together, np.concatenate([run(model, {"pixels": each}) for each in pixels])
        )
        factor = next((np.float64(f) for f in _scales(several)), None)
        if factor is not None:
            assert factor * had == wanted  # in any arithmetic
        else:
            assert np.float64(np.float32(wanted / had)) * had != wanted


def test_sizes_of_two_axes_only_are_completed() -> None:
    node = _resize("linear", axes=[2, 3])
    weights = {"sizes": np.array([11, 9])}
    model = _graph([node], weights, (1, 2, 5, 4), (1, 2, 11, 9), opset=19)
    _assert_each_alone(model)
    (resize,) = (n for n in batched(model).graph.node if n.op_type == "Resize")
    assert "axes" not in {item.name for item in resize.attribute}


def _attention() -> ModelProto:
    """Position attention: flattened places, their products, a softmax, and back."""
    nodes = [
        helper.make_node("Reshape", ["pixels", "flat"], ["v"], name="v", allowzero=1),
        helper.make_node("Transpose", ["v"], ["q"], name="q", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "v"], ["energy"], name="energy"),
        helper.make_node("Softmax", ["energy"], ["share"], name="share", axis=-1),
        helper.make_node("MatMul", ["v", "share"], ["mixed"], name="mixed"),
        helper.make_node("Reshape", ["mixed", "whole"], ["logits"], name="back"),
    ]
    weights = {"flat": np.array([1, 3, 20]), "whole": np.array([1, 3, 4, -1])}
    return _graph(nodes, weights, (1, 3, 4, 5), (1, 3, 4, 5))


def _rows_as_pictures() -> ModelProto:
    """Criss-cross attention: each column of each picture is a row of a batch."""
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["columns"], name="columns", perm=[0, 3, 1, 2]),
        helper.make_node("Reshape", ["columns", "merged"], ["each"], name="each"),
        helper.make_node("Transpose", ["each"], ["turned"], name="turned", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["turned", "each"], ["energy"], name="energy"),
        helper.make_node("Softmax", ["energy"], ["share"], name="share", axis=2),
        helper.make_node("MatMul", ["each", "share"], ["mixed"], name="mixed"),
        helper.make_node("Reshape", ["mixed", "apart"], ["again"], name="again"),
        helper.make_node("Transpose", ["again"], ["logits"], name="back", perm=[0, 2, 3, 1]),
    ]
    weights = {"merged": np.array([5, 3, 4]), "apart": np.array([1, 5, 3, 4])}
    return _graph(nodes, weights, (1, 3, 4, 5), (1, 3, 4, 5))


def _pooled_and_spread() -> ModelProto:
    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["mean"], name="mean", axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["mean", "w", "b"], ["mixed"], name="mixed"),
        helper.make_node("Unsqueeze", ["mixed", "two"], ["point"], name="point"),
        helper.make_node("Expand", ["point", "size"], ["far"], name="far"),
        helper.make_node("ConvTranspose", ["pixels", "k"], ["near"], name="near", strides=[2, 2]),
        helper.make_node("Pad", ["far", "pads"], ["wide"], name="wide"),
        helper.make_node("Concat", ["near", "wide"], ["both"], name="both", axis=1),
        helper.make_node("Slice", ["both", "from", "to", "two"], ["logits"], name="cut"),
    ]
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(3, 3)).astype(np.float32),
        "b": rng.normal(size=3).astype(np.float32),
        "k": rng.normal(size=(3, 3, 2, 2)).astype(np.float32),
        "two": np.array([2, 3]),
        "size": np.array([1, 3, 8, 9]),
        "pads": np.array([0, 0, 0, 0, 0, 0, 0, 1]),
        "from": np.array([1, 2]),
        "to": np.array([7, 100]),
    }
    return _graph(nodes, weights, (1, 3, 4, 5), (1, 6, 6, 8))


@pytest.mark.parametrize("draw", [_attention, _rows_as_pictures, _pooled_and_spread])
def test_operators_that_look_at_shapes_keep_the_pictures_apart(
    draw: Callable[[], ModelProto],
) -> None:
    _assert_each_alone(draw())


def _node(op: str, inputs: list[str], **attributes: object) -> list[NodeProto]:
    first = helper.make_node(op, inputs, ["mid"], name="culprit", **attributes)
    return [first, helper.make_node("Identity", ["mid"], ["logits"], name="last")]


MIXING = [
    (_node("Softmax", ["pixels"], axis=0), {}, (1, 3, 4, 5)),
    (_node("Concat", ["pixels", "pixels"], axis=0), {}, (2, 3, 4, 5)),
    (_node("Concat", ["pixels", "same"], axis=1), {"same": (1, 2, 4, 5)}, (1, 5, 4, 5)),
    (_node("Add", ["pixels", "five"]), {"five": (5, 3, 4, 5)}, (5, 3, 4, 5)),
    (_node("Transpose", ["pixels"], perm=[1, 0, 2, 3]), {}, (3, 1, 4, 5)),
    (_node("ReduceMean", ["pixels"], keepdims=1), {}, (1, 1, 1, 1)),
    (_node("CumSum", ["pixels", "axis"]), {"axis": np.int64(2)}, (1, 3, 4, 5)),
    (_node("Tile", ["pixels", "n"]), {"n": np.array([2, 1, 1, 1])}, (2, 3, 4, 5)),
    (_node("Pad", ["pixels", "n"]), {"n": np.array([1, *[0] * 7])}, (2, 3, 4, 5)),
    (_node("Gather", ["same", "int"]), {"same": (4, 3, 4, 5), "int": None}, (1, 3, 4, 5)),
]


@pytest.mark.parametrize(("nodes", "weights", "out"), MIXING)
def test_a_node_that_would_mix_pictures_is_named_with_what_to_do(
    nodes: list[NodeProto], weights: dict[str, object], out: tuple[int, ...]
) -> None:
    constants = {
        name: np.ones(value, np.float32) if isinstance(value, tuple) else value
        for name, value in weights.items()
    }
    if "int" in constants:  # of the pictures, as a row to look up
        del constants["int"]
        chain = [
            helper.make_node(
                "ReduceMax", ["pixels"], ["top"], name="top", axes=[1, 2, 3], keepdims=0
            ),
            helper.make_node("Cast", ["top"], ["int"], name="int", to=onnx.TensorProto.INT64),
        ]
        nodes = [*chain, *nodes]
    model = _graph(nodes, constants, (1, 3, 4, 5), out)
    with pytest.raises(BuildError) as refused:
        batched(model)
    assert "culprit (" in str(refused.value)
    assert "several cameras" in str(refused.value)
    assert "leave --cameras out" in refused.value.fix


def test_a_graph_for_two_pictures_is_refused_by_its_input() -> None:
    nodes = [helper.make_node("Relu", ["pixels"], ["logits"], name="relu")]
    with pytest.raises(BuildError, match="pixels has no first axis of 1"):
        batched(_graph(nodes, {}, (2, 3, 4, 5), (2, 3, 4, 5)))


def test_names_that_are_taken_are_not_used_twice() -> None:
    model = _attention()
    for node in model.graph.node:
        node.input[:] = ["v_shape" if name == "energy" else name for name in node.input]
        node.output[:] = ["v_shape" if name == "energy" else name for name in node.output]
    _assert_each_alone(model)


def _graph(
    nodes: list[NodeProto],
    weights: dict[str, Array],
    shape: tuple[int, ...],
    out: tuple[int, ...],
    *,
    opset: int = 17,
) -> ModelProto:
    copies = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    return small_graph(copies, weights, shape=shape, out=out, opset=opset)


def _resize(mode: str, **attributes: object) -> NodeProto:
    how = "half_pixel" if mode == "linear" else "asymmetric"
    return helper.make_node(
        "Resize",
        ["pixels", "", "", "sizes"],
        ["logits"],
        name="up",
        mode=mode,
        coordinate_transformation_mode=how,
        nearest_mode="floor",
        **attributes,
    )


def _scales(model: ModelProto) -> list[float]:
    """The constant factor of the height, where there is one."""
    node = producers(model)["logits"]
    if len(node.input) > 3:
        return []
    values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    return [values[node.input[2]][2]]


def _pixels(shape: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape).astype(np.float32) for _ in range(CAMERAS)]


def _assert_each_alone(model: ModelProto) -> None:
    shape = tuple(int(dim) for dim in tensor_shape(model.graph.input[0]) if dim)
    pixels = _pixels(shape)
    alone = np.concatenate([run(model, {"pixels": each}) for each in pixels])
    together = run(batched(model), {"pixels": np.concatenate(pixels)})
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)
