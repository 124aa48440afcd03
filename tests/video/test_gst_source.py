"""gst:// against real GStreamer: its test picture has colours that are known."""

import ctypes
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import EdgesegError, MissingPackage, UsageError, VideoError
from edgeseg.types import PixelFormat, Pixels, Size
from edgeseg.video import SourceOptions, gst_pipeline, open_source
from edgeseg.video import gstreamer as gstreamer_of_edgeseg
from edgeseg.video.sources.gst import GstCamera
from tests.video.system_gi import make_gi_importable

pytestmark = pytest.mark.needs("av", "cv2")

BARS = np.array(
    [[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1]], np.float64
)
"""The upper part of videotestsrc's picture, from left to right, RGB."""
SIZE = Size(90, 322)
"""No width that GStreamer has without gaps between its rows."""
TEST = "videotestsrc ! video/x-raw,width=322,height=90"


@pytest.fixture(scope="module", autouse=True)
def _gi(gstreamer: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    del gstreamer
    make_gi_importable(tmp_path_factory.mktemp("gi"))


def frames_of(camera: GstCamera, most: int = 50) -> list[Pixels]:
    """What it delivers until its end."""
    frames: list[Pixels] = []
    try:
        while len(frames) < most:
            grab = camera.grab(0.2)
            if grab is None and camera.ended:
                break
            if grab is not None:
                frames.append(
                    np.empty(camera.info.pixel_format.frame_shape(camera.info.size), "u1")
                )
                grab.write_into(frames[-1])
                grab.release()
    finally:
        camera.close()
    return frames


def yuv(matrix: str = "bt601", *, full: bool = False) -> Pixels:
    """The bars in YUV, by the definition of the matrix."""
    red, blue = (0.299, 0.114) if matrix == "bt601" else (0.2126, 0.0722)
    luma = BARS @ [red, 1 - red - blue, blue]
    u, v = (BARS[:, 2] - luma) / (2 - 2 * blue), (BARS[:, 0] - luma) / (2 - 2 * red)
    scale, zero = ((255, 255), 0) if full else ((219, 224), 16)
    return np.stack([zero + scale[0] * luma, 128 + scale[1] * u, 128 + scale[1] * v], axis=1)


def middles(plane: Pixels) -> Pixels:
    """The values in the middle of each bar, of a row near the top and one further down."""
    at = (np.arange(7) + 0.5) * plane.shape[1] / 7
    rows = [plane.shape[0] // 20, plane.shape[0] // 2]
    return np.stack([plane[row][at.astype(int)] for row in rows]).astype(float)


def chroma_of(frame: Pixels, pixel_format: PixelFormat, size: Size) -> list[Pixels]:
    rest = frame[size.height :].reshape(-1)
    half = (size.height // 2, size.width // 2)
    if pixel_format is PixelFormat.NV12:
        return [rest[0::2].reshape(half), rest[1::2].reshape(half)]
    return [part.reshape(half) for part in np.split(rest, 2)]


@pytest.mark.parametrize("given", ["", ",format=I420", ",format=YUY2", ",format=BGRx"])
@pytest.mark.parametrize(
    ("pixel_format", "channels"),
    [
        (PixelFormat.RGB8, [0, 1, 2]),
        (PixelFormat.BGR8, [2, 1, 0]),
        (PixelFormat.RGBA8, [0, 1, 2]),
        (PixelFormat.BGRX8, [2, 1, 0]),
    ],
)
def test_packed_frames_have_the_colours_of_the_test_picture(
    given: str, pixel_format: PixelFormat, channels: list[int]
) -> None:
    text = f"videotestsrc num-buffers=1 ! video/x-raw,width=322,height=90{given}"
    (frame,) = frames_of(GstCamera(text, SourceOptions(pixel_format=pixel_format)))
    assert frame.shape[:2] == SIZE
    np.testing.assert_allclose(
        middles(frame)[..., channels], np.broadcast_to(255 * BARS, (2, 7, 3)), atol=3
    )


@pytest.mark.parametrize("given", ["", ",format=I420", ",format=NV12", ",format=YUY2"])
@pytest.mark.parametrize("pixel_format", [PixelFormat.NV12, PixelFormat.I420])
def test_planes_have_the_colours_of_the_test_picture(given: str, pixel_format: PixelFormat) -> None:
    wanted = SourceOptions(pixel_format=pixel_format)
    text = f"videotestsrc num-buffers=1 ! video/x-raw,width=322,height=90{given}"
    (frame,) = frames_of(GstCamera(text, wanted))
    planes = [frame[: SIZE.height], *chroma_of(frame, pixel_format, SIZE)]
    for plane, expected in zip(planes, yuv().T, strict=True):
        np.testing.assert_allclose(middles(plane), [expected, expected], atol=2)
    assert wanted.counts.converted == 0


@pytest.mark.parametrize(
    ("colorimetry", "kind"),
    [("bt709", "bt709-limited"), ("1:4:0:0", "bt601-full"), ("1:3:0:0", "bt709-full")],
)
def test_planes_in_another_matrix_or_range_are_converted_and_counted(
    colorimetry: str, kind: str
) -> None:
    text = (
        "videotestsrc num-buffers=2 ! video/x-raw,width=322,height=90,format=RGB ! videoconvert "
        f"! video/x-raw,format=I420,colorimetry={colorimetry}"
    )
    wanted = SourceOptions(pixel_format=PixelFormat.NV12)
    for frame in frames_of(GstCamera(text, wanted)):
        np.testing.assert_allclose(middles(frame[: SIZE.height])[0], yuv()[:, 0], atol=3)
    assert wanted.counts.converted == 2

    as_it_is = SourceOptions(pixel_format=PixelFormat.I420, yuv=kind)  # type: ignore[arg-type]
    matrix, _, extent = kind.partition("-")
    for frame in frames_of(GstCamera(text, as_it_is)):
        expected = yuv(matrix, full=extent == "full")[:, 0]
        np.testing.assert_allclose(middles(frame[: SIZE.height])[0], expected, atol=2)
    assert as_it_is.counts.converted == 0


def test_frames_are_scaled_where_another_size_is_asked_for() -> None:
    camera = GstCamera(f"{TEST},format=I420", SourceOptions(), scale_to=Size(60, 140))
    (frame,) = frames_of(camera, 1)
    np.testing.assert_allclose(middles(frame)[0], 255 * BARS, atol=3)


def test_every_frame_of_a_pipeline_with_an_appsink_comes_until_its_end() -> None:
    text = "videotestsrc num-buffers=12 ! video/x-raw,width=64,height=48 ! appsink name=mine sync=0"
    camera = GstCamera(text, SourceOptions())
    assert len(frames_of(camera)) == 12
    assert camera.ended


def test_size_that_changes_on_the_way_keeps_the_promised_frames() -> None:
    parts = [
        f"videotestsrc num-buffers=3 ! video/x-raw,format=I420,width={width},height=90 ! c."
        for width in (140, 322)
    ]
    text = f"concat name=c ! appsink sync=false {' '.join(parts)}"
    camera = GstCamera(text, SourceOptions())
    frames = frames_of(camera)
    assert camera.info.size == Size(90, 140)
    assert len(frames) == 6
    for frame in (frames[0], frames[-1]):
        np.testing.assert_allclose(middles(frame)[0], 255 * BARS, atol=3)


def test_slow_reader_gets_newest_frames_and_an_exact_count() -> None:
    wanted = SourceOptions()
    text = "videotestsrc num-buffers=40 ! video/x-raw,width=64,height=48 ! appsink sync=false"
    source = open_source(f"gst://{text}", wanted)
    pixels, indices = np.empty((48, 64, 3), np.uint8), []
    while (when := source.read_into(pixels)) is not None:
        indices.append(when.index)
        time.sleep(0.02)
    source.close()
    assert wanted.counts.captured == 40
    assert wanted.counts.dropped == 40 - len(indices)
    assert indices[-1] == 39


def test_live_frame_is_as_old_as_its_time_stamp_says() -> None:
    text = (
        "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=10/1 "
        "! identity sleep-time=80000"
    )
    camera = GstCamera(text, SourceOptions())
    camera.grab(1.0).release()
    grab = camera.grab(1.0)
    age_s = time.monotonic() - grab.captured_s
    grab.release()
    camera.close()
    assert 0.08 <= age_s < 5


@pytest.mark.parametrize(("given", "fps"), [("", 5), (",format=I420", 5), (",framerate=10/1", 10)])
def test_rate_is_asked_for_where_the_pipeline_has_it(given: str, fps: int) -> None:
    text = f"videotestsrc ! video/x-raw,width=64,height=48{given}"
    camera = GstCamera(text, SourceOptions(rate=Fraction(5)))
    camera.close()
    assert camera.info.fps == fps


def test_pipeline_may_be_percent_encoded() -> None:
    source = open_source("gst://videotestsrc%20!%20video/x-raw,width=64,height=48")
    assert source.info.size == Size(48, 64)
    assert source.info.fps == 30
    source.close()


def test_picture_stays_valid_after_the_pipeline_is_closed() -> None:
    camera = GstCamera(f"{TEST},format=RGB", SourceOptions())
    grab = camera.grab(1.0)
    camera.close()
    frame = np.empty((*SIZE, 3), np.uint8)
    grab.write_into(frame)
    grab.release()
    grab.release()
    np.testing.assert_allclose(middles(frame)[0], 255 * BARS, atol=3)
    with pytest.raises(VideoError, match="given back"):
        grab.write_into(frame)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", UsageError, "names no pipeline"),
        ("nothinglikethis ! fakesink", MissingPackage, "nothinglikethis"),
        ("nvarguscamerasrc ! nvvidconv", MissingPackage, "nvidia-l4t-gstreamer"),
        ("videotestsrc colour=red", UsageError, "colour"),
        ("videotestsrc ! ! fakesink name=", UsageError, "does not take"),
        ("appsink", UsageError, "not a whole pipeline"),
        ("gst-launch-1.0 -v videotestsrc ! fakesink", UsageError, "leave gst-launch-1.0"),
        ("videotestsrc ! appsink videotestsrc ! appsink", UsageError, "2 appsinks"),
        ("videotestsrc ! fakesink", VideoError, "could not link"),
        ("audiotestsrc", VideoError, "ends in audio/x-raw"),
        ("filesrc location=/no/such/file ! decodebin", VideoError, "No such file"),
        ("v4l2src device=/dev/video77", VideoError, "/dev/video77"),
        ("videotestsrc num-buffers=0", VideoError, "ends without a frame"),
    ],
)
def test_pipeline_that_does_not_work_is_refused_in_gstreamer_s_words(
    text: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as refused:
        open_source(f"gst://{text}")
    assert "fix: " in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "rtspsrc location=rtsp://me:sesame@127.0.0.1:9/x user-id=me user-pw=sesame",
        'rtspsrc location=rtsp://127.0.0.1:9/x user-pw="sesame" proxy-pw = sesame ! nowhere',
        "rtspsrc location=rtsp://me:sesame@127.0.0.1:9/x ! appsink videotestsrc ! appsink",
    ],
)
def test_password_in_a_pipeline_is_never_shown(text: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with pytest.raises(EdgesegError) as refused:
        open_source(f"gst://{text}")
    assert "sesame" not in f"{refused.value} {caplog.text}"
    assert "127.0.0.1:9/x" in str(refused.value)


def test_format_that_cannot_come_is_found_out_before_the_camera_is_started() -> None:
    text = "v4l2src device=/dev/video77 ! video/x-raw,format=YUY2"
    with pytest.raises(gst_pipeline.NotNegotiated):
        gst_pipeline.Pipeline(text, "video/x-raw,format=RGB")


def test_messages_that_nobody_reads_do_not_pile_up() -> None:
    pipeline = gst_pipeline.Pipeline(f"{TEST} ! videoanalyse", "video/x-raw")
    try:
        pipeline.start().release()
        for _ in range(20):
            sample = pipeline.pull(5.0)
            assert sample is not None
            sample.release()
        waiting = 0
        while pipeline._bus.pop() is not None:
            waiting += 1
    finally:
        pipeline.close()
    assert waiting < 10


def test_pipeline_without_frames_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gst_pipeline, "FIRST_FRAME_S", 0.3)
    with pytest.raises(VideoError, match="delivers no frame"):
        open_source("gst://appsrc ! video/x-raw")


