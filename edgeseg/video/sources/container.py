"""Streams that FFmpeg opens: RTSP, and what plays over HTTP beside MJPEG."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from edgeseg.errors import VideoError
from edgeseg.video.credentials import shown
from edgeseg.video.sources.feed import AnyPacket, Arrival

DECODING_THREADS = min(4, os.cpu_count() or 1)
"""For frames that were coded in slices; each frame is done before the next, so none is late."""
BEHIND_S = 1.0
"""After a gap that is longer, what is played by its own time starts anew from there."""

Came = Callable[[AnyPacket, threading.Event], float]
"""When a packet came, by time.monotonic(); it may wait for the time at which it is due."""


class ContainerStream:
    """The first video stream of what FFmpeg opened."""

    def __init__(self, container: InputContainer, name: str, came: Came, *, finite: bool) -> None:
        self.finite = finite
        self._container, self._name, self._came = container, name, came
        self._video = _video_of(container, name)
        self.fps = _rate_of(self._video)
        self.decoder: VideoCodecContext = self._video.codec_context
        self.decoder.thread_type = "SLICE"
        self.decoder.thread_count = DECODING_THREADS
        self.decoder.flags |= int(av.codec.context.Flags.low_delay)

    def arrivals(self, stopping: threading.Event) -> Iterator[Arrival]:
        """The packets of the video, as they come.

        Raises:
            VideoError: the server is gone.
        """
        try:
            for packet in self._container.demux(self._video):
                if packet.size or self.finite:
                    yield Arrival(packet, self._came(packet, stopping))
        except (av.FFmpegError, OSError) as error:
            reason = shown(str(error.strerror or type(error).__name__))
            raise VideoError(f"the connection broke: {reason}") from None

    def interrupt(self) -> None:
        """Nothing: FFmpeg waits for its socket until that gives up."""

    def close(self) -> None:
        """End the connection."""
        self._container.close()


class Arrived:
    """When the first bytes of a packet came: FFmpeg noted that by the wall clock.

    The packet itself is known to be whole when the next one begins, a frame later.
    """

    def __call__(self, packet: AnyPacket, stopping: threading.Event) -> float:
        """The time by time.monotonic()."""
        del stopping
        now_s = time.monotonic()
        if packet.dts is None:
            # The first one: its time is lost, and it was whole when the second one began.
            return now_s - min(BEHIND_S, float((packet.duration or 0) * packet.time_base))
        waited_s = time.time() - float(packet.dts * packet.time_base)
        # Where somebody set the clock meanwhile, the time is not to be had.
        return now_s - waited_s if 0 <= waited_s < BEHIND_S else now_s


class Due:
    """Waits for the time at which a packet is to be played: what comes is a file, or in pieces."""

    def __init__(self) -> None:
        self._offset_s: float | None = None

    def __call__(self, packet: AnyPacket, stopping: threading.Event) -> float:
        """The time at which it was due."""
        now_s = time.monotonic()
        if packet.dts is None:
            return now_s
        plays_s = float(packet.dts * packet.time_base)
        if self._offset_s is None or abs(self._offset_s + plays_s - now_s) > 10 * BEHIND_S:
            self._offset_s = now_s - plays_s
        due_s = self._offset_s + plays_s
        if now_s - due_s > BEHIND_S:
            self._offset_s, due_s = now_s - plays_s, now_s
        stopping.wait(max(0.0, due_s - now_s))
        return due_s


def opened(
    uri: str, options: Mapping[str, str], reasons: Callable[[Exception], VideoError]
) -> InputContainer:
    """The container at `uri`; what FFmpeg raises has the password in it, and goes no further."""
    try:
        return av.open(uri, mode="r", options=dict(options))
    except (av.FFmpegError, OSError, ValueError) as error:
        refused = reasons(error)
    raise refused


def refusal(error: Exception, name: str, *, has_user: bool) -> VideoError:
    """Why a server was not opened, in the words of whoever looks after the camera."""
    if isinstance(error, av.error.HTTPUnauthorizedError):
        return unauthorized(name, has_user=has_user)
    if isinstance(error, av.error.HTTPNotFoundError):
        return not_found(name)
    if isinstance(error, ConnectionRefusedError):
        return unreachable(name, "nobody answers at that port")
    if isinstance(error, TimeoutError):
        return unreachable(name, "it does not answer")
    number = getattr(error, "errno", None)
    if number in {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN}:
        return unreachable(name, "there is no way to it in the network")
    reason = str(getattr(error, "strerror", None) or type(error).__name__)
    return VideoError(
        f"{name} cannot be opened: {shown(reason)}",
        fix="look at it in another player, such as ffplay or VLC",
    )


def unauthorized(name: str, *, has_user: bool) -> VideoError:
    """That user and password are missing or wrong."""
    scheme = name.partition(":")[0]
    return VideoError(
        f"{name} does not accept this user and password"
        if has_user
        else f"{name} asks for a user and a password (401)",
        fix=f"write them before the host: {scheme}://USER:PASSWORD@HOST/PATH, with @ : / # in them "
        "as %40 %3A %2F %23",
    )


def not_found(name: str) -> VideoError:
    """That the path is wrong."""
    return VideoError(
        f"the server knows no {name} (404)",
        fix="check the path behind the host: the manual of the camera names it",
    )


def unreachable(name: str, reason: str) -> VideoError:
    """That there is no server."""
    return VideoError(
        f"{name} cannot be reached: {reason}",
        fix="check host and port, and that the camera or server is on",
    )


def _video_of(container: InputContainer, name: str) -> VideoStream:
    if container.streams.video:
        return container.streams.video[0]
    kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
    raise VideoError(
        f"{name} has no video stream, only {kinds}", fix="name the path of a video stream"
    )


def _rate_of(video: VideoStream) -> Fraction | None:
    """As the stream says it; what FFmpeg guesses from arrivals is not that."""
    rate = video.codec_context.framerate or None
    return rate if rate is not None and 1 <= rate <= 1000 else None
