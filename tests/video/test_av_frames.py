"""edgeseg.video.av_frames: against the formulas of the recommendations, and against swscale."""

import itertools
from typing import get_args

import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace

from edgeseg.errors import UsageError
from edgeseg.frames import SourceCounts, YuvKind
from edgeseg.types import PixelFormat, Pixels, Size
from edgeseg.video.av_frames import FrameWriter
from edgeseg.video.pixels import FromRgb, ToRgb

SIZE = Size(48, 64)
KINDS = get_args(YuvKind)
TAGS = {"bt601": 6, "bt709": 1, "bt2020": 9}
SWSCALE = {"bt601": 5, "bt709": 1, "bt2020": 9}  # SWS_CS_...
LATE_KINDS = ["bt2020-limited"] if hasattr(Colorspace, "BT2020") else []
"""What PyAV 17 cannot ask swscale for."""
EXACT = 0x10 | 0x40000 | 0x2000  # SWS_POINT, SWS_ACCURATE_RND, SWS_FULL_CHR_H_INT
"""What makes swscale round; its default cuts off, by up to three levels."""
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


def matrix_of(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """RGB of 0..255 = matrix @ (yuv - zero)."""
    name, _, span = kind.partition("-")
    red, blue = WEIGHTS[name]
    green = 1 - red - blue
    luma, chroma = (1.0, 1.0) if span == "full" else (255 / 219, 255 / 224)
    rows = [
        [1, 0, 2 * (1 - red)],
        [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
        [1, 2 * (1 - blue), 0],
    ]
    return np.array(rows) * [luma, chroma, chroma], np.array(
        [0 if span == "full" else 16, 128, 128]
    )


def patches(kind: str, seed: int = 0) -> tuple[Pixels, np.ndarray]:
    """I420 of patches of 8x8 colours inside the gamut, and the RGB that they mean."""
    matrix, zero = matrix_of(kind)
    rgb = np.random.default_rng(seed).integers(25, 231, (6, 8, 3))
    yuv = np.round(rgb @ np.linalg.inv(matrix).T + zero)
    exact = (yuv - zero) @ matrix.T
    planes = [yuv[..., i].repeat(8 >> (i > 0), 0).repeat(8 >> (i > 0), 1) for i in range(3)]
    flat = np.concatenate([plane.ravel() for plane in planes]).astype(np.uint8)
    return flat.reshape(72, 64), exact.repeat(8, 0).repeat(8, 1)


def tagged(planes: Pixels, kind: str, *, pix_fmt: str = "yuv420p") -> VideoFrame:
    frame = VideoFrame.from_ndarray(planes, "yuv420p")
    if pix_fmt != "yuv420p":
        frame = frame.reformat(format=pix_fmt)
    frame.colorspace = TAGS[kind.partition("-")[0]]
    frame.color_range = 2 if kind.endswith("full") else 1
    return frame


def written(
    frame: VideoFrame,
    pixel_format: PixelFormat,
    *,
    yuv: YuvKind = "bt601-limited",
    counts: SourceCounts | None = None,
    size: Size = SIZE,
) -> Pixels:
    writer = FrameWriter(pixel_format, size, yuv=yuv, counts=counts or SourceCounts())
    pixels = np.zeros(pixel_format.frame_shape(size), np.uint8)
    writer.write(frame, pixels)
    return pixels


def planes_of(pixels: Pixels, pixel_format: PixelFormat) -> list[np.ndarray]:
    chroma = pixels[48:].reshape(-1)
    pairs = chroma.reshape(2, -1) if pixel_format is PixelFormat.I420 else chroma.reshape(-1, 2).T
    return [pixels[:48].astype(int), *(each.reshape(24, 32).astype(int) for each in pairs)]


@pytest.mark.parametrize("kind", [*KINDS, "bt2020-limited"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12"])
def test_rgb_is_the_nearest_to_what_the_tags_of_the_frame_say(kind: str, pix_fmt: str) -> None:
    # Most of these colours leave the gamut, and some luma is below black.
    noise = np.random.default_rng(4).integers(0, 256, (72, 64), np.uint8)
    got = written(tagged(noise, kind, pix_fmt=pix_fmt), PixelFormat.RGB8)
    luma, *chroma = planes_of(noise, PixelFormat.I420)
    yuv = np.stack([luma, *(plane.repeat(2, 0).repeat(2, 1) for plane in chroma)], -1)
    matrix, zero = matrix_of(kind)
    assert np.abs(got - np.clip((yuv - zero) @ matrix.T, 0, 255)).max() <= 0.501


@pytest.mark.parametrize("kind", [*KINDS, *LATE_KINDS])
def test_rgb_is_that_of_swscale_but_for_its_rounding(kind: str) -> None:
    planes, _ = patches(kind)
    got = written(tagged(planes, kind), PixelFormat.RGB8)
    swscale = VideoFrame.from_ndarray(planes, "yuv420p").reformat(
        format="rgb24",
        src_colorspace=SWSCALE[kind.partition("-")[0]],
        src_color_range=2 if kind.endswith("full") else 1,
        dst_color_range=2,
        interpolation=EXACT,
    )
    assert np.abs(got.astype(int) - swscale.to_ndarray()).max() <= 1


@pytest.mark.parametrize(
    ("pixel_format", "channels"),
    [
        (PixelFormat.BGR8, [2, 1, 0]),
        (PixelFormat.RGBA8, [0, 1, 2]),
        (PixelFormat.BGRX8, [2, 1, 0]),
    ],
)
def test_packed_formats_have_the_same_levels_in_another_order(
    pixel_format: PixelFormat, channels: list[int]
) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (51, 50), np.uint8)
    frame, size = VideoFrame.from_ndarray(noise, "yuv420p"), Size(34, 50)
    got = written(frame, pixel_format, size=size)
    np.testing.assert_array_equal(got[..., channels], written(frame, PixelFormat.RGB8, size=size))
    assert got.shape[2] == 3 or got[..., 3].min() == 255


def test_odd_frames_keep_their_last_row_and_column() -> None:
    frame = VideoFrame(63, 47, "yuv420p")
    for plane, value in zip(frame.planes, (120, 90, 170), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    got = written(frame, PixelFormat.RGB8, size=Size(47, 63))
    matrix, zero = matrix_of("bt601-limited")
    assert np.abs(got - matrix @ ([120, 90, 170] - zero)).max() <= 0.501


@pytest.mark.parametrize(("height", "kind"), [(716, "bt601-limited"), (720, "bt709-limited")])
def test_a_frame_that_does_not_say_is_in_what_is_usual_for_its_size(height: int, kind: str) -> None:
    planes = np.empty((height * 3 // 2, 16), np.uint8)
    planes[:height], planes[height : height * 5 // 4], planes[height * 5 // 4 :] = 120, 90, 170
    got = written(
        VideoFrame.from_ndarray(planes, "yuv420p"), PixelFormat.RGB8, size=Size(height, 16)
    )
    matrix, zero = matrix_of(kind)
    assert np.abs(got - matrix @ ([120, 90, 170] - zero)).max() <= 0.501


@pytest.mark.parametrize("pixel_format", [PixelFormat.I420, PixelFormat.NV12])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12"])
def test_planes_of_the_wanted_kind_are_taken_as_they_are(
    pixel_format: PixelFormat, pix_fmt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (72, 64), np.uint8)
    frame, counts = tagged(noise, "bt709-limited", pix_fmt=pix_fmt), SourceCounts()
    monkeypatch.setattr("edgeseg.video.av_frames.VideoReformatter", lambda: None)
    got = written(frame, pixel_format, yuv="bt709-limited", counts=counts)
    wanted = planes_of(noise, PixelFormat.I420)
    for plane, expected in zip(planes_of(got, pixel_format), wanted, strict=True):
        np.testing.assert_array_equal(plane, expected)
    assert counts.converted == 0


@pytest.mark.parametrize(
    ("source", "target"),
    [pair for pair in itertools.product([*KINDS, "bt2020-limited"], KINDS) if pair[0] != pair[1]],
)
@pytest.mark.parametrize("pixel_format", [PixelFormat.I420, PixelFormat.NV12])
def test_another_matrix_or_range_is_converted_to_the_nearest_level_and_counted(
    source: str, target: YuvKind, pixel_format: PixelFormat
) -> None:
    planes, exact = patches(source)
    counts = SourceCounts()
    got = planes_of(
        written(tagged(planes, source), pixel_format, yuv=target, counts=counts), pixel_format
    )
    matrix, zero = matrix_of(target)
    wanted = exact @ np.linalg.inv(matrix).T + zero
    assert np.abs(got[0] - wanted[..., 0]).max() <= 1.01
    for plane, expected in zip(got[1:], (wanted[::2, ::2, 1], wanted[::2, ::2, 2]), strict=True):
        assert np.abs(plane - expected).max() <= 0.51
    assert counts.converted == 1


@pytest.mark.parametrize(
    "pix_fmt", ["yuv422p", "yuv444p", "yuyv422", "yuv420p10le", "yuv422p10le", "nv12", "p010le"]
)
def test_other_samplings_and_depths_keep_their_colours(pix_fmt: str) -> None:
    planes, exact = patches("bt709-limited")
    frame = tagged(planes, "bt709-limited", pix_fmt=pix_fmt)
    centres = np.s_[4::8, 4::8]
    assert np.abs(written(frame, PixelFormat.RGB8) - exact)[centres].max() <= 3.5
    counts = SourceCounts()
    i420 = written(frame, PixelFormat.I420, yuv="bt709-limited", counts=counts)
    assert np.abs(i420[:48].astype(int) - planes[:48])[centres].max() <= 1
    assert counts.converted == 0


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuvj422p"])
def test_of_four_two_two_every_two_rows_of_chroma_make_one(
    pix_fmt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, frame = np.random.default_rng(7), VideoFrame(64, 48, pix_fmt)
    shapes = [(48, 64), (48, 32), (48, 32)]
    noise = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    for plane, values in zip(frame.planes, noise, strict=True):
        rows = np.zeros((48, plane.line_size), np.uint8)
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    monkeypatch.setattr("edgeseg.video.av_frames.VideoReformatter", lambda: None)
    yuv: YuvKind = "bt601-full" if pix_fmt == "yuvj422p" else "bt601-limited"
    got = planes_of(written(frame, PixelFormat.NV12, yuv=yuv), PixelFormat.NV12)
    np.testing.assert_array_equal(got[0], noise[0])
    for plane, values in zip(got[1:], noise[1:], strict=True):
        mean = (values[::2].astype(float) + values[1::2]) / 2
        assert np.abs(plane - mean).max() <= 0.5


def test_full_range_that_the_format_alone_says_is_full_range() -> None:
    planes, exact = patches("bt601-full")
    frame = VideoFrame.from_ndarray(planes, "yuvj420p")  # as MJPEG decodes, without a tag
    assert np.abs(written(frame, PixelFormat.RGB8) - exact).max() <= 0.501
    counts = SourceCounts()
    kept = written(frame, PixelFormat.I420, yuv="bt601-full", counts=counts)
    np.testing.assert_array_equal(kept, planes)
    assert counts.converted == 0


def test_grey_frames_are_grey_in_every_format() -> None:
    grey = np.arange(256, dtype=np.uint8).repeat(12).reshape(48, 64)
    frame = VideoFrame.from_ndarray(grey, "gray")
    rgb = written(frame, PixelFormat.RGB8)
    assert np.abs(rgb.astype(int) - grey[..., None]).max() <= 1
    full = written(frame, PixelFormat.I420, yuv="bt709-full")
    np.testing.assert_array_equal(full[:48], grey)
    assert np.abs(full[48:].astype(int) - 128).max() <= 1
    limited = written(frame, PixelFormat.NV12)
    assert np.abs(limited[:48] - (16 + grey * (219 / 255))).max() <= 1
    assert np.abs(limited[48:].astype(int) - 128).max() <= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pixel_format", [PixelFormat.I420, PixelFormat.NV12])
def test_rgb_frames_become_the_wanted_yuv_without_being_counted(
    kind: YuvKind, pixel_format: PixelFormat
) -> None:
    _, exact = patches(kind)
    frame = VideoFrame.from_ndarray(exact.round().astype(np.uint8), "rgb24")
    counts = SourceCounts()
    got = planes_of(written(frame, pixel_format, yuv=kind, counts=counts), pixel_format)
    matrix, zero = matrix_of(kind)
    wanted = exact @ np.linalg.inv(matrix).T + zero
    assert np.abs(got[0] - wanted[..., 0])[4::8, 4::8].max() <= 2
    assert np.abs(got[1] - wanted[::2, ::2, 1])[2::4, 2::4].max() <= 2
    assert counts.converted == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pixel_format", [PixelFormat.I420, PixelFormat.NV12])
def test_pictures_go_into_yuv_of_every_kind_and_back(
    kind: YuvKind, pixel_format: PixelFormat
) -> None:
    _, exact = patches(kind, seed=3)
    picture = exact.round().astype(np.uint8)
    pixels = np.empty(pixel_format.frame_shape(SIZE), np.uint8)
    FromRgb(pixel_format, SIZE, yuv=kind).write(picture, pixels)
    matrix, zero = matrix_of(kind)
    wanted = picture @ np.linalg.inv(matrix).T + zero
    assert np.abs(planes_of(pixels, pixel_format)[0] - wanted[..., 0]).max() <= 2.5
    back = ToRgb(pixel_format, SIZE, yuv=kind).view(pixels)
    assert np.abs(back.astype(int) - picture).max() <= 6


def test_a_frame_of_another_size_is_scaled() -> None:
    planes, _ = patches("bt601-limited")
    got = written(
        tagged(planes, "bt709-full"), PixelFormat.NV12, size=Size(24, 32), yuv="bt709-full"
    )
    assert np.abs(got[:24].astype(int)[2::4, 2::4] - planes[:48][4::8, 4::8]).max() <= 2


def test_memory_that_no_frame_fits_is_refused() -> None:
    frame = tagged(patches("bt601-limited")[0], "bt601-limited")
    writer = FrameWriter(PixelFormat.RGB8, SIZE, yuv="bt601-limited", counts=SourceCounts())
    with pytest.raises(UsageError, match="64x48"):
        writer.write(frame, np.empty((64, 48, 3), np.uint8))


def test_rows_may_be_longer_than_the_frame_is_wide() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (51, 50), np.uint8)
    frame = VideoFrame.from_ndarray(noise, "yuv420p")
    assert frame.planes[0].line_size > 50
    np.testing.assert_array_equal(written(frame, PixelFormat.I420, size=Size(34, 50)), noise)
