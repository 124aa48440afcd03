"""The frame graph in ONNX Runtime against numpy and OpenCV around the same core."""

from typing import get_args

import cv2
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from edgeseg.errors import UsageError
from edgeseg.frames import YuvKind
from edgeseg.graph.frame import FrameSpec, frame_graph, logits_graph
from edgeseg.graph.nodes import attribute, consumers, producers, tensor_shape
from edgeseg.graph.tap import tapped
from edgeseg.types import PixelFormat, Size
from tests.networks import SIZE, picture
from tests.oracle import bilinear, labels_and_decided, run

Array = np.ndarray

GAIN, BIAS = (1 / 64, 1 / 50, 1 / 80), (-2.0, -2.25, -1.5)
"""Different for each channel, so that a swapped one is seen."""

SIZES = [(48, 64), (60, 80), (90, 150), (34, 46)]
"""The network's own, larger, larger with another aspect, smaller."""


def spec(
    size: tuple[int, int],
    pixel_format: PixelFormat = PixelFormat.RGB8,
    *,
    order: str = "rgb",
    mask_size: tuple[int, int] | None = None,
    yuv: YuvKind = "bt601-limited",
) -> FrameSpec:
    return FrameSpec(
        size=Size(*size),
        pixel_format=pixel_format,
        order=order,
        gain=GAIN,
        bias=BIAS,
        mask_size=Size(*(mask_size or size)),
        yuv=yuv,
    )


def pixels_wanted(rgb: Array, order: str = "rgb") -> Array:
    """What the core has to get, computed in float64."""
    planes = rgb.astype(np.float64).transpose(2, 0, 1)[:: 1 if order == "rgb" else -1]
    if rgb.shape[:2] != SIZE:
        planes = bilinear(planes, SIZE)
    return planes * np.reshape(GAIN, (3, 1, 1)) + np.reshape(BIAS, (3, 1, 1))


def logits_wanted(core: ModelProto, rgb: Array, order: str = "rgb") -> Array:
    return run(core, {"pixels": pixels_wanted(rgb, order)[None].astype(np.float32)})[0]


def packed(rgb: Array, pixel_format: PixelFormat) -> Array:
    """`rgb` as a camera would give it, with a meaningless fourth byte where there is one."""
    junk = np.random.default_rng(3).integers(0, 256, (*rgb.shape[:2], 1)).astype(np.uint8)
    channels = {
        PixelFormat.RGB8: [rgb],
        PixelFormat.BGR8: [rgb[..., ::-1]],
        PixelFormat.RGBA8: [rgb, junk],
        PixelFormat.BGRX8: [rgb[..., ::-1], junk],
    }
    return np.concatenate(channels[pixel_format], axis=-1)[None]


def assert_labels(found: Array, logits: Array, size: tuple[int, int]) -> None:
    wanted, decided = labels_and_decided(logits, size)
    assert found.shape == (1, *size)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[0][decided], wanted[decided])
    assert decided.mean() > 0.99  # else the line above says little
    assert len(np.unique(wanted)) >= 3


@pytest.mark.parametrize("size", SIZES)
def test_labels_are_those_of_the_core_with_head_and_tail_in_numpy(
    core: ModelProto, size: tuple[int, int]
) -> None:
    rgb = picture(size)
    found = run(frame_graph(core, spec(size)), {"frame": rgb[None]})
    assert_labels(found, logits_wanted(core, rgb), size)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize(
    "pixel_format",
    [PixelFormat.RGB8, PixelFormat.BGR8, PixelFormat.RGBA8, PixelFormat.BGRX8],
)
def test_every_packed_format_and_order_gives_the_same_pixels(
    core: ModelProto, pixel_format: PixelFormat, order: str
) -> None:
    size = (60, 80)
    rgb = picture(size, seed=4)
    graph = frame_graph(core, spec(size, pixel_format, order=order))
    frame = packed(rgb, pixel_format)
    pixels = run(tapped(graph, ["pixels"]), {"frame": frame})[0]
    np.testing.assert_allclose(pixels, pixels_wanted(rgb, order), atol=1e-5)
    assert_labels(run(graph, {"frame": frame}), logits_wanted(core, rgb, order), size)


