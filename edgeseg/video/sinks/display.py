"""A window: `display://0`. Esc, q or closing it ends the run."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping

import cv2
import numpy as np

from edgeseg.errors import MissingPackage, OutputError
from edgeseg.types import Size
from edgeseg.video.sinks import FrameView, SinkOptions

INSTEAD = "on a machine without one look in a browser: http://127.0.0.1:8080 as the sink"
LARGEST = Size(900, 1600)
"""Of a window when it opens; it may be made larger."""
QUIT_KEYS = frozenset({27, ord("q")})

PROBE_S = 30.0
# In a process of its own: where Qt finds no display, or not its plugin, it ends the process.
_PROBE = "import cv2; cv2.namedWindow('edgeseg'); cv2.pollKey(); cv2.destroyAllWindows()"


class DisplaySink:
    """Shows pictures in a window of their own, as fast as they come.

    Belongs to the thread that opened it, and never waits for the window. `wants_to_stop` turns
    True when whoever looks at it has seen enough; what is written after that is not shown.
    """

    takes_pictures = True

    def __init__(self, title: str, size: Size, *, width_px: int | None = None) -> None:
        self.wants_to_stop = False
        self._title = title
        self._bgr = np.empty((*size, 3), np.uint8)
        self._open, self._was_there = True, False
        width, height = width_px or size.width, size.height
        scale = min(1.0, LARGEST.width / width, LARGEST.height / height)
        # The wheels' Qt tells each time, a dozen times, that they bring no fonts; we need none.
        os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
        try:
            cv2.namedWindow(title, _style(width_px, size))
            cv2.resizeWindow(title, max(1, round(width * scale)), max(1, round(height * scale)))
        except cv2.error as error:
            raise OutputError(f"no window can be opened: {error}", fix=INSTEAD) from error

    def write(self, frame: FrameView) -> None:
        """Show `frame.picture`, and look whether a key was pressed or the window closed.

        Raises:
            OutputError: the display is gone.
        """
        if self.wants_to_stop or not self._open:
            return
        cv2.cvtColor(frame.picture, cv2.COLOR_RGB2BGR, dst=self._bgr)
        try:
            if self._is_closed():  # else imshow would open it anew
                self.wants_to_stop = True
                return
            cv2.imshow(self._title, self._bgr)
            key = cv2.pollKey()
            self.wants_to_stop = self._is_closed() or (key >= 0 and key & 0xFF in QUIT_KEYS)
        except cv2.error as error:
            raise OutputError(f"the window is gone: {error}", fix=INSTEAD) from error

    def close(self) -> None:
        """Close the window; closing twice is fine."""
        if self._open:
            self._open = False
            with contextlib.suppress(cv2.error):  # the user may have closed it
                cv2.destroyWindow(self._title)
                cv2.pollKey()

    def _is_closed(self) -> bool:
        """Whether the window was there and is no more; some toolkits take a while to open it."""
        is_there = False
        with contextlib.suppress(cv2.error):  # GTK's word for a window that is no more
            is_there = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        self._was_there = self._was_there or is_there
        return self._was_there and not is_there


def open_display(rest: str, wanted: SinkOptions) -> DisplaySink:
    """The window of `display://0`; any other word than 0 is for its title.

    Raises:
        OutputError: there is no display, or it refuses.
        MissingPackage: an OpenCV that was built without windows.
    """
    check_windows(os.environ)
    word = "" if rest.strip("/") in {"", "0"} else rest.strip("/")
    name = " - ".join(part for part in ("edgeseg", word, wanted.title) if part)
    width = round(wanted.size.width * wanted.pixel_aspect)
    return DisplaySink(
        name, wanted.size, width_px=None if wanted.pixel_aspect == 1 else max(1, width)
    )


def check_windows(environment: Mapping[str, str]) -> None:
    """Nothing, if a window can be opened here.

    Raises:
        OutputError: there is no display, or it refuses.
        MissingPackage: an OpenCV that was built without windows.
    """
    toolkit = re.search(r"GUI:\s*(\S+)", cv2.getBuildInformation())
    if toolkit is None or toolkit[1] == "NONE":
        raise MissingPackage(
            "this OpenCV was built without windows",
            fix="pip uninstall opencv-python-headless; pip install --force-reinstall opencv-python",
        )
    if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        raise OutputError(
            "there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set",
            fix=f"log in to the desktop, or ssh -X; {INSTEAD}",
        )
    _try_a_window(environment)


def _try_a_window(environment: Mapping[str, str]) -> None:
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_S,
        )
    except subprocess.TimeoutExpired as error:
        raise OutputError("the display does not answer", fix=INSTEAD) from error
    if tried.returncode:
        said = [line.strip() for line in tried.stderr.splitlines() if line.strip()]
        raise OutputError(
            f"the display {environment.get('DISPLAY') or environment.get('WAYLAND_DISPLAY')} "
            f"cannot be used: {said[0] if said else f'exit code {tried.returncode}'}",
            fix=INSTEAD,
        )


def _style(width_px: int | None, size: Size) -> int:
    """Pictures keep their shape in the window, unless pixels are not square."""
    square = width_px is None or width_px == size.width
    ratio = cv2.WINDOW_KEEPRATIO if square else cv2.WINDOW_FREERATIO
    return cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL | ratio
