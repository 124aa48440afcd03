"""Several sources as one: whose turn it is."""

import contextlib
import math
import threading
import time
from collections.abc import Sequence

from edgeseg.frames import FrameTime, LiveSource, Source
from edgeseg.types import Buffer

PAUSE_S = 0.2
"""The longest that a wait goes on without looking whether it still makes sense."""
POLL_S = 0.002
"""The same, where a live source wakes somebody else."""


class Cameras:
    """Gives the frames of `sources` in turn: each that has one, before any has a second.

    A source that is not live always has one. With `one_at_a_time` no frame of a camera is given
    out before the last one of it came back by `done_with`. All is over `seconds` after the first
    call of `read_into`.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        wake: threading.Condition,
        *,
        one_at_a_time: bool = False,
        seconds: float | None = None,
    ) -> None:
        self.sources = list(sources)
        self._wake, self._one_at_a_time = wake, one_at_a_time
        told = all(s.wake is wake for s in self.sources if isinstance(s, LiveSource))
        self._pause_s = PAUSE_S if told else POLL_S
        self._turns = list(range(len(self.sources)))
        self._busy: set[int] = set()
        self._stopped = False
        self._seconds = seconds
        self._end_s: float | None = None

    def read_into(self, pixels: Buffer) -> tuple[int, FrameTime] | None:
        """Fill `pixels` with the next frame; whose it is, or None when all sources are over.

        One thread at a time calls this.

        Raises:
            VideoError: a camera is lost for good.
        """
        while (camera := self._next()) is not None:
            source = self.sources[camera]
            if isinstance(source, LiveSource):
                when, over = source.take(pixels), source.is_over
            else:
                when = source.read_into(pixels)
                over = when is None
            if when is not None:
                return camera, when
            if over:
                self._turns.remove(camera)
            self.done_with(camera)
        return None

    def done_with(self, camera: int) -> None:
        """Another frame of this camera may be given out."""
        if self._one_at_a_time:
            with self._wake:
                self._busy.discard(camera)
                self._wake.notify_all()

    def stop(self) -> None:
        """Let `read_into` return None, also where it waits for a live source now; all cameras end.

        They do so at the same time: `close` does not wait for one after the other.
        """
        with self._wake:
            self._stopped = True
            self._wake.notify_all()
        for source in self.sources:
            if isinstance(source, LiveSource):
                source.stop()

    def close(self) -> None:
        """Close the sources."""
        self.stop()
        with contextlib.ExitStack() as closing:
            for source in self.sources:
                closing.callback(source.close)

    def _next(self) -> int | None:
        """The camera whose turn it is, as soon as one has a frame; None when there is no more."""
        with self._wake:
            while self._turns and not self._is_over():
                for camera in self._turns:
                    if camera not in self._busy and self._has_frame(camera):
                        self._turns.remove(camera)
                        self._turns.append(camera)
                        if self._one_at_a_time:
                            self._busy.add(camera)
                        return camera
                self._wake.wait(self._pause_s)
        return None

    def _is_over(self) -> bool:
        now_s = time.monotonic()
        if self._end_s is None:
            self._end_s = math.inf if self._seconds is None else now_s + self._seconds
        return self._stopped or now_s >= self._end_s

    def _has_frame(self, camera: int) -> bool:
        source = self.sources[camera]
        return source.is_ready if isinstance(source, LiveSource) else True
