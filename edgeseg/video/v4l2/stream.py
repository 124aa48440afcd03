"""The buffers of a camera that runs: mapped once, filled by the driver, lent, given back."""

import contextlib
import logging
import threading
import time
from typing import NamedTuple

from edgeseg.errors import VideoError
from edgeseg.types import Pixels
from edgeseg.video.v4l2 import structs
from edgeseg.video.v4l2.ioctl import Node

BUFFERS = 6
"""Three may be held, and the driver wants two to fill while one waits to be taken."""
FEWEST = 2
OLDEST_S = 10.0
"""A timestamp from before that, or from the future, is not of the clock that it claims."""

log = logging.getLogger(__name__)


class Filled(NamedTuple):
    """A buffer with a frame."""

    buffer: int
    """Its number."""
    memories: tuple[Pixels, ...]
    """What is used of each memory of the buffer, flat."""
    captured_s: float
    damaged: bool


class Stream:
    """Runs from the start until `close`; `queue` may be called by any thread, also after that."""

    def __init__(self, node: Node, buffer_type: int) -> None:
        self._node, self._type = node, buffer_type
        self._lock = threading.Lock()
        self._running = False
        self._buffers: list[tuple[Pixels, ...]] = []
        try:
            count = self._request(BUFFERS)
            if count < FEWEST:
                raise VideoError(
                    f"{node.path} gives {count} buffers of the {FEWEST} that are needed",
                    fix="free memory, or ask for a smaller size: ?size=640x480",
                )
            self._buffers = [self._mapped(index) for index in range(count)]
            for index in range(count):
                node.ioctl(structs.QBUF, self._described(index))
            node.ioctl(structs.STREAMON, structs.BufferType(type=buffer_type))
            self._running = True
        except BaseException:
            self.close()
            raise

    def dequeue(self) -> Filled | None:
        """The next filled buffer, which the caller gives back with `queue`; None: not yet.

        Raises:
            OSError: the camera is lost.
        """
        buffer = self._described(0)
        try:
            self._node.ioctl(structs.DQBUF, buffer)
        except BlockingIOError:
            return None
        used = self._used(buffer)
        memories = self._buffers[buffer.index]
        return Filled(
            buffer.index,
            tuple(memory[begin:end] for memory, (begin, end) in zip(memories, used, strict=True)),
            _captured_s(buffer),
            bool(buffer.flags & structs.BUFFER_ERROR),
        )

    def queue(self, index: int) -> None:
        """Give a buffer back to the driver; of a stream that is closed, nothing happens."""
        with self._lock:
            if not self._running:
                return
            try:
                self._node.ioctl(structs.QBUF, self._described(index))
            except OSError as error:  # whoever waits for the next frame finds out why
                log.debug("%s does not take a buffer back: %s", self._node.path, error)

    def close(self) -> None:
        """Stop, and give the buffers back; frames that are held stay readable until released."""
        with self._lock:
            self._running = False
            self._buffers = []
            with contextlib.suppress(OSError):
                self._node.ioctl(structs.STREAMOFF, structs.BufferType(type=self._type))
            # Without this the camera stays busy for as long as a frame is held.
            with contextlib.suppress(OSError):
                self._request(0)

    def _request(self, count: int) -> int:
        """How many buffers there are of `count` that are asked for."""
        request = structs.RequestBuffers(count=count, type=self._type, memory=structs.MEMORY_MMAP)
        self._node.ioctl(structs.REQBUFS, request)
        return int(request.count)

    def _described(self, index: int) -> structs.Buffer:
        buffer = structs.Buffer(index=index, type=self._type, memory=structs.MEMORY_MMAP)
        if self._type == structs.VIDEO_CAPTURE_MPLANE:
            buffer.m.planes = (structs.Plane * structs.MAX_PLANES)()
            buffer.length = structs.MAX_PLANES
        return buffer

    def _mapped(self, index: int) -> tuple[Pixels, ...]:
        buffer = self._described(index)
        self._node.ioctl(structs.QUERYBUF, buffer)
        if self._type == structs.VIDEO_CAPTURE:
            return (self._node.map(buffer.length, buffer.m.offset),)
        planes = buffer.m.planes[: buffer.length]
        return tuple(self._node.map(plane.length, plane.offset & 0xFFFFFFFF) for plane in planes)

    def _used(self, buffer: structs.Buffer) -> list[tuple[int, int]]:
        """From where to where each memory holds the frame."""
        if self._type == structs.VIDEO_CAPTURE:
            return [(0, buffer.bytesused)]
        planes = buffer.m.planes[: len(self._buffers[buffer.index])]
        return [(plane.data_offset, plane.bytesused) for plane in planes]


def _captured_s(buffer: structs.Buffer) -> float:
    """The driver's time of the frame, if it is on the clock of time.monotonic()."""
    now_s = time.monotonic()
    said_s = buffer.timestamp.tv_sec + buffer.timestamp.tv_usec / 1e6
    is_monotonic = buffer.flags & structs.BUFFER_CLOCK == structs.BUFFER_MONOTONIC
    return float(said_s) if is_monotonic and now_s - OLDEST_S < said_s <= now_s else now_s
