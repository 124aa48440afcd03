"""A source of given pictures, for the tests of the frame loop."""

import time
from fractions import Fraction

import numpy as np

from edgeseg.errors import VideoError
from edgeseg.frames import FrameTime, VideoInfo
from edgeseg.types import Buffer, Pixels, Size


class Pictures:
    """Notes where it wrote each picture; fails at frame `breaks_at`."""

    def __init__(self, pictures: list[Pixels], *, breaks_at: int = -1) -> None:
        size = Size(*pictures[0].shape[:2])
        self.info = VideoInfo(size=size, fps=Fraction(25), name="pictures", frames=len(pictures))
        self.addresses: list[int] = []
        self.closed = False
        self._pictures, self._breaks_at = pictures, breaks_at

    def read_into(self, pixels: Buffer) -> FrameTime | None:
        index = len(self.addresses)
        if index == self._breaks_at:
            raise VideoError("the cable was pulled", fix="plug it in")
        if index == len(self._pictures):
            return None
        self.addresses.append(pixels.ctypes.data)
        np.copyto(pixels, self._pictures[index])
        return FrameTime(index, time.monotonic(), index / 25)

    def close(self) -> None:
        self.closed = True
