"""H.264 for people who watch now: no frame waits for a later one; a viewer may come any time."""

import threading
import time
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from av import FFmpegError
from av.codec.context import CodecContext, ThreadType
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from edgeseg.errors import OutputError, UsageError
from edgeseg.tables import known
from edgeseg.types import Pixels, Size

LIVE_ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "ultrafast", "tune": "zerolatency", "crf": "23"},
    "h264_nvenc": {"preset": "p1", "tune": "ull", "rc": "constqp", "qp": "25"},
    "h264_v4l2m2m": {},
}
"""Encoders of FFmpeg, set to give each frame at once."""

TICK = Fraction(1, 90_000)
_BITS_PER_PIXEL = 0.12  # for the one encoder that knows no constant quality
_DEFAULT_FPS = Fraction(30)
_KEY_EVERY_S = 2


class Newest(NamedTuple):
    """A picture that waits to be encoded, and when it was put there."""

    picture: Pixels
    time_s: float


class NewestPicture:
    """Hands the newest picture from the loop to one other thread; the loop never waits for it."""

    def __init__(self, size: Size) -> None:
        self._free, self._held = (np.zeros((*size, 3), np.uint8) for _ in range(2))
        self._changed = threading.Condition()
        self._time_s: float | None = None
        self.closed = False

    def put(self, picture: Pixels, time_s: float | None = None) -> None:
        """Keep a copy of `picture` as the newest, of now where no time is given."""
        with self._changed:
            np.copyto(self._free, picture)
            self._time_s = time.monotonic() if time_s is None else time_s
            self._changed.notify()

    def take(self, timeout_s: float) -> Newest | None:
        """The newest picture, valid until the next call; None where none came, or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self._time_s is not None, timeout_s)
            if self.closed or self._time_s is None:
                return None
            self._free, self._held = self._held, self._free
            newest, self._time_s = Newest(self._held, self._time_s), None
        return newest

    def again(self) -> Newest:
        """What `take` gave last, as if it were new; black before that."""
        return Newest(self._held, time.monotonic())

    def close(self) -> None:
        """Let `take` return."""
        with self._changed:
            self.closed = True
            self._changed.notify()


class LiveEncoder:
    """Encodes pictures of one size in a codec context, stamped with the time they were put."""

    def __init__(self, context: VideoCodecContext, size: Size) -> None:
        self._context = context
        self._even = even(size)
        self._reformatter = VideoReformatter()
        self._start_s: float | None = None
        self._pts = -1
        self._key = True

    def next_is_key(self) -> None:
        """Let the next picture be one that a viewer can begin with."""
        self._key = True

    def encode(self, newest: Newest) -> "list[Packet[VideoStream]]":
        """The packets of one picture; none are kept back."""
        height, width = self._even
        frame = self._reformatter.reformat(
            # Wraps the picture's memory; the conversion is the only copy that is made of it.
            VideoFrame.from_numpy_buffer(newest.picture[:height, :width], "rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        if self._start_s is None:
            self._start_s = newest.time_s
        ticks = int((newest.time_s - self._start_s) / TICK)
        self._pts = max(self._pts + 1, ticks)
        frame.pts, frame.time_base = self._pts, TICK
        frame.pict_type = PictureType.I if self._key else PictureType.NONE
        self._key = False
        return self._context.encode(frame)


def even(size: Size) -> Size:
    """`size` without an odd last row or column, which 4:2:0 cannot hold."""
    return Size(size.height // 2 * 2, size.width // 2 * 2)


def live_codec(name: str | None) -> str:
    """The encoder to use: the one that is named, else x264.

    Raises:
        UsageError: it does not write H.264.
    """
    return "libx264" if name is None else known(LIVE_ENCODERS, name, kind="live video codec")


def set_up(context: VideoCodecContext, codec: str, size: Size, fps: Fraction | None) -> None:
    """Set `context` to pictures of `size` in units of TICK, each encoded at once."""
    rate = fps or _DEFAULT_FPS
    context.height, context.width = even(size)
    context.pix_fmt = "yuv420p"
    context.framerate, context.time_base = rate, TICK
    context.gop_size = max(1, round(_KEY_EVERY_S * rate))
    context.max_b_frames = 0
    context.thread_count, context.thread_type = 1, ThreadType.NONE
    context.colorspace, context.color_range = Colorspace.ITU601, ColorRange.MPEG
    if not LIVE_ENCODERS[codec]:
        context.bit_rate = int(_BITS_PER_PIXEL * size.height * size.width * rate)


def opened_context(codec: str, size: Size, fps: Fraction | None) -> VideoCodecContext:
    """An encoder of its own, whose packets hold all that a decoder needs.

    Raises:
        UsageError: this FFmpeg has it not.
        OutputError: it does not work here.
    """
    try:
        context = CodecContext.create(codec, "w")
    except ValueError as error:
        raise UsageError(f"this FFmpeg has no encoder {codec}", fix="choose another") from error
    assert isinstance(context, VideoCodecContext)
    set_up(context, codec, size, fps)
    context.options = dict(LIVE_ENCODERS[codec])
    try:
        context.open()
    except (FFmpegError, ValueError) as error:
        raise OutputError(
            f"the encoder {codec} does not work here for {size}: {error}", fix="choose libx264"
        ) from error
    return context
