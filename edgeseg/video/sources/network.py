"""Cameras in the network: what `rtsp://` and `http://` share."""

import logging
import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from edgeseg.errors import UsageError, VideoError
from edgeseg.frames import Grab, VideoInfo
from edgeseg.tables import known
from edgeseg.types import Buffer, Size
from edgeseg.video.av_frames import FrameWriter, upright_size
from edgeseg.video.capture import Capture
from edgeseg.video.credentials import shown
from edgeseg.video.sources import SourceOptions
from edgeseg.video.sources.feed import Arrival, Feed, Stream

ANSWER_S = 5.0
"""How long a server may take to answer, and a stream to send anything."""
KEY_FRAME_S = 12.0
"""How long the first frame may take that can be decoded by itself; cameras send few of them."""
CLOSE_S = 0.1

_TICK = Fraction(1, 1_000_000)

log = logging.getLogger(__name__)


class NetworkAddress(NamedTuple):
    """A URI without what is meant for us and not for the server."""

    uri: str
    name: str
    """The same without passwords."""
    options: dict[str, str]


def network_address(scheme: str, rest: str, accepted: tuple[str, ...]) -> NetworkAddress:
    """The parts of `SCHEME://REST#KEY=VALUE&...`; a fragment is never sent to a server.

    Raises:
        UsageError: no host, a port that is none, or an option that `accepted` does not name.
    """
    before, _, fragment = rest.partition("#")
    uri = f"{scheme}://{before}"
    name = shown(uri)
    if "@" in fragment:
        raise UsageError(
            f"{shown(f'{scheme}://{rest}')} has a # before its host",
            fix="write # in the password as %23, and likewise @ : / as %40 %3A %2F",
        )
    if not _has_host(uri):
        raise UsageError(
            f"{name} names no host, or a port that is none",
            fix=f"write {scheme}://HOST/PATH or {scheme}://USER:PASSWORD@HOST:PORT/PATH, with "
            "@ : / # in the password as %40 %3A %2F %23",
        )
    options = dict(parse_qsl(fragment, keep_blank_values=True))
    for key in options:
        if not accepted:
            raise UsageError(f"{name} takes no options, got #{key}", fix="leave out what follows #")
        known(dict.fromkeys(accepted), key, kind=f"option of {scheme}://...#KEY=VALUE")
    if fragment and not options:
        raise UsageError(f"#{fragment} is no option of {scheme}://", fix="write #KEY=VALUE")
    return NetworkAddress(uri, name, options)