def rgb_of(yuv: Array, kind: YuvKind) -> Array:
    """Float RGB (3, H, W), unclipped, of float Y, U, V planes as ITU-R BT.601 and BT.709 say."""
    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[kind[:5]]
    full = kind.endswith("full")
    luma = yuv[0] / 255 if full else (yuv[0] - 16) / 219
    cb, cr = ((plane - 128) / (255 if full else 224) for plane in yuv[1:])
    r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
    return 255 * np.stack([r, (luma - red * r - blue * b) / (1 - red - blue), b])


def planes_of(frame: Array, pixel_format: PixelFormat) -> Array:
    """Y, U, V planes of a whole frame's size in float64; four pixels have one chroma."""
    height = frame.shape[0] * 2 // 3
    half = (height // 2, frame.shape[1] // 2)
    chroma = frame[height:].reshape(-1)
    if pixel_format is PixelFormat.NV12:
        chroma = chroma.reshape(-1, 2).T.reshape(-1)
    pairs = chroma.reshape(2, *half).repeat(2, 1).repeat(2, 2)
    return np.concatenate([frame[None, :height], pairs]).astype(np.float64)


@pytest.mark.parametrize("kind", get_args(YuvKind))
@pytest.mark.parametrize("pixel_format", [PixelFormat.NV12, PixelFormat.I420])
@pytest.mark.parametrize("size", [SIZE, (62, 82), (34, 46)])
def test_yuv_frames_become_the_colours_that_the_recommendations_give(
    core: ModelProto, pixel_format: PixelFormat, kind: YuvKind, size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(5)  # most of these colours leave the gamut and are clipped
    frame = rng.integers(0, 256, (size[0] * 3 // 2, size[1])).astype(np.uint8)
    graph = frame_graph(core, spec(size, pixel_format, yuv=kind))
    levels = run(tapped(graph, ["levels"]), {"frame": frame[None]})[0]
    wanted = np.clip(rgb_of(planes_of(frame, pixel_format), kind), 0, 255)
    assert np.abs(levels - wanted).max() <= 0.501  # one half, and what float32 loses
    np.testing.assert_array_equal(levels, levels.round())
    assert (levels.min(), levels.max()) == (0, 255)


@pytest.mark.parametrize("pixel_format", [PixelFormat.NV12, PixelFormat.I420])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_yuv_frames_give_the_very_pixels_of_their_nearest_rgb(
    core: ModelProto, order: str, pixel_format: PixelFormat
) -> None:
    size = (60, 80)
    frame = np.random.default_rng(6).integers(0, 256, (90, 80)).astype(np.uint8)
    levels = np.clip(rgb_of(planes_of(frame, pixel_format), "bt601-limited"), 0, 255)
    rgb = levels.round().astype(np.uint8).transpose(1, 2, 0)
    forms = ((pixel_format, frame), (PixelFormat.RGB8, rgb))
    of_yuv, of_rgb = (
        run(
            tapped(frame_graph(core, spec(size, kind, order=order)), ["pixels"]), {"frame": p[None]}
        )
        for kind, p in forms
    )
    np.testing.assert_array_equal(of_yuv, of_rgb)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("pixel_format", [PixelFormat.NV12, PixelFormat.I420])
def test_yuv_labels_are_those_of_the_same_colours(
    core: ModelProto, pixel_format: PixelFormat, order: str
) -> None:
    size = (60, 80)
    yuv = cv2.cvtColor(picture(size), cv2.COLOR_RGB2YUV_I420)
    rgb = cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB_I420)
    if pixel_format is PixelFormat.NV12:
        blue, red = yuv[60:75].reshape(-1), yuv[75:].reshape(-1)
        yuv[60:] = np.stack([blue, red], -1).reshape(30, 80)
    found = run(frame_graph(core, spec(size, pixel_format, order=order)), {"frame": yuv[None]})
    wanted, _ = labels_and_decided(logits_wanted(core, rgb, order), size)
    # OpenCV rounds colours to bytes, so a pixel on a border may fall to the other side.
    assert (found[0] == wanted).mean() > 0.98


def test_an_odd_yuv_frame_is_refused_with_the_even_size(core: ModelProto) -> None:
    with pytest.raises(UsageError) as caught:
        frame_graph(core, spec((61, 80), PixelFormat.NV12))
    assert "80x60" in caught.value.fix


def test_labels_may_have_the_networks_size(core: ModelProto) -> None:
    rgb = picture((60, 80))
    graph = frame_graph(core, spec((60, 80), mask_size=SIZE))
    assert_labels(run(graph, {"frame": rgb[None]}), logits_wanted(core, rgb), SIZE)


def test_labels_of_the_logits_own_size_are_not_resized(core: ModelProto) -> None:
    rgb = picture()
    graph = frame_graph(core, spec(SIZE, mask_size=(12, 16)))
    assert_labels(run(graph, {"frame": rgb[None]}), logits_wanted(core, rgb), (12, 16))
    resizes = [node.output[0] for node in graph.graph.node if node.op_type == "Resize"]
    assert "full_logits" not in resizes


def test_a_frame_of_the_networks_size_is_not_resized(core: ModelProto) -> None:
    def head(size: tuple[int, int]) -> list[str]:
        graph = frame_graph(core, spec(size)).graph
        names = [node.output[0] for node in graph.node]
        return [node.op_type for node in graph.node[: names.index("pixels") + 1]]

    assert head(SIZE) == ["Cast", "Transpose", "Mul", "Add"]
    assert head((60, 80)) == ["Cast", "Transpose", "Resize", "Mul", "Add"]


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_the_borders_are_bytes_as_tensorrt_wants_them(
    core: ModelProto, pixel_format: PixelFormat
) -> None:
    model = frame_graph(core, spec((60, 80), pixel_format))
    onnx.checker.check_model(model, full_check=True)
    (entry,), (last,) = model.graph.input, model.graph.output
    assert (entry.name, tensor_shape(entry)) == (
        "frame",
        (1, *pixel_format.frame_shape(Size(60, 80))),
    )
    assert (last.name, tensor_shape(last)) == ("labels", (1, 60, 80))
    for border in (entry, last):
        assert border.type.tensor_type.elem_type == TensorProto.UINT8
    (reader,) = consumers(model)["frame"]
    assert (reader.op_type, attribute(reader, "to")) == ("Cast", TensorProto.FLOAT)
    made_by = producers(model)
    to_bytes = made_by["labels"]
    to_float = made_by[to_bytes.input[0]]
    assert (to_bytes.op_type, attribute(to_bytes, "to")) == ("Cast", TensorProto.UINT8)
    assert (to_float.op_type, attribute(to_float, "to")) == ("Cast", TensorProto.FLOAT)
    assert made_by[to_float.input[0]].op_type == "ArgMax"


def test_the_graph_without_its_tail_gives_the_cores_logits(core: ModelProto) -> None:
    rgb = picture((60, 80))
    model = logits_graph(core, spec((60, 80)))
    onnx.checker.check_model(model, full_check=True)
    wanted = logits_wanted(core, rgb)
    found = run(model, {"frame": rgb[None]})[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_equal_scores_go_to_the_first_class(core: ModelProto) -> None:
    tied = ModelProto()
    tied.CopyFrom(core)
    for weight in tied.graph.initializer:
        if weight.name.startswith("classifier"):
            weight.raw_data = bytes(len(weight.raw_data))
    found = run(frame_graph(tied, spec((60, 80))), {"frame": picture((60, 80))[None]})
    assert not found.any()


def test_the_core_stays_as_it_is(core: ModelProto) -> None:
    before = core.SerializeToString(deterministic=True)
    frame_graph(core, spec((60, 80), PixelFormat.NV12))
    assert core.SerializeToString(deterministic=True) == before