def test_start_that_hangs_is_given_up() -> None:
    never = threading.Event()
    with pytest.raises(VideoError, match="no answer"):
        gst_pipeline.within(lambda: never.wait(5), 0.05)
    never.set()


def test_odd_size_is_refused_for_planes() -> None:
    with pytest.raises(UsageError, match="even"):
        open_source(
            "gst://videotestsrc ! video/x-raw,width=321,height=240",
            SourceOptions(pixel_format=PixelFormat.NV12),
        )


def test_pipeline_that_breaks_is_lost_and_comes_back() -> None:
    text = "videotestsrc ! video/x-raw,width=64,height=48 ! identity error-after=4"
    camera = GstCamera(text, SourceOptions())
    with pytest.raises(VideoError, match="iterations"):
        frames_of(camera)

    wanted = SourceOptions()
    source = open_source(f"gst://{text}", wanted)
    pixels = np.empty((48, 64, 3), np.uint8)
    end_s = time.monotonic() + 20
    epochs = set()
    while len(epochs) < 2 and time.monotonic() < end_s:
        epochs.add(source.read_into(pixels).epoch)
    source.close()
    assert wanted.counts.reconnects == 1


class _SymbolInfo(ctypes.Structure):
    """Dl_info of dlfcn.h."""

    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


