"""A source that is no camera, played like one: frames come when they are due."""

import queue
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np

from edgeseg.errors import VideoError
from edgeseg.frames import Camera, Grab, Source
from edgeseg.types import Buffer, Pixels, Size
from edgeseg.video.capture import Capture
from edgeseg.video.sources import SourceOptions

SPARE = 4
"""Frames that may be held at once: read, waiting, being written, and one to breathe."""


class Paced:
    """The frames of `camera`, each at its due time: the first one at once, then `rate` a second.

    A frame that was due is captured at that moment, however long its decoding took. Where decoding
    falls behind by a whole frame, the plan starts again from there, so that the age of a result is
    not that of a backlog.
    """

    def __init__(self, camera: Camera, rate: Fraction) -> None:
        self.info = replace(camera.info, fps=rate, live=True)
        self._camera, self._interval_s = camera, float(1 / rate)
        self._next: Grab | None = None
        self._due_s: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the last frame was given out."""
        return self._next is None and self._camera.ended

    def grab(self, timeout_s: float) -> Grab | None:
        """The next frame, when it is due; None where that is later than in `timeout_s`."""
        if self._next is None:
            self._next = self._camera.grab(timeout_s)
        if self._next is None:
            return None
        now_s = time.monotonic()
        if self._due_s is None or now_s - self._due_s > self._interval_s:
            self._due_s = now_s
        if self._due_s - now_s > timeout_s:
            time.sleep(timeout_s)
            return None
        time.sleep(max(0.0, self._due_s - now_s))
        grab, self._next = self._next, None
        grab.captured_s = self._due_s
        self._due_s += self._interval_s
        return grab

    def close(self) -> None:
        """Close what is played."""
        if self._next is not None:
            self._next.release()
            self._next = None
        self._camera.close()


class HeldSource:
    """A Source as a Camera: its frames wait in memory of its own until somebody copies them."""

    def __init__(self, source: Source) -> None:
        self.info = source.info
        self.ended = False
        self._source = source
        self._spare: queue.SimpleQueue[Pixels] = queue.SimpleQueue()
        for _ in range(SPARE):
            self._spare.put(np.empty(self.info.pixel_format.frame_shape(self.info.size), np.uint8))

    def grab(self, timeout_s: float) -> Grab | None:
        """The next frame; None at the end."""
        try:
            pixels = self._spare.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if self._source.read_into(pixels) is None:
            self.ended = True
            return None
        return _Held(pixels, self.info.size, self._spare)

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class _Held:
    """A frame in memory that goes back to where it came from."""

    def __init__(self, pixels: Pixels, size: Size, home: "queue.SimpleQueue[Pixels]") -> None:
        self.captured_s = time.monotonic()
        self.size = size
        self._pixels: Pixels | None = pixels
        self._home = home

    def write_into(self, pixels: Buffer) -> None:
        """Copy the frame."""
        if self._pixels is None:
            raise VideoError("the frame was given back already")
        np.copyto(pixels, self._pixels)

    def release(self) -> None:
        """Give the memory back."""
        if self._pixels is not None:
            self._home.put(self._pixels)
            self._pixels = None


def played(source: Source, rate: Fraction, wanted: SourceOptions) -> Capture:
    """`source`, played like a camera at `rate` frames per second."""
    return played_camera(HeldSource(source), rate, wanted)


def played_camera(camera: Camera, rate: Fraction, wanted: SourceOptions) -> Capture:
    """`camera`, whose frames are there already, played at `rate` frames per second."""
    return Capture(lambda _size: Paced(camera, rate), wanted, opens_again=False)
