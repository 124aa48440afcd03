"""gst:// where PyGObject is missing: what is said, and OpenCV in its place."""

import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import DeviceError, MissingPackage, VideoError
from edgeseg.types import PixelFormat, Pixels
from edgeseg.video import SourceOptions, gstreamer, open_source
from edgeseg.video.sources import csi, gst_cv2
from tests.device.trees import write

pytestmark = pytest.mark.needs("av", "cv2")


@pytest.fixture
def no_gi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A Python without gi, and an empty folder instead of the system's packages."""
    gstreamer.gst.cache_clear()
    monkeypatch.setitem(sys.modules, "gi", None)
    monkeypatch.setattr(gstreamer, "SYSTEM_PACKAGES", tmp_path)
    return tmp_path


def test_without_pygobject_the_line_that_installs_it_is_named(no_gi: Path) -> None:
    del no_gi
    with pytest.raises(MissingPackage, match="PyGObject") as refused:
        open_source("gst://videotestsrc")
    assert "apt install python3-gi" in refused.value.fix
    assert "OpenCV was built without GStreamer" in refused.value.problem


def test_pygobject_that_the_environment_hides_is_found(no_gi: Path) -> None:
    (no_gi / "gi").mkdir()
    (no_gi / f"gi/_gi{sysconfig.get_config_var('EXT_SUFFIX')}").touch()
    with pytest.raises(MissingPackage, match="does not see it") as refused:
        gstreamer.gst()
    assert "--system-site-packages" in refused.value.fix


def test_pygobject_for_another_python_is_told_apart(no_gi: Path) -> None:
    (no_gi / "gi").mkdir()
    (no_gi / "gi/_gi.cpython-27-riscv64-linux-gnu.so").touch()
    with pytest.raises(MissingPackage, match=r"another Python \(cpython-27-riscv64"):
        gstreamer.gst()


@pytest.mark.parametrize(
    ("element", "package"),
    [
        ("rtph264depay", "gstreamer1.0-plugins-good"),
        ("avdec_h265", "gstreamer1.0-libav"),
        ("h265parse", "gstreamer1.0-plugins-bad"),
        ("uridecodebin", "gstreamer1.0-plugins-base"),
        ("nvv4l2camerasrc", "nvidia-l4t-gstreamer"),
    ],
)
def test_package_of_an_element_that_is_missing_is_named(element: str, package: str) -> None:
    assert gstreamer.apt_line_of([element]) == f"sudo apt install {package}"


def test_element_that_nobody_knows_is_to_be_searched_for() -> None:
    assert "apt search" in gstreamer.apt_line_of(["mine"])


class FakeReader:
    """cv2.VideoCapture with GStreamer: three green frames."""

    opened: "list[str]" = []  # noqa: RUF012 - the test empties it

    shape: tuple[int, ...] = (48, 64, 3)

    def __init__(self, text: str, backend: int) -> None:
        del backend
        self.opened.append(text)
        self.left = 3 if len(self.opened) == 1 else 0

    def isOpened(self) -> bool:  # noqa: N802 - as OpenCV has it
        return self.left > 0

    def get(self, key: int) -> float:
        del key
        return 25.0

    def read(self) -> tuple[bool, Pixels | None]:
        self.left -= 1
        picture = np.zeros(self.shape, np.uint8)
        picture[..., 1] = 200
        return self.left >= 0, picture

    def release(self) -> None:
        self.left = 0


def test_opencv_with_gstreamer_serves_where_pygobject_is_missing(
    no_gi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del no_gi
    FakeReader.opened.clear()
    monkeypatch.setattr(gst_cv2.cv2, "getBuildInformation", lambda: "  GStreamer:   YES (1.22)\n")
    monkeypatch.setattr(gst_cv2.cv2, "VideoCapture", FakeReader)
    source = open_source("gst://somecamera ! decodebin", SourceOptions(patience_s=0.0))
    pixels = np.empty((48, 64, 3), np.uint8)
    assert source.read_into(pixels) is not None
    source.close()
    assert FakeReader.opened[0].startswith("somecamera ! decodebin ! videoconvert ! video/x-raw")
    assert source.info.fps == 25
    np.testing.assert_array_equal(pixels[24, 32], [0, 200, 0])


@pytest.mark.parametrize("shape", [(72, 64), (48, 64, 4)])
def test_frames_of_opencv_that_are_not_bgr_are_refused(
    no_gi: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    del no_gi
    FakeReader.opened.clear()
    monkeypatch.setattr(FakeReader, "shape", shape)
    monkeypatch.setattr(gst_cv2.cv2, "getBuildInformation", lambda: "  GStreamer:   YES (1.22)\n")
    monkeypatch.setattr(gst_cv2.cv2, "VideoCapture", FakeReader)
    with pytest.raises(VideoError, match="does not deliver BGR") as refused:
        open_source("gst://somecamera ! video/x-raw,format=NV12 ! appsink")
    assert "format=BGR" in refused.value.fix


def test_csi_camera_of_a_machine_that_is_no_jetson_is_not_a_matter_of_packages(
    no_gi: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del no_gi
    monkeypatch.setattr(csi, "ROOT", tmp_path)
    with pytest.raises(DeviceError, match="no CSI cameras of a Jetson"):
        open_source("csi://0")


def test_csi_camera_through_opencv_is_converted_to_what_opencv_reads(
    no_gi: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del no_gi
    FakeReader.opened.clear()
    monkeypatch.setattr(gst_cv2.cv2, "getBuildInformation", lambda: "  GStreamer:   YES (1.22)\n")
    monkeypatch.setattr(gst_cv2.cv2, "VideoCapture", FakeReader)
    write(tmp_path / "board", {"proc/device-tree/model": "NVIDIA Jetson Orin Nano\0"})
    monkeypatch.setattr(csi, "ROOT", tmp_path / "board")
    source = open_source("csi://0", SourceOptions(pixel_format=PixelFormat.NV12))
    source.close()
    assert "format=NV12 ! videoconvert ! video/x-raw,format=BGR ! appsink" in FakeReader.opened[0]
