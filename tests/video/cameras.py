"""A camera that does what a test tells it to."""

import itertools
import queue
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from edgeseg.errors import VideoError
from edgeseg.frames import Grab, VideoInfo
from edgeseg.types import Buffer, PixelFormat, Size

SIZE = Size(8, 16)


class ToldCamera:
    """Gives the frames that `show` puts there; `None` ends it, an exception is raised.

    A frame is an int: all its bytes have that value.
    """

    def __init__(self, size: Size | None = None) -> None:
        self.info = VideoInfo(size=size or SIZE, fps=None, name="told", live=True)
        self.ended = False
        self.closed = 0
        self.held: set[int] = set()
        self._told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._numbers = itertools.count()

    def show(self, *told: Any) -> None:
        for each in told:
            self._told.put(each)

    def grab(self, timeout_s: float) -> Grab | None:
        try:
            told = self._told.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(told, BaseException):
            raise told
        if told is None:
            self.ended = True
            return None
        return ToldGrab(self, next(self._numbers), told)

    def close(self) -> None:
        self.closed += 1


class ToldGrab:
    """One frame of one value; -1 cannot be decoded."""

    def __init__(self, camera: ToldCamera, number: int, value: int) -> None:
        self.captured_s = time.monotonic()
        self.size = camera.info.size
        self._camera, self._number, self._value = camera, number, value
        camera.held.add(number)

    def write_into(self, pixels: Buffer) -> None:
        assert self._number in self._camera.held, "released before it was written"
        if self._value < 0:
            raise VideoError("a broken frame")
        pixels.fill(self._value)

    def release(self) -> None:
        self._camera.held.discard(self._number)


def frame_memory() -> Buffer:
    return np.zeros(PixelFormat.RGB8.frame_shape(SIZE), np.uint8)


def wait_until(holds: Any, seconds: float = 10.0) -> None:
    """Return as soon as `holds()`; fail after `seconds`."""
    end_s = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.002)


def read_values(source: Any, count: int) -> Iterable[int]:
    """The values of the next `count` frames."""
    pixels = frame_memory()
    for _ in range(count):
        assert source.read_into(pixels) is not None
        yield int(pixels[0, 0, 0])
