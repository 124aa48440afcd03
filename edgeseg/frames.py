"""Frames in time: what a source promises, when a frame was captured, what a camera lends."""

from dataclasses import dataclass
from fractions import Fraction
from threading import Condition
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from edgeseg.types import Buffer, PixelFormat, Size

YuvKind: TypeAlias = Literal["bt601-limited", "bt601-full", "bt709-limited", "bt709-full"]
"""Matrix and range of 4:2:0 frames (ITU-R BT.601-7, BT.709-6)."""

HD_LINES = 720
"""From this height on, video that does not say its matrix is taken for BT.709."""


def usual_yuv(size: Size) -> YuvKind:
    """What video of this size is in where it does not say."""
    return "bt709-limited" if size.height >= HD_LINES else "bt601-limited"


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a source promises before the first frame."""

    size: Size
    fps: Fraction | None
    """Frames per second; None when a live source does not say."""
    pixel_format: PixelFormat = PixelFormat.RGB8
    frames: int | None = None
    """How many frames there will be; None where the container does not say, or it has no end."""
    name: str = ""
    live: bool = False
    """Frames come at their own time: the newest wins, and those that nobody took are dropped."""
    pixel_aspect: Fraction = Fraction(1)
    """Width over height of one pixel, for who writes or shows the frames."""


@dataclass(frozen=True, slots=True)
class FrameTime:
    """When a frame was captured and where it stands in its source."""

    index: int
    """Counts every captured frame, those that were dropped included."""
    captured_s: float
    """time.monotonic() at the moment the source had the frame."""
    pts_s: float
    """Presentation time from the start of the source, in seconds."""
    epoch: int = 0
    """Grows when what came before has nothing to do with this frame: a reconnect, another size."""


@dataclass(kw_only=True)
class SourceCounts:
    """What became of the frames of one source; it grows while the source is read."""

    captured: int = 0
    """Frames that a live source had: each is delivered, dropped, late, or waits as the newest."""
    dropped: int = 0
    """Gave no result: a newer one came before anybody took it, it could not be decoded, or the run
    ended."""
    late: int = 0
    """Taken, and left out for being older than the greatest age that is allowed."""
    reconnects: int = 0
    damaged: int = 0
    """Could not be decoded; of a live source, those that were captured count as dropped too."""
    converted: int = 0
    """4:2:0 frames whose matrix or range was not the engine's."""
    resized: int = 0
    """Came in another size than the first one."""


class Source(Protocol):
    """Frames in order."""

    info: VideoInfo

    def read_into(self, pixels: Buffer) -> FrameTime | None:
        """Fill `pixels` with the next frame in `info.pixel_format`; None at the end.

        The caller owns `pixels`; the source must not keep it.
        """

    def close(self) -> None:
        """Free everything; closing twice is fine."""


@runtime_checkable
class LiveSource(Protocol):
    """A Source whose frames come at their own time; the newest can be taken."""

    info: VideoInfo
    counts: SourceCounts
    wake: Condition
    """Notified when there is a new frame, or none any more; several sources may share one."""

    @property
    def is_ready(self) -> bool:
        """Whether there is something to take, or nothing any more."""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing any more."""

    def take(self, pixels: Buffer) -> FrameTime | None:
        """Fill `pixels` with the newest frame, if there is one; never waits."""

    def read_into(self, pixels: Buffer) -> FrameTime | None:
        """What a Source does: wait for a frame."""

    def stop(self) -> None:
        """Let the camera end, without waiting for that; `close` waits for it."""

    def close(self) -> None:
        """Free everything; closing twice is fine."""


class Grab(Protocol):
    """One frame of a camera, still in the memory that it came in.

    Whoever holds it calls `write_into` at most once and then `release`.
    """

    captured_s: float
    """time.monotonic() when it was captured, as well as the camera knows."""
    size: Size
    """As it came; `write_into` scales it where the camera promised another."""

    def write_into(self, pixels: Buffer) -> None:
        """Fill `pixels`, a frame of the camera's `info.size` and `info.pixel_format`."""

    def release(self) -> None:
        """Give the memory back to the camera; releasing twice is fine."""


class Camera(Protocol):
    """What a live source is made of; `Capture` runs it in a thread of its own.

    `grab` is called by that thread alone, and as long as it may be called, up to three grabs are
    held at once. `close` is called by the same thread, or after it ended.
    """

    info: VideoInfo

    @property
    def ended(self) -> bool:
        """Whether no frame will come any more: a clip that is played like a camera is over."""

    def grab(self, timeout_s: float) -> Grab | None:
        """The next frame in order; None where none came within about `timeout_s`.

        Raises:
            VideoError: the camera is lost; it is to be closed and opened again.
        """

    def close(self) -> None:
        """Free everything; closing twice is fine."""