def test_exceptions_of_libraries_that_are_loaded_later_are_unwound_by_libgcc() -> None:
    gstreamer_of_edgeseg.gst()
    everything, info = ctypes.CDLL(None), _SymbolInfo()
    for name in ("_Unwind_RaiseException", "_Unwind_GetLanguageSpecificData"):
        assert everything.dladdr(getattr(everything, name), ctypes.byref(info))
        assert b"libgcc_s" in info.file


def test_camera_that_ends_by_itself_is_opened_again() -> None:
    text = "videotestsrc is-live=true ! video/x-raw,width=64,height=48 ! identity eos-after=3"
    wanted = SourceOptions()
    source = open_source(f"gst://{text}", wanted)
    pixels = np.empty((48, 64, 3), np.uint8)
    end_s = time.monotonic() + 20
    epochs = {0}
    while len(epochs) < 2 and time.monotonic() < end_s:
        when = source.read_into(pixels)
        assert when is not None
        epochs.add(when.epoch)
    source.close()
    assert wanted.counts.reconnects == 1


def test_camera_that_was_told_how_many_frames_to_give_ends() -> None:
    text = "videotestsrc is-live=true num-buffers=3 ! video/x-raw,width=64,height=48"
    camera = GstCamera(text, SourceOptions())
    assert len(frames_of(camera)) == 3
    assert camera.ended


def test_opening_and_closing_leaves_nothing_behind() -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    def cycle() -> None:
        source = open_source("gst://videotestsrc is-live=true ! video/x-raw,width=64,height=48")
        source.read_into(np.empty((48, 64, 3), np.uint8))
        source.close()

    for _ in range(3):
        cycle()
    before = held()
    for _ in range(20):
        cycle()
    after = held()
    assert after[0] <= before[0]
    assert after[1] <= before[1] + 3
