"""A live H.264 stream: `rtsp://@:8554/name` serves it, `rtsp://HOST/name` publishes it there."""

import re
from dataclasses import dataclass

from edgeseg.errors import UsageError
from edgeseg.video.sinks import Sink, SinkOptions
from edgeseg.video.sinks.live_encoder import live_codec
from edgeseg.video.sinks.rtsp_publish import RtspPublisher
from edgeseg.video.sinks.rtsp_server import RtspServer

SERVED_PORT, PUBLISHED_PORT = 8554, 554
LOOPBACK = "127.0.0.1"

_USAGE = (
    "write rtsp://@:8554/name to serve on this machine, rtsp://@0.0.0.0:8554/name for others too, "
    "or rtsp://HOST:PORT/name to publish to a server"
)
_REST = re.compile(
    r"(?:(?P<user>[^/]*)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^/:@\[\]]*)(?::(?P<port>\d+))?"
    r"(?P<path>/.*)?"
)


@dataclass(frozen=True, kw_only=True)
class RtspAddress:
    """Where a stream is served, or published to."""

    serves: bool
    host: str
    port: int
    path: str
    user: str = ""
    """With the password; never shown."""

    @property
    def shown(self) -> str:
        """The address without its credentials."""
        return f"rtsp://{self.host}:{self.port}{self.path}"

    @property
    def url(self) -> str:
        """The address with its credentials, for who connects."""
        user = f"{self.user}@" if self.user else ""
        return f"rtsp://{user}{self.host}:{self.port}{self.path}"


def open_rtsp(rest: str, wanted: SinkOptions) -> Sink:
    """The stream at `rest`; with nothing but an @ before the port it is served by this process.

    Raises:
        UsageError: no such address, or an encoder that writes no H.264.
        OutputError: the port is in use; the server that is published to does not answer.
        MissingPackage: serving needs GStreamer's RTSP server.
    """
    address = rtsp_address(rest)
    codec = live_codec(wanted.codec)
    if address.serves:
        return RtspServer(
            wanted, host=address.host, port=address.port, path=address.path, codec=codec
        )
    return RtspPublisher(wanted, url=address.url, shown=address.shown, codec=codec)


def rtsp_address(rest: str) -> RtspAddress:
    """The parts of an address; without a host it is served on loopback alone."""
    matched = _REST.fullmatch(rest)
    # What follows the last @ tells where; what stands before it is not repeated in a message.
    shown = rest.rpartition("@")[2]
    if matched is None or (matched["port"] and int(matched["port"]) > 65535):
        raise UsageError(f"rtsp://{shown} is no address of a stream", fix=_USAGE)
    user, host, path = matched["user"], matched["host"], matched["path"] or "/"
    serves = user == ""
    if not serves and not host:
        raise UsageError(f"rtsp://{shown} names no server", fix=_USAGE)
    return RtspAddress(
        serves=serves,
        host=host or LOOPBACK,
        port=int(matched["port"] or (SERVED_PORT if serves else PUBLISHED_PORT)),
        path=path,
        user=user or "",
    )
