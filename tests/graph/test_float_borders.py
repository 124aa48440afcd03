"""Float borders: the same labels without a byte in the graph."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from edgeseg.errors import BuildError
from edgeseg.graph.float_borders import float_bordered, with_float_borders
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.lint import examined
from edgeseg.graph.nodes import tensor_shape
from edgeseg.graph.quantize import quantization_hash
from edgeseg.graph.typed import check_typed, fp32_nodes_of, typed
from edgeseg.types import PixelFormat, Size
from tests.oracle import run

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim")

SIZE = Size(60, 80)
FLOAT, HALF, UINT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8


def framed(core: ModelProto, pixel_format: PixelFormat = PixelFormat.RGB8) -> ModelProto:
    spec = FrameSpec(
        size=SIZE,
        pixel_format=pixel_format,
        order="rgb",
        gain=(1 / 64, 1 / 50, 1 / 80),
        bias=(-2.0, -2.25, -1.5),
        mask_size=SIZE,
    )
    return frame_graph(core, spec)


def frame(pixel_format: PixelFormat) -> np.ndarray:
    shape = (1, *pixel_format.frame_shape(SIZE))
    coarse = np.random.default_rng(2).integers(0, 256, shape).astype(np.uint8)
    return coarse // 32 * 32 + 31  # up to 255


@pytest.mark.parametrize("dialect", ["wide", "typed"])
@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_labels_are_those_of_the_graph_with_bytes(
    int8_core: ModelProto, pixel_format: PixelFormat, dialect: str
) -> None:
    model = framed(int8_core, pixel_format)
    model = typed(model) if dialect == "typed" else model
    pixels = frame(pixel_format)

    wanted = run(model, {"frame": pixels})
    found = run(with_float_borders(model.SerializeToString()), {"frame": pixels.astype(np.float32)})

    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted)
    assert len(np.unique(wanted)) >= 3


@pytest.mark.parametrize("dialect", ["wide", "typed"])
def test_no_byte_and_no_cast_of_one_is_left(int8_core: ModelProto, dialect: str) -> None:
    model = framed(int8_core)
    model = typed(model) if dialect == "typed" else model

    result = float_bordered(model)

    onnx.checker.check_model(result, full_check=True)
    kinds = {value.name: value.type.tensor_type.elem_type for value in borders(result)}
    assert kinds == {"frame": FLOAT, "labels": FLOAT}
    assert [tensor_shape(v) for v in borders(result)] == [tensor_shape(v) for v in borders(model)]
    casts = [node.name for node in model.graph.node if node.op_type == "Cast"]
    left = [node.name for node in result.graph.node if node.op_type == "Cast"]
    assert [name for name in casts if name not in left] == ["Cast_bytes", "Cast_labels"]
    assert examined(result).findings == []
    assert quantization_hash(result) == quantization_hash(model)


def test_a_typed_graph_still_declares_what_is_fp32(int8_core: ModelProto) -> None:
    model = typed(framed(int8_core))

    result = float_bordered(model)

    check_typed(result)
    wanted = {name: why for name, why in fp32_nodes_of(model).items() if name != "Cast_bytes"}
    assert fp32_nodes_of(result) == wanted


def test_borders_that_are_float_already_stay(core: ModelProto) -> None:
    once = float_bordered(framed(core))
    assert float_bordered(once) == once
    assert float_bordered(core) == core


def test_bytes_that_come_from_fp16_become_float32() -> None:
    model = _bytes_by_way_of_fp16()

    result = float_bordered(model)

    pixels = np.arange(12, dtype=np.uint8).reshape(1, 12)
    found = run(result, {"frame": pixels.astype(np.float32)})
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, run(model, {"frame": pixels}))
    kept = [node.name for node in result.graph.node if node.op_type == "Cast"]
    assert kept == ["in", "out"]


def test_a_byte_that_no_cast_reads_is_refused_by_name(core: ModelProto) -> None:
    model = framed(core)
    cast = next(node for node in model.graph.node if node.name == "Cast_bytes")
    model.graph.node.append(helper.make_node("Cast", ["frame"], ["again"], name="two", to=FLOAT))
    with pytest.raises(BuildError, match="uint8 border frame"):
        float_bordered(model)
    del model.graph.node[-1]
    cast.op_type = "Identity"
    with pytest.raises(BuildError, match="uint8 border frame"):
        float_bordered(model)


def borders(model: ModelProto) -> list[onnx.ValueInfoProto]:
    return [*model.graph.input, *model.graph.output]


def _bytes_by_way_of_fp16() -> ModelProto:
    nodes = [
        helper.make_node("Cast", ["frame"], ["half"], name="in", to=HALF),
        helper.make_node("Neg", ["half"], ["minus"], name="neg"),
        helper.make_node("Neg", ["minus"], ["plus"], name="neg_again"),
        helper.make_node("Cast", ["plus"], ["labels"], name="out", to=UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "halves",
        [helper.make_tensor_value_info("frame", UINT8, [1, 12])],
        [helper.make_tensor_value_info("labels", UINT8, [1, 12])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
