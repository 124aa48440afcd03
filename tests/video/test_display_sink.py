"""edgeseg.video.sinks.display, on a virtual display."""

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from ctypes.util import find_library

import cv2
import numpy as np
import pytest
from PIL import ImageGrab, features

from edgeseg.errors import MissingPackage, OutputError
from edgeseg.video.sinks import display

PATIENCE_S = 40.0
PAINTED_S, ATTEMPTS = 3.0, 8
COLOR = (220, 40, 90)
SCRIPT = """
import sys, time
import cv2, numpy as np
from fractions import Fraction
from edgeseg.types import Labels, Size
from edgeseg.video.sinks import FrameView, SinkOptions
from edgeseg.video.sinks.display import open_display

labels = Labels(names=("a",), colors=((1, 2, 3),))
size = Size(120, 160)
aspect, ending = Fraction(sys.argv[1]), sys.argv[2]
wanted = SinkOptions(size=size, fps=None, labels=labels, title="net", pixel_aspect=aspect)
sink = open_display("0", wanted)
picture = np.empty((*size, 3), np.uint8)
picture[:] = (220, 40, 90)
until, index = time.monotonic() + 60, 0
while not sink.wants_to_stop and time.monotonic() < until:
    sink.write(FrameView(index=index, picture=picture, labels=picture[..., 0]))
    index += 1
    if index == 5:
        print("shown", flush=True)
        if ending == "closed":
            cv2.destroyAllWindows()
    time.sleep(0.01)
sink.write(FrameView(index=index, picture=picture, labels=picture[..., 0]))
sink.close()
sink.close()
print("stopped" if sink.wants_to_stop else "went on", flush=True)
"""


@pytest.fixture(scope="module")
def x_server() -> Iterator[str]:
    """The name of a display of 640x480."""
    program = shutil.which("Xvfb")
    if program is None:
        if "xvfb" in os.environ.get("EDGESEG_REQUIRE", "").split(","):
            pytest.fail("xvfb is required and missing")
        pytest.skip("Xvfb is not installed: .ci/packages")
    out, into = os.pipe()
    # Without -noreset it begins anew when its last client goes, and turns away who comes just then.
    command = [program, "-noreset", "-displayfd", str(into), "-screen", "0", "640x480x24"]
    with subprocess.Popen(
        [*command, "-nolisten", "tcp"], pass_fds=[into], stderr=subprocess.DEVNULL
    ) as server:
        os.close(into)
        try:
            with os.fdopen(out) as answer:
                number = answer.readline().strip()  # the end of the server is the end of the pipe
            assert number, "Xvfb did not start"
            yield f":{number}"
        finally:
            server.kill()


def _show(x_server: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "DISPLAY": x_server}
    environment.pop("WAYLAND_DISPLAY", None)
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def _area_of_color(x_server: str, shown: tuple[int, int]) -> tuple[int, int]:
    """Width and height of COLOR on the screen, as soon as they are `shown` or it takes too long."""
    until_s, size = time.monotonic() + PAINTED_S, (0, 0)
    while time.monotonic() < until_s:
        screen = np.array(ImageGrab.grab(xdisplay=x_server).convert("RGB"))
        hits = np.all(screen == COLOR, axis=2)
        size = int(hits.any(axis=0).sum()), int(hits.any(axis=1).sum())
        if size == shown and hits.sum() == shown[0] * shown[1]:
            break
        time.sleep(0.05)
    return size


@contextlib.contextmanager
def _shown(x_server: str, aspect: str, shown: tuple[int, int]) -> Iterator["subprocess.Popen[str]"]:
    """A process whose window is on the screen in the size `shown`.

    On a busy machine about one window in ten stays black: Qt misses that it is exposed, where no
    window manager tells it again.
    """
    for _ in range(ATTEMPTS):
        with _show(x_server, aspect, "by key") as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "shown\n"
                size = _area_of_color(x_server, shown)
                if size != (0, 0):
                    assert size == shown
                    yield process
                    return
            finally:
                process.kill()
    pytest.fail(f"no window of {ATTEMPTS} was painted")


def _answer_to_q(process: "subprocess.Popen[str]", x_server: str) -> tuple[str, str]:
    """What the process says when it ends; a window that has no focus yet misses a key."""
    until_s = time.monotonic() + PATIENCE_S / 2
    while True:
        _press_q(x_server)
        try:
            return process.communicate(timeout=1.0)
        except subprocess.TimeoutExpired:
            if time.monotonic() > until_s:
                raise


def _press_q(x_server: str) -> None:
    """Through the server's XTEST extension, as a keyboard would."""
    x11, xtest = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXtst.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    server = ctypes.c_void_p(x11.XOpenDisplay(x_server.encode()))
    xtest.XTestFakeMotionEvent(server, -1, 50, 50, 0)
    key = x11.XKeysymToKeycode(server, ctypes.c_ulong(ord("q")))
    for is_down in (1, 0):
        xtest.XTestFakeKeyEvent(server, key, is_down, 0)
    x11.XCloseDisplay(server)


@pytest.mark.skipif(not features.check("xcb"), reason="this Pillow cannot look at an X server")
@pytest.mark.skipif(find_library("Xtst") is None, reason="nothing presses keys: no libXtst")
@pytest.mark.parametrize(("aspect", "shown"), [("1", (160, 120)), ("2", (320, 120))])
def test_a_window_shows_the_picture_until_q_is_pressed(
    aspect: str, shown: tuple[int, int], x_server: str
) -> None:
    with _shown(x_server, aspect, shown) as process:
        said, complaints = _answer_to_q(process, x_server)
    assert (said, complaints) == ("stopped\n", "")


def test_a_window_that_is_closed_ends_the_run(x_server: str) -> None:
    with _show(x_server, "1", "closed") as process:
        try:
            said, complaints = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert (said, complaints) == ("shown\nstopped\n", "")


def test_no_display_is_told_with_what_to_do() -> None:
    with pytest.raises(OutputError, match="neither DISPLAY nor WAYLAND_DISPLAY") as caught:
        display.check_windows({})
    assert "http://127.0.0.1:8080" in caught.value.fix
    assert caught.value.exit_code == 9


def test_a_display_that_nobody_serves_is_told_before_qt_ends_the_process() -> None:
    environment = {**os.environ, "DISPLAY": ":4711"}
    with pytest.raises(OutputError, match=r"the display :4711 cannot be used: .*:4711"):
        display.check_windows(environment)


def test_an_opencv_without_windows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                      NONE\n")
    with pytest.raises(MissingPackage, match="without windows") as caught:
        display.check_windows({"DISPLAY": ":0"})
    assert "pip" in caught.value.fix
