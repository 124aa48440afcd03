"""The packets of a network stream, read by a thread of its own, so that nobody waits for a socket.

Decoding may fall behind what comes. What waits is bounded then: it is given up at the next frame
that can be decoded by itself, or at once where it grew too old.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple, Protocol, TypeAlias

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from edgeseg.errors import VideoError

CATCH_UP_S = 0.1
"""What has waited for longer is given up when a key frame comes."""
LONGEST_LAG_S = 1.0
"""What has waited for longer is given up at once; then a key frame is waited for."""
MOST_PACKETS = 512

AnyPacket: TypeAlias = "Packet[Any]"  # generic for type checkers only


class Arrival(NamedTuple):
    """A packet and when it came, by time.monotonic()."""

    packet: AnyPacket
    came_s: float


class Stream(Protocol):
    """A stream that was opened. One thread calls `arrivals` and `close`, any other `interrupt`."""

    decoder: VideoCodecContext
    fps: Fraction | None
    finite: bool
    """It ends where its packets end; another one is lost there."""

    def arrivals(self, stopping: threading.Event) -> Iterator[Arrival]:
        """The packets, as they come.

        Raises:
            VideoError: the connection is lost.
        """

    def interrupt(self) -> None:
        """Wake whoever waits in `arrivals`, where that can be done."""

    def close(self) -> None:
        """End the connection."""


class Feed:
    """Runs a stream in a thread: opens it, reads it, and closes it after `stop`.

    A thread that waits for a server which says nothing is not waited for; it ends, and closes what
    it opened, when the socket's own time is up.
    """

    def __init__(self, open_stream: Callable[[], Stream], name: str) -> None:
        self._skipped = 0
        self.ended = False
        """Whether the stream is over, and all of it was taken."""
        self._open = open_stream
        self._stream: Stream | None = None
        self._failure: BaseException | None = None
        self._waiting: deque[Arrival] = deque()
        self._wake = threading.Condition()
        self._over = False
        self._needs_key = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"feed {name}", daemon=True)
        self._thread.start()

    def opened(self, timeout_s: float) -> Stream | None:
        """The stream, as soon as it is open; None where that takes longer than `timeout_s`."""
        with self._wake:
            self._wake.wait_for(lambda: self._stream is not None or self._over, timeout_s)
            if self._stream is None and self._failure is not None:
                raise self._failure
            return self._stream

    def next(self, timeout_s: float) -> Arrival | None:
        """The next packet; None where none came within `timeout_s`, and at the end.

        Raises:
            VideoError: the stream is lost, and all that came before was taken.
        """
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._over, timeout_s)
            if self._waiting:
                return self._waiting.popleft()
            if self._over:
                if self._failure is not None:
                    raise self._failure
                self.ended = True
            return None

    def take_skipped(self) -> int:
        """How many packets were given up since the last call, for they had waited too long."""
        with self._wake:
            skipped, self._skipped = self._skipped, 0
        return skipped

    def stop(self, timeout_s: float) -> None:
        """End the connection; wait for that no longer than `timeout_s`."""
        self._stopping.set()
        with self._wake:
            self._waiting.clear()
            if self._stream is not None:
                self._stream.interrupt()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            stream = self._open()
        except BaseException as error:  # noqa: BLE001 - whoever waits for the stream raises it
            self._finish(error)
            return
        with self._wake:
            self._stream = stream
            self._wake.notify_all()
        self._finish(self._read(stream))
        # The decoder may still be at work on what came; it belongs to the stream.
        self._stopping.wait()
        stream.close()

    def _read(self, stream: Stream) -> BaseException | None:
        """Pass on what comes; return what ended that."""
        try:
            arrivals = stream.arrivals(self._stopping)
            while not self._stopping.is_set() and (arrival := next(arrivals, None)) is not None:
                self._put(arrival)
        except BaseException as error:  # noqa: BLE001 - whoever waits for a packet raises it
            return error
        return None if stream.finite else VideoError("the server ended the stream")

    def _put(self, arrival: Arrival) -> None:
        key = arrival.packet.is_keyframe
        with self._wake:
            lag_s = arrival.came_s - self._waiting[0].came_s if self._waiting else 0.0
            if lag_s > LONGEST_LAG_S or len(self._waiting) >= MOST_PACKETS:
                self._needs_key = True
            if self._needs_key or (key and lag_s > CATCH_UP_S):
                self._skipped += len(self._waiting)
                self._waiting.clear()
            if self._needs_key and not key:
                self._skipped += 1
                return
            self._needs_key = False
            self._waiting.append(arrival)
            self._wake.notify_all()

    def _finish(self, failure: BaseException | None) -> None:
        with self._wake:
            self._failure, self._over = failure, True
            self._wake.notify_all()
