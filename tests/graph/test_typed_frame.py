"""Head and tail in both dialects as TensorRT takes them: bytes, colours, and what they give."""

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto

from edgeseg.graph.cameras import batched
from edgeseg.graph.float_borders import float_bordered
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.lint import examined
from edgeseg.graph.lint_rules import Version
from edgeseg.graph.nodes import constants, producers, shapes
from edgeseg.graph.tap import tapped
from edgeseg.graph.typed import typed
from edgeseg.graph.typed_plain import unrounded
from edgeseg.graph.typed_precision import element_types
from edgeseg.graph.typed_rounded import rounded
from edgeseg.types import PixelFormat, Size
from tests.networks import picture
from tests.oracle import run, run_all

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim")

Array = np.ndarray
SIZE = Size(62, 82)
YUV = [PixelFormat.NV12, PixelFormat.I420]
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16}
WHOLE = {TensorProto.INT32, TensorProto.INT64}
VERSIONS: dict[str, list[Version]] = {
    "wide": [(8, 6), (10, 3)],
    "typed": [(10, 3), (10, 7), (10, 13), (10, 16), (11, 4)],
}
Graphs = dict[tuple[str, PixelFormat], ModelProto]


def framed(core: ModelProto, pixel_format: PixelFormat, mask_size: Size = SIZE) -> ModelProto:
    spec = FrameSpec(
        size=SIZE,
        pixel_format=pixel_format,
        order="rgb",
        gain=(1 / 64, 1 / 50, 1 / 80),
        bias=(-2.0, -2.25, -1.5),
        mask_size=mask_size,
    )
    return frame_graph(core, spec)


