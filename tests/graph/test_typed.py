"""The typed dialect: FP16 outside Q/DQ, FP32 only where it is declared, the same quantisation."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgeseg.errors import BuildError, UsageError
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.quantize import quantization_hash, quantized
from edgeseg.graph.typed import check_typed, fp32_nodes_of, typed
from edgeseg.graph.typed_plain import unrounded
from edgeseg.graph.typed_rounded import rounded
from edgeseg.types import PixelFormat, Size
from tests.networks import picture, pixels_of, small_graph
from tests.oracle import run, run_all

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim")

Array = np.ndarray
SPEC = FrameSpec(
    size=Size(40, 56),
    pixel_format=PixelFormat.RGB8,
    order="rgb",
    gain=(1 / 64, 1 / 64, 1 / 64),
    bias=(-2.0, -2.0, -2.0),
    mask_size=Size(40, 56),
)
NO_SCALE = "FP16 does not hold its scale"
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


@pytest.fixture(scope="module")
def int8_frame(int8_core: ModelProto) -> ModelProto:
    return frame_graph(int8_core, SPEC)


@pytest.fixture(scope="module")
def float_frame(core: ModelProto) -> ModelProto:
    return frame_graph(core, SPEC)


def test_quantisation_of_both_dialects_is_the_same(int8_frame: ModelProto) -> None:
    assert quantization_hash(typed(int8_frame)) == quantization_hash(int8_frame)


def test_quantisation_stays_the_same_whatever_stays_fp32(int8_frame: ModelProto) -> None:
    names = [node.name for node in int8_frame.graph.node]
    for keep in (names, names[::2], [name for name in names if name.endswith("_dq")]):
        result = typed(int8_frame, keep_fp32=keep)
        assert quantization_hash(result) == quantization_hash(int8_frame)


def test_fp16_holds_the_scales_of_the_quantiser(int8_frame: ModelProto) -> None:
    result = typed(int8_frame)
    assert NO_SCALE not in fp32_nodes_of(result).values()
    scales = {n.input[1] for n in result.graph.node if n.op_type == "DequantizeLinear"}
    assert {item.data_type for item in result.graph.initializer if item.name in scales} == {HALF}


def test_scales_that_fp16_would_round_stay_fp32(int8_core: ModelProto) -> None:
    wide = ModelProto()
    wide.CopyFrom(int8_core)
    for item in wide.graph.initializer:
        if item.name.endswith("_scale"):
            scale = numpy_helper.to_array(item) * np.float32(1.0001)
            item.CopyFrom(numpy_helper.from_array(scale, item.name))
    result = typed(wide)
    assert quantization_hash(result) == quantization_hash(wide)
    assert NO_SCALE in fp32_nodes_of(result).values()
    pixels = pixels_of(picture())
    expected = run(wide, {"pixels": pixels}, optimized=False)
    found = run(result, {"pixels": pixels}, optimized=False)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_layers_compute_in_fp16_between_a_float_head_and_whole_ids(
    int8_frame: ModelProto,
) -> None:
    result = typed(int8_frame)
    kinds = _kinds(result)
    layers = [node for node in result.graph.node if node.op_type == "Conv"]
    assert layers
    assert {kinds[node.output[0]] for node in layers} == {HALF}
    assert kinds["pixels"] == FLOAT
    assert kinds["logits"] == HALF
    assert kinds["float_ids"] == FLOAT
    assert kinds["labels"] == TensorProto.UINT8


def test_int8_costs_no_cast_beyond_those_at_the_borders(int8_frame: ModelProto) -> None:
    before = [node.name for node in int8_frame.graph.node if node.op_type == "Cast"]
    after = [node.name for node in typed(int8_frame).graph.node if node.op_type == "Cast"]
    assert after == before


def test_float_network_is_cast_once(float_frame: ModelProto) -> None:
    casts = [node for node in typed(float_frame).graph.node if node.op_type == "Cast"]
    assert [(node.input[0], node.output[0]) for node in casts] == [
        ("frame", "bytes"),
        ("pixels", "pixels_fp16"),
        ("ids", "float_ids"),
        ("float_ids", "labels"),
    ]


@pytest.mark.parametrize("dialect", ["float_frame", "int8_frame"])
def test_labels_are_nearly_those_of_the_wide_graph(
    dialect: str, request: pytest.FixtureRequest
) -> None:
    wide = unrounded(request.getfixturevalue(dialect))
    frames = [picture(SPEC.size, seed)[None] for seed in range(8)]
    result = typed(wide)
    for form in (result, rounded(result)):
        pairs = [(run(form, {"frame": f}), run(wide, {"frame": f})) for f in frames]
        assert np.mean([np.mean(a == b) for a, b in pairs]) >= 0.999


def test_borders_of_a_core_stay_float32(core: ModelProto) -> None:
    result = typed(core)
    assert [v.type.tensor_type.elem_type for v in (*result.graph.input, *result.graph.output)] == [
        FLOAT,
        FLOAT,
    ]
    pixels = pixels_of(picture())
    expected = run(core, {"pixels": pixels})
    assert np.abs(run(result, {"pixels": pixels}) - expected).max() < 0.02 * np.abs(expected).max()


def test_nodes_to_keep_are_fp32_with_one_cast_at_each_border(float_frame: ModelProto) -> None:
    convolutions = [node.name for node in float_frame.graph.node if node.op_type == "Conv"]
    middle = convolutions[len(convolutions) // 2]
    result = typed(float_frame, keep_fp32={middle: "because"})
    assert fp32_nodes_of(result)[middle] == "because"
    kept = next(node for node in result.graph.node if node.name == middle)
    assert {_kinds(result)[kept.output[0]]} == {FLOAT}
    casts = [node for node in result.graph.node if node.op_type == "Cast"]
    assert len(casts) == 4 + 2


def test_what_lies_between_fp32_nodes_is_not_cast_there_and_back() -> None:
    nodes = [
        helper.make_node("Exp", ["pixels"], ["a"], name="first"),
        helper.make_node("Transpose", ["a"], ["b"], name="turn", perm=[0, 1, 3, 2]),
        helper.make_node("Neg", ["b"], ["c"], name="flip"),
        helper.make_node("Softmax", ["c"], ["logits"], name="last", axis=1),
    ]
    model = small_graph(nodes, {}, shape=(1, 2, 3, 4), out=(1, 2, 4, 3))
    result = typed(model, keep_fp32=["first", "last"])
    assert [node.op_type for node in result.graph.node] == [n.op_type for n in nodes]
    assert fp32_nodes_of(result)["turn"] == "is between nodes that stay FP32"


def test_node_to_keep_that_is_not_there_is_refused(float_frame: ModelProto) -> None:
    with pytest.raises(UsageError, match="no node 'nowhere'"):
        typed(float_frame, keep_fp32=["nowhere"])


@pytest.mark.parametrize(
    ("op", "value", "why"),
    [
        ("Add", -1e9, "reaches 1e\\+09"),
        ("Max", 1e-8, "too small for FP16"),
        ("Add", -1e4, ""),
        ("Mul", float("-inf"), ""),
    ],
)
def test_constant_that_fp16_cannot_hold_keeps_its_node(op: str, value: float, why: str) -> None:
    node = helper.make_node(op, ["pixels", "value"], ["logits"], name="node")
    model = _one(node, {"value": np.full((), value, np.float32)})
    kept = fp32_nodes_of(typed(model))
    assert list(kept) == (["node"] if why else [])
    if why:
        assert np.any([why.replace("\\", "") in reason for reason in kept.values()])


def test_bound_beyond_fp16_ends_where_fp16_does() -> None:
    bounds = {"low": np.zeros((), np.float32), "high": np.full((), 3e38, np.float32)}
    model = _one(helper.make_node("Clip", ["pixels", "low", "high"], ["logits"]), bounds)
    result = typed(model)
    assert fp32_nodes_of(result) == {}
    seen = np.array([-1.0, 0.5, 60000.0, 7.0], np.float32).reshape(1, 1, 2, 2)
    assert np.array_equal(run(result, {"pixels": seen}).ravel(), [0.0, 0.5, 60000.0, 7.0])


def test_squares_are_never_formed_in_fp16() -> None:
    node = helper.make_node("ReduceL2", ["pixels"], ["logits"], name="norm", axes=[1], keepdims=1)
    model = _one(node, {}, shape=(1, 3, 2, 2), out=(1, 1, 2, 2))
    result = typed(model)
    assert "norm" in fp32_nodes_of(result)
    long = np.full((1, 3, 2, 2), 300.0, np.float32)
    assert np.allclose(run(rounded(result), {"pixels": long}), 300 * np.sqrt(3), rtol=1e-3)


FORMS = {
    "ReduceMean": (dict(axes=[2, 3], keepdims=1), {}, (1, 4, 1, 1)),
    "ReduceMax": (dict(axes=[1]), {}, (1, 1, 4, 4)),
    "ReduceSum": (dict(keepdims=1), {"axes": np.array([1])}, (1, 1, 4, 4)),
    "Resize": (
        dict(mode="linear"),
        {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)},
        (1, 4, 8, 8),
    ),
    "Pad": (
        {},
        {"pads": np.array([0, 0, 1, 1, 0, 0, 0, 0]), "value": np.full((), -np.inf, np.float32)},
        (1, 4, 5, 5),
    ),
    "LpPool": (dict(kernel_shape=[2, 2], strides=[2, 2]), {}, (1, 4, 2, 2)),
    "AveragePool": (dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), {}, (1, 4, 2, 2)),
    "DepthToSpace": (dict(blocksize=2, mode="CRD"), {}, (1, 1, 8, 8)),
    "HardSwish": ({}, {}, (1, 4, 4, 4)),
}


@pytest.mark.parametrize("op", FORMS)
def test_operator_means_the_same_in_the_newer_opset(op: str) -> None:
    attributes, inputs, out = FORMS[op]
    node = helper.make_node(op, ["pixels", *inputs], ["logits"], name="node", **attributes)
    model = _one(node, inputs, shape=(1, 4, 4, 4), out=out)
    seen = np.random.default_rng(0).normal(0, 3, (1, 4, 4, 4)).astype(np.float32)
    expected = run(model, {"pixels": seen})
    assert np.allclose(run(typed(model), {"pixels": seen}), expected, rtol=3e-3, atol=3e-3)


def test_split_into_equal_parts_says_how_many() -> None:
    nodes = [
        helper.make_node("Split", ["pixels"], ["a", "b"], name="split", axis=1),
        helper.make_node("Sub", ["a", "b"], ["logits"], name="difference"),
    ]
    model = small_graph(nodes, {}, shape=(1, 2, 2, 2), out=(1, 1, 2, 2))
    seen = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)
    assert np.array_equal(run(typed(model), {"pixels": seen}), np.full((1, 1, 2, 2), -4.0))


def test_control_flow_is_refused() -> None:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["pixels"], ["out"])],
        "inner",
        [],
        [helper.make_tensor_value_info("out", FLOAT, [1, 1, 2, 2])],
    )
    node = helper.make_node(
        "If", ["yes"], ["logits"], name="choice", then_branch=inner, else_branch=inner
    )
    with pytest.raises(BuildError, match=r"choice \(If\) is control flow"):
        typed(_one(node, {"yes": np.array(True)}))


def test_undeclared_fp32_is_found(float_frame: ModelProto) -> None:
    result = typed(float_frame, keep_fp32=["ArgMax_ids"])
    check_typed(result)
    for item in result.metadata_props:
        item.value = item.value.replace("ArgMax_ids", "another")
    with pytest.raises(BuildError, match="undeclared"):
        check_typed(result)


def test_cast_there_and_back_is_found(float_frame: ModelProto) -> None:
    result = typed(float_frame)
    at = next(i for i, n in enumerate(result.graph.node) if "pixels_fp16" in n.output)
    result.graph.node[at].output[0] = "early"
    back = [
        helper.make_node("Cast", ["early"], ["again"], name="back", to=FLOAT),
        helper.make_node("Cast", ["again"], ["pixels_fp16"], name="forth", to=HALF),
    ]
    nodes = list(result.graph.node)
    del result.graph.node[:]
    result.graph.node.extend([*nodes[: at + 1], *back, *nodes[at + 1 :]])
    with pytest.raises(BuildError, match="idle Cast"):
        check_typed(result)


def test_rounded_form_overflows_where_fp16_does() -> None:
    nodes = [
        helper.make_node("Mul", ["pixels", "pixels"], ["square"], name="square"),
        helper.make_node("Sqrt", ["square"], ["logits"], name="root"),
    ]
    model = small_graph(nodes, {}, shape=(1, 1, 1, 3), out=(1, 1, 1, 3))
    seen = np.array([1.0009, 255.0, 256.5], np.float32).reshape(1, 1, 1, 3)
    with np.errstate(over="ignore"):
        half = seen.astype(np.float16)
        expected = np.sqrt((half * half).astype(np.float16)).astype(np.float32)
    assert np.array_equal(run(rounded(typed(model)), {"pixels": seen}), expected)
    assert np.isinf(expected.ravel()[2])


def test_unrounded_form_saturates_and_does_not_round(core: ModelProto) -> None:
    names = [node.input[0] for node in quantized(core, _halves(core)).graph.node
             if node.op_type == "QuantizeLinear"]  # fmt: skip
    model = unrounded(quantized(core, _halves(core)))
    assert {n.op_type for n in model.graph.node}.isdisjoint({"QuantizeLinear", "DequantizeLinear"})
    probe = ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.append(helper.make_tensor_value_info(f"{names[0]}_dq", FLOAT, None))
    seen = pixels_of(picture())
    _, clipped = run_all(probe, {"pixels": seen})
    assert np.allclose(clipped, np.clip(seen, -128 / 254, 0.5), rtol=1e-3)
    assert len(np.unique(clipped)) == len(np.unique(np.clip(seen, -0.503, 0.499)))


def _halves(core: ModelProto) -> dict[str, float]:
    """Every activation saturates at 0.5."""
    return {name: 0.5 for node in core.graph.node for name in (*node.input, *node.output)}


def _one(
    node: NodeProto,
    weights: dict[str, Array],
    *,
    shape: tuple[int, ...] = (1, 1, 2, 2),
    out: tuple[int, ...] = (1, 1, 2, 2),
) -> ModelProto:
    return small_graph([node], weights, shape=shape, out=out)


def _kinds(model: ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}
