"""csi:// without a board: the pipeline's text, the same with stand-ins, a fake jetson_utils."""

import sys
import threading
import time
import types
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from edgeseg.errors import DeviceError, UsageError, VideoError
from edgeseg.types import PixelFormat, Pixels, Size
from edgeseg.video import SourceOptions, open_source
from edgeseg.video.sources import csi
from edgeseg.video.sources.csi import CsiElements, csi_options, csi_pipeline
from tests.video.system_gi import make_gi_importable

pytestmark = pytest.mark.needs("av", "cv2")


@pytest.fixture
def _gi(gstreamer: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    del gstreamer
    make_gi_importable(tmp_path_factory.mktemp("gi"))


def pipeline(rest: str, pixel_format: PixelFormat) -> str:
    return csi_pipeline(csi_options(rest, SourceOptions()), pixel_format, csi.JETSON)


def test_engine_that_takes_nv12_gets_what_the_camera_makes() -> None:
    assert pipeline("1?size=640x480&rate=60&flip=2", PixelFormat.NV12) == (
        "nvarguscamerasrc sensor-id=1 "
        "! video/x-raw(memory:NVMM),width=640,height=480,format=NV12,framerate=60/1 "
        "! nvvidconv flip-method=2 ! video/x-raw,format=NV12"
    )


@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB8, PixelFormat.BGR8, PixelFormat.BGRX8])
def test_engine_that_takes_rgb_gets_bgrx_from_the_converter(pixel_format: PixelFormat) -> None:
    assert pipeline("0", pixel_format) == (
        "nvarguscamerasrc sensor-id=0 "
        "! video/x-raw(memory:NVMM),width=1280,height=720,format=NV12,framerate=30/1 "
        "! nvvidconv flip-method=0 ! video/x-raw,format=BGRx"
    )


def test_size_and_rate_may_come_from_the_call() -> None:
    wanted = SourceOptions(scale_to=Size(480, 640), rate=Fraction(15))
    options = csi_options("0", wanted)
    assert (options.size, options.rate) == (Size(480, 640), 15)


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("front", "no camera"),
        ("0?flip=8", "flip of csi"),
        ("0?flips=2", "did you mean 'flip'"),
        ("0?rate=0", "above 0"),
        ("0?size=wide", "wide"),
        ("0?size=640x480", "the URI asks for 640x480 and the call for 320x240"),
        ("0?rate=30", "30 frames per second and the call for 15"),
    ],
)
def test_option_that_a_camera_does_not_take_is_refused(rest: str, words: str) -> None:
    wanted = SourceOptions(scale_to=Size(240, 320), rate=Fraction(15))
    with pytest.raises(UsageError) as refused:
        csi_options(rest, wanted)
    assert words in str(refused.value)


@pytest.mark.usefixtures("_gi")
def test_machine_without_csi_cameras_is_told_so() -> None:
    with pytest.raises(DeviceError, match="no CSI cameras of a Jetson") as refused:
        open_source("csi://0")
    assert "nvidia-l4t-gstreamer" in refused.value.fix
    assert "nvargus-daemon" in refused.value.fix


@pytest.mark.usefixtures("_gi")
@pytest.mark.parametrize("pixel_format", [PixelFormat.NV12, PixelFormat.RGB8, PixelFormat.BGRX8])
def test_pipeline_delivers_frames_with_other_elements_in_place_of_the_board_s(
    monkeypatch: pytest.MonkeyPatch, pixel_format: PixelFormat
) -> None:
    elements = CsiElements(
        camera="videotestsrc",
        camera_options="pattern=red is-live=true name=sensor{sensor}",
        memory="",
        converter="videoconvert",
        converter_options="",
    )
    monkeypatch.setattr(csi, "JETSON", elements)
    source = open_source("csi://2?size=322x90&rate=25", SourceOptions(pixel_format=pixel_format))
    pixels = np.empty(pixel_format.frame_shape(source.info.size), np.uint8)
    source.read_into(pixels)
    source.close()
    assert (source.info.size, source.info.fps, source.info.name) == (Size(90, 322), 25, "csi://2")
    # BT.601, limited: 16 + 219 * 0.299.
    red = {PixelFormat.RGB8: (255, 0, 0), PixelFormat.BGRX8: (0, 0, 255), PixelFormat.NV12: 81.5}
    middle = pixels[45, 160]
    np.testing.assert_allclose(middle[:3] if middle.ndim else middle, red[pixel_format], atol=6)


