"""A clip played to and fro for ever: what was drawn once is kept as JPEG."""

import time

import cv2
import numpy as np

from edgeseg.frames import FrameTime, Source, VideoInfo, YuvKind
from edgeseg.types import Buffer, Pixels
from edgeseg.video.pixels import FromRgb

JPEG_QUALITY = 95


class ToAndFro:
    """The frames of `source`, which are RGB, forwards, then backwards, and so on.

    Drawing a street takes many times as long as decoding a picture of it, so only the first pass
    is as slow as the source. A frame of a street of 640x480 pixels takes about 0.2 MB.
    """

    def __init__(self, source: Source, info: VideoInfo, *, yuv: YuvKind = "bt601-limited") -> None:
        self.info = info
        self._source: Source | None = source
        self._writer = FromRgb(info.pixel_format, info.size, yuv=yuv)
        self._picture = np.empty((*info.size, 3), np.uint8)
        self._kept: list[Pixels] = []
        self._index = 0
        self._interval_s = float(1 / info.fps) if info.fps else 0.0

    def read_into(self, pixels: Buffer) -> FrameTime | None:
        """Fill `pixels` with the next frame; None after `close` alone."""
        picture = self._first_time() if self._source is not None else self._again()
        if picture is None:
            return None
        read = FrameTime(self._index, time.monotonic(), self._index * self._interval_s)
        self._writer.write(picture, pixels)
        self._index += 1
        return read

    def close(self) -> None:
        """Forget the frames; reading on gives None."""
        self._kept.clear()
        if self._source is not None:
            self._source.close()
            self._source = None

    def _first_time(self) -> Pixels | None:
        assert self._source is not None
        if self._source.read_into(self._picture) is None:
            self._source.close()
            self._source = None
            return self._again()
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        bgr = cv2.cvtColor(self._picture, cv2.COLOR_RGB2BGR)
        self._kept.append(cv2.imencode(".jpg", bgr, quality)[1].astype(np.uint8))
        return self._picture

    def _again(self) -> Pixels | None:
        count = len(self._kept)
        if not count:
            return None
        place = self._index % max(2 * count - 2, 1)
        kept = self._kept[place if place < count else 2 * count - 2 - place]
        bgr = cv2.imdecode(kept, cv2.IMREAD_COLOR)
        assert bgr is not None  # it was encoded here
        cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=self._picture)
        return self._picture
