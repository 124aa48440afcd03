"""A live source: a thread takes every frame off a camera, and whoever reads gets the newest.

The queue holds one frame, so lag cannot grow: an older frame that nobody took is dropped and
counted. A camera that is lost is opened again, with waits that grow.
"""

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from edgeseg.errors import VideoError
from edgeseg.frames import Camera, FrameTime, Grab
from edgeseg.types import Buffer, Size
from edgeseg.video.sources import SourceOptions

OpenCamera: TypeAlias = Callable[[Size | None], Camera]
"""Opens the camera, to deliver frames of a size; None for their own."""

POLL_S = 0.2
"""The longest that a camera may take over one `grab`."""
CLOSE_S = 0.4
"""The longest that closing waits, from the moment at which the camera was told to stop."""
QUIET_S = 2.0
"""After this long without a frame a warning says so, and again each time that has doubled."""
STALLED_S = 6.0
"""After this long without a frame a camera counts as lost."""
INTERVALS = 5
"""Of a source that says its rate, both are never less than this many intervals."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 4.0
"""Between attempts to open a lost camera."""

log = logging.getLogger(__name__)

_running: "weakref.WeakSet[Capture]" = weakref.WeakSet()


class _Newest(NamedTuple):
    grab: Grab
    time: FrameTime


class Capture:
    """The newest frame of a camera, as a Source.

    `index` counts all frames that were captured, so a gap in it is what was dropped. Closing waits
    for the camera for a moment only; a driver that hangs is left to its own thread.
    """

    def __init__(
        self, open_camera: OpenCamera, wanted: SourceOptions, *, opens_again: bool = True
    ) -> None:
        self.counts = wanted.counts
        self._open, self._opens_again = open_camera, opens_again
        self._max_age_s, self._patience_s = wanted.max_age_s, wanted.patience_s
        self.wake = wanted.wake
        self._newest: _Newest | None = None
        self._over = False
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._give_up_s = 0.0
        self._epoch = 0
        self._start_s: float | None = None
        self._last_size: Size | None = None
        self._first_size: Size | None = None
        camera = open_camera(wanted.scale_to)
        self.info = replace(camera.info, live=True)
        self._patient_s = float(INTERVALS / self.info.fps) if self.info.fps else 0.0
        self._thread = threading.Thread(
            target=self._run, args=(camera,), name=f"camera {self.info.name}", daemon=True
        )
        _running.add(self)
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether there is a new frame to take, or none any more."""
        with self.wake:
            newest = self._newest
            if newest is not None and self._is_late(newest.time):
                newest.grab.release()
                self._newest = None
                self.counts.late += 1
            return self._newest is not None or self._over

    @property
    def is_over(self) -> bool:
        """Whether there is no frame any more."""
        with self.wake:
            return self._newest is None and self._over

    def take(self, pixels: Buffer) -> FrameTime | None:
        """Fill `pixels` with the newest frame; None where there is none, or it cannot be decoded.

        Raises:
            VideoError: the camera is lost for good.
        """
        with self.wake:
            newest, self._newest = self._newest, None
            if newest is None and self._failure is not None:
                raise self._failure
        if newest is None:
            return None
        try:
            newest.grab.write_into(pixels)
        except VideoError as error:
            with self.wake:
                self.counts.damaged += 1
                self.counts.dropped += 1
            log.debug("a frame of %s is left out: %s", self.info.name, error.problem)
            return None
        finally:
            newest.grab.release()
        return newest.time

    def read_into(self, pixels: Buffer) -> FrameTime | None:
        """Fill `pixels` with the newest frame, waiting for one; None at the end.

        Raises:
            VideoError: the camera is lost for good.
        """
        while True:
            with self.wake:
                while not self.is_ready:
                    self.wake.wait()
            if (when := self.take(pixels)) is not None or self.is_over:
                return when

    def stop(self) -> None:
        """Let the camera end, without waiting for that: several ones end at the same time."""
        if not self._stopping.is_set():
            self._give_up_s = time.monotonic() + CLOSE_S
            self._stopping.set()

    def close(self) -> None:
        """Stop the camera; reading on gives None."""
        self.stop()
        if self._thread is not threading.current_thread():
            self._thread.join(max(0.0, self._give_up_s - time.monotonic()))
        _running.discard(self)
        with self.wake:
            self._over, self._failure = True, None
            self._drop()
            self.wake.notify_all()

    def _is_late(self, when: FrameTime) -> bool:
        return self._max_age_s is not None and time.monotonic() - when.captured_s > self._max_age_s

    def _drop(self) -> None:
        """Give up the frame that waits, if one does; the caller holds the lock."""
        if self._newest is not None:
            self._newest.grab.release()
            self._newest = None
            self.counts.dropped += 1

    def _run(self, camera: Camera | None) -> None:
        try:
            while camera is not None:
                try:
                    ended = self._drain(camera)
                finally:
                    camera.close()
                camera = None if ended else self._opened_again()
        except BaseException as error:  # noqa: BLE001 - it is raised again by `read_into`
            self._failure = error
        with self.wake:
            self._over = True
            self.wake.notify_all()
        _running.discard(self)

    def _drain(self, camera: Camera) -> bool:
        """Take frames until the camera is lost (False), or is over or to be closed (True)."""
        first_warn_s, stalled_s = max(QUIET_S, self._patient_s), max(STALLED_S, self._patient_s)
        last_s, warn_s = time.monotonic(), first_warn_s
        while not self._stopping.is_set():
            try:
                grab = camera.grab(POLL_S)
            except VideoError as error:
                if not self._opens_again:
                    raise
                log.warning("%s is lost: %s", self.info.name, error.problem)
                return False
            quiet_s = time.monotonic() - last_s
            if grab is not None:
                self._offer(grab)
                last_s, warn_s = time.monotonic(), first_warn_s
            elif camera.ended:
                break
            elif quiet_s > stalled_s and self._opens_again:
                log.warning("%s is silent; it is opened again", self.info.name)
                return False
            elif quiet_s > warn_s:
                log.warning("no frame from %s for %.0f s", self.info.name, quiet_s)
                warn_s *= 2
        return True

    def _offer(self, grab: Grab) -> None:
        """Make `grab` the newest frame."""
        counts = self.counts
        if self._start_s is None:
            self._start_s, self._first_size = grab.captured_s, grab.size
        if grab.size != self._last_size:
            self._epoch += self._last_size is not None
            self._last_size = grab.size
        counts.resized += grab.size != self._first_size
        moment = FrameTime(
            counts.captured, grab.captured_s, grab.captured_s - self._start_s, self._epoch
        )
        with self.wake:
            counts.captured += 1
            self._drop()
            self._newest = _Newest(grab, moment)
            self.wake.notify_all()

    def _opened_again(self) -> Camera | None:
        """The camera, as soon as it can be opened; None where the source was closed meanwhile."""
        began_s, wait_s = time.monotonic(), FIRST_WAIT_S
        while not self._stopping.wait(wait_s):
            try:
                camera = self._open(self.info.size)
            except VideoError as error:
                lost_s = time.monotonic() - began_s
                if self._patience_s is not None and lost_s > self._patience_s:
                    raise VideoError(
                        f"{self.info.name} did not come back within {lost_s:.0f} s: "
                        f"{error.problem}",
                        fix="look after the camera, or wait longer with --patience",
                    ) from error
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                log.info("%s; the next attempt is in %.1f s", error.problem, wait_s)
                continue
            self.counts.reconnects += 1
            self._epoch += 1
            log.warning("%s is back after %.1f s", self.info.name, time.monotonic() - began_s)
            return camera
        return None


@atexit.register
def _close_all() -> None:
    """Close what nobody closed: Python may not end while a thread of it is in native code."""
    left = list(_running)
    for capture in left:
        capture.stop()
    for capture in left:
        capture.close()