class FakeVideoSource:
    """jetson_utils.videoSource: frames of one colour each, then silence, then it is gone."""

    made: ClassVar["list[FakeVideoSource]"] = []

    def __init__(self, uri: str, argv: list[str]) -> None:
        self.uri, self.argv, self.frames, self.closed = uri, argv, 0, False
        self.raises_at_a_timeout = uri == "csi://5"
        self.made.append(self)
        if uri == "csi://7":
            raise Exception("jetson.utils -- failed to create videoSource device")

    def Capture(self, format: str, timeout: int) -> Pixels | None:  # noqa: N802
        assert timeout > 0
        self.frames += 1
        if self.frames > 3:
            time.sleep(0.01)
            if self.raises_at_a_timeout:
                raise Exception("jetson.utils -- videoSource failed to capture image")
            return None
        channels = 4 if format in {"rgba8", "bgra8"} else 3
        return np.full((48, 64, channels), 10 * self.frames, np.uint8)

    def IsStreaming(self) -> bool:  # noqa: N802
        return self.frames < 6

    def Close(self) -> None:  # noqa: N802
        self.closed = True


@pytest.fixture
def jetson_utils(monkeypatch: pytest.MonkeyPatch) -> type[FakeVideoSource]:
    module = types.ModuleType("jetson_utils")
    module.__spec__ = types.SimpleNamespace(name="jetson_utils")  # type: ignore[assignment]
    module.videoSource = FakeVideoSource  # type: ignore[attr-defined]
    module.cudaToNumpy = lambda image: image  # type: ignore[attr-defined]
    module.cudaDeviceSynchronize = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jetson_utils", module)
    FakeVideoSource.made.clear()
    return FakeVideoSource


@pytest.mark.parametrize("scale_to", [None, Size(24, 32)])
def test_jetson_utils_brings_frames_where_it_is_installed(
    jetson_utils: type[FakeVideoSource], scale_to: Size | None
) -> None:
    wanted = SourceOptions(pixel_format=PixelFormat.BGRX8, scale_to=scale_to)
    source = open_source("csi://1?rate=60&flip=2", wanted)
    size = scale_to or Size(48, 64)
    assert source.info.size == size
    pixels = np.empty((*size, 4), np.uint8)
    when = source.read_into(pixels)
    source.close()
    assert pixels[5, 5, 0] == 10 * (when.index + 1)
    made = jetson_utils.made[0]
    assert made.uri == "csi://1"
    assert {"--input-rate=60", "--input-flip=rotate-180"} <= set(made.argv)
    assert made.closed


def test_camera_that_jetson_utils_loses_is_opened_again(
    jetson_utils: type[FakeVideoSource],
) -> None:
    wanted = SourceOptions()
    source = open_source("csi://0", wanted)
    pixels = np.empty((48, 64, 3), np.uint8)
    give_up = threading.Timer(20, source.close)
    give_up.start()
    while wanted.counts.reconnects < 1 and source.read_into(pixels) is not None:
        pass
    give_up.cancel()
    source.close()
    assert len(jetson_utils.made) >= 2
    assert jetson_utils.made[0].closed


def test_camera_that_jetson_utils_does_not_start_is_refused(
    jetson_utils: type[FakeVideoSource],
) -> None:
    del jetson_utils
    with pytest.raises(VideoError, match="csi://7 does not start") as refused:
        open_source("csi://7")
    assert "nvargus-daemon" in refused.value.fix


def test_older_jetson_utils_that_raises_at_a_timeout_has_not_lost_the_camera(
    jetson_utils: type[FakeVideoSource],
) -> None:
    camera = csi.JetsonUtilsCamera(5, SourceOptions(), size=Size(48, 64), rate=Fraction(30), flip=0)
    for _ in range(3):
        assert camera.grab(0.01) is not None
    began_s = time.monotonic()
    assert [camera.grab(0.05), camera.grab(0.05)] == [None, None]
    assert time.monotonic() - began_s >= 0.1  # and does not spin
    with pytest.raises(VideoError, match="is lost"):
        camera.grab(0.05)
    camera.close()
    assert jetson_utils.made[0].closed


def test_jetson_utils_that_does_not_load_is_told_of_and_gstreamer_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "jetson_utils.py").write_text("raise ImportError('libcudart.so.12 is missing')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(csi, "captured", lambda text, _wanted, name: (text, name))
    monkeypatch.setattr(csi, "missing_elements", lambda _: [])
    text, name = csi.open_csi("0", SourceOptions())  # type: ignore[misc]
    assert text.startswith("nvarguscamerasrc")
    assert name == "csi://0"
    assert "libcudart.so.12" in caplog.text