def frame(pixel_format: PixelFormat, seed: int) -> Array:
    """A coloured picture (1, 3H/2, W) as such a camera gives it."""
    rows, columns = SIZE
    values = picture(Size(rows * 3 // 2, columns), seed)[..., 0].clip(16, 235)
    assert values.shape == pixel_format.frame_shape(SIZE)
    return values[None]


@pytest.fixture(scope="module")
def graphs(int8_core: ModelProto) -> Graphs:
    """The INT8 frame graph in both dialects, for each camera."""
    wide = {("wide", each): framed(int8_core, each) for each in PixelFormat}
    return wide | {("typed", each): typed(model) for (_, each), model in wide.items()}


@pytest.mark.parametrize("dialect", VERSIONS)
@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_every_tensorrt_takes_every_form_of_its_dialect(
    graphs: Graphs, pixel_format: PixelFormat, dialect: str
) -> None:
    model = graphs[dialect, pixel_format]
    found = {version: examined(model, version).findings for version in VERSIONS[dialect]}
    assert found == {version: [] for version in VERSIONS[dialect]}


@pytest.mark.parametrize("mask_size", [Size(48, 64), Size(12, 16)])
def test_masks_of_the_networks_size_are_taken_too(int8_core: ModelProto, mask_size: Size) -> None:
    wide = framed(int8_core, PixelFormat.RGB8, mask_size)
    assert examined(wide, (8, 6)).findings == []
    assert examined(typed(wide), (10, 3)).findings == []


@pytest.mark.parametrize("dialect", ["wide", "typed"])
@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_bytes_change_to_floats_and_back_and_are_nothing_else(
    graphs: Graphs, pixel_format: PixelFormat, dialect: str
) -> None:
    model = graphs[dialect, pixel_format]
    for form in (model, batched(model)):
        assert _conversions_of_bytes(form) == {("frame", "bytes"), ("float_ids", "labels")}
    assert _conversions_of_bytes(float_bordered(model)) == set()


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_the_only_whole_numbers_of_a_typed_graph_are_class_ids(
    graphs: Graphs, pixel_format: PixelFormat
) -> None:
    model = graphs["typed", pixel_format]
    found = {name for name, kind in element_types(model).items() if kind in WHOLE}
    assert found == {"ids"}


@pytest.mark.parametrize("pixel_format", YUV)
def test_planes_of_yuv_are_cut_where_the_build_knows(
    core: ModelProto, pixel_format: PixelFormat
) -> None:
    model = framed(core, pixel_format)
    rows, columns = SIZE
    cuts = [node for node in model.graph.node if node.op_type == "Slice"]
    values, sizes = constants(model), shapes(model)
    ends = [[int(values[name][0]) for name in node.input[1:4]] for node in cuts]
    assert ends == [[0, rows, 1], [rows, rows * 3 // 2, 1]]  # from, to, axis
    assert [sizes[node.output[0]] for node in cuts] == [
        (1, rows, columns),
        (1, rows // 2, columns),
    ]
    assert producers(model)["bytes"].op_type == "Cast"
    assert {node.input[0] for node in cuts} == {"bytes"}


@pytest.mark.parametrize("pixel_format", YUV)
def test_colours_are_computed_in_fp32_whatever_the_dialect(
    graphs: Graphs, pixel_format: PixelFormat
) -> None:
    wide, half = (graphs[dialect, pixel_format] for dialect in ("wide", "typed"))
    kinds = element_types(half)
    head = _before("pixels", half)
    assert {kinds[name] for node in head for name in node.output} == {TensorProto.FLOAT}
    assert TensorProto.FLOAT16 in kinds.values()
    pixels = frame(pixel_format, 0)
    found, wanted = (run(tapped(m, ["pixels"]), {"frame": pixels}) for m in (half, wide))
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("pixel_format", YUV)
@pytest.mark.parametrize("name", ["core", "int8_core"])
def test_masks_of_yuv_agree_between_the_dialects(
    name: str, pixel_format: PixelFormat, request: pytest.FixtureRequest
) -> None:
    wide = unrounded(framed(request.getfixturevalue(name), pixel_format))
    half = typed(wide)
    pictures = np.concatenate([frame(pixel_format, seed) for seed in range(48)])
    wanted = run(batched(wide), {"frame": pictures})
    assert len(np.unique(wanted)) >= 3
    for form in (half, rounded(half)):
        assert np.mean(run(batched(form), {"frame": pictures}) == wanted) >= 0.999


@pytest.mark.parametrize("pixel_format", YUV)
def test_eight_bits_survive_fp16_where_tensorrt_8_chooses_it(
    core: ModelProto, pixel_format: PixelFormat
) -> None:
    """The wide dialect leaves the precision of the head to its FP16 flag."""
    names = ["wide_chroma", "luma", "levels"]
    model = tapped(framed(core, pixel_format), names)
    values = constants(model)

    def constant(name: str) -> Array:
        return values[name].astype(np.float16)

    chroma, luma, levels = (
        x[0].astype(np.float16) for x in run_all(model, {"frame": frame(pixel_format, 0)})
    )
    red = chroma[1] * constant("r_of_red") + constant("r_offset")
    wanted = luma[0] * constant("luma_gain") + red[:, None]  # rows in pairs
    inexact = np.clip(wanted, 0, 255).round().reshape(SIZE)
    assert inexact.dtype == np.float16
    assert np.abs(inexact - levels[0]).max() <= 1


def _conversions_of_bytes(model: ModelProto) -> set[tuple[str, str]]:
    """What is read and given by each node that touches bytes; only Casts of floats may."""
    kinds = element_types(model)
    found = set()
    for node in model.graph.node:
        touched = [kinds.get(name) for name in (*node.input, *node.output)]
        if TensorProto.UINT8 in touched:
            assert node.op_type == "Cast"
            assert len(FLOATS.intersection(touched)) == 1
            found.add((node.input[0], node.output[0]))
    return found


def _before(name: str, model: ModelProto) -> list[NodeProto]:
    made_by = producers(model)
    found: list[NodeProto] = []
    waiting = [name]
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None:
            found.append(node)
            waiting.extend(node.input)
    return found