def _has_host(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class NetworkCamera:
    """The frames of a stream, each with the time at which it came."""

    def __init__(
        self,
        open_stream: Callable[[], Stream],
        name: str,
        wanted: SourceOptions,
        scale_to: Size | None,
    ) -> None:
        self._name, self._counts, self._lock = name, wanted.counts, wanted.wake
        self._decoded: deque[VideoFrame] = deque()
        self._latest_s = 0.0
        self._feed = Feed(open_stream, name)
        try:
            stream = self._opened()
            self._decoder = stream.decoder
            first = self._first()
            size = scale_to or upright_size(first)
            wanted.pixel_format.frame_shape(size)  # refuses an odd size in 4:2:0
            self.info = VideoInfo(
                size=size,
                fps=stream.fps,
                pixel_format=wanted.pixel_format,
                name=name,
                live=True,
                pixel_aspect=_pixel_aspect(stream.decoder, first, size),
            )
        except BaseException:
            self.close()
            raise
        self._writer = FrameWriter(wanted.pixel_format, size, yuv=wanted.yuv, counts=wanted.counts)

    @property
    def ended(self) -> bool:
        """Whether all of a stream that has an end was taken."""
        return self._feed.ended and not self._decoded

    def grab(self, timeout_s: float) -> Grab | None:
        """The next frame; None where none came within `timeout_s`.

        Raises:
            VideoError: the server is gone.
        """
        until_s = time.monotonic() + timeout_s
        while not self._decoded:
            left_s = until_s - time.monotonic()
            arrival = self._feed.next(left_s) if left_s > 0 else None
            if arrival is None:
                return None
            self._decode(arrival)
        return self._grab_of(self._decoded.popleft())

    def close(self) -> None:
        """End the connection."""
        self._decoded.clear()
        self._feed.stop(CLOSE_S)

    def _opened(self) -> Stream:
        stream = self._feed.opened(ANSWER_S)
        if stream is None:
            raise silent(self._name)
        return stream

    def _first(self) -> VideoFrame:
        """The first frame; it stays the next one."""
        began_s = heard_s = time.monotonic()
        reason = f"within {KEY_FRAME_S:.0f} s"
        while not self._decoded and not self._feed.ended:
            try:
                arrival = self._feed.next(0.1)
            except VideoError as error:
                reason = error.problem
                break
            now_s = time.monotonic()
            if arrival is not None:
                heard_s = now_s
                self._decode(arrival)
            elif now_s - heard_s > ANSWER_S:
                raise silent(self._name)
            if now_s - began_s > KEY_FRAME_S:
                break
        if not self._decoded:
            raise VideoError(
                f"nothing that came from {self._name} could be decoded: {reason}",
                fix="look at the stream in another player; let the camera send key frames more "
                "often, or another codec",
            )
        return self._decoded[0]

    def _decode(self, arrival: Arrival) -> None:
        if skipped := self._feed.take_skipped():
            with self._lock:
                self._counts.captured += skipped
                self._counts.dropped += skipped
        packet = arrival.packet
        if packet.size:
            # Its time goes through the decoder, which may give frames out in another order.
            packet.pts = packet.dts = round(arrival.came_s / _TICK)
            packet.time_base = _TICK
        try:
            self._decoded.extend(self._decoder.decode(packet))
        except av.FFmpegError as error:
            with self._lock:
                self._counts.damaged += 1
            log.debug("a part of what %s sent is left out: %s", self._name, error.strerror)

    def _grab_of(self, frame: VideoFrame) -> "_Grabbed":
        came_s = time.monotonic() if frame.pts is None else float(frame.pts * _TICK)
        # Of frames that were sent out of order, one that is shown later came earlier.
        self._latest_s = max(self._latest_s + float(_TICK), came_s)
        return _Grabbed(frame, self._latest_s, self._writer)


class _Grabbed:
    """A frame in the decoder's memory."""

    def __init__(self, frame: VideoFrame, captured_s: float, writer: FrameWriter) -> None:
        self.captured_s = captured_s
        self.size = upright_size(frame)
        self._frame: VideoFrame | None = frame
        self._writer = writer

    def write_into(self, pixels: Buffer) -> None:
        """Fill `pixels`, converted and scaled."""
        if self._frame is None:
            raise VideoError("the frame was given back already")
        self._writer.write(self._frame, pixels)

    def release(self) -> None:
        """Give the frame back to the decoder."""
        self._frame = None


def capture_of(
    open_stream: Callable[[], Stream], address: NetworkAddress, wanted: SourceOptions
) -> Capture:
    """The newest frame of a network camera, opened again when it is lost."""
    if wanted.rate is not None:
        log.warning("%s sends at its own rate; %s is not asked for", address.name, wanted.rate)
    return Capture(
        lambda size: NetworkCamera(open_stream, address.name, wanted, size),
        wanted,
    )


def silent(name: str) -> VideoError:
    """That nothing came."""
    return VideoError(
        f"{name} sent nothing within {ANSWER_S:.0f} s",
        fix="check that the camera is on and that a firewall lets it through; for RTSP try "
        "#transport=tcp or #transport=udp",
    )


def _pixel_aspect(decoder: VideoCodecContext, frame: VideoFrame, size: Size) -> Fraction:
    """Of the frames as they are delivered, turned and scaled."""
    aspect = decoder.sample_aspect_ratio or Fraction(1)
    upright = upright_size(frame)
    if (upright.height, upright.width) != (frame.height, frame.width):
        aspect = 1 / aspect
    return aspect * upright.width / size.width * size.height / upright.height
