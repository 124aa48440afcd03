"""gst:// where PyGObject is missing: what is said, and OpenCV in its place."""

import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import MissingPackage
from edgeseg.types import Pixels
from edgeseg.video import SourceOptions, gstreamer, open_source
from edgeseg.video.sources import gst_cv2

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


class FakeReader:
    """cv2.VideoCapture with GStreamer: three green frames."""

    opened: "list[str]" = []  # noqa: RUF012 - the test empties it

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
        picture = np.zeros((48, 64, 3), np.uint8)
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
