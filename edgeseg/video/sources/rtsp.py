"""RTSP cameras and servers, by FFmpeg: `rtsp://USER:PASSWORD@HOST/PATH#transport=udp`."""

import errno
import socket
from urllib.parse import urlsplit

import av

from edgeseg.errors import UsageError, VideoError
from edgeseg.tables import known
from edgeseg.video.capture import Capture
from edgeseg.video.credentials import quoted_credentials
from edgeseg.video.sources import SourceOptions
from edgeseg.video.sources.container import (
    Arrived,
    ContainerStream,
    opened,
    refusal,
    unreachable,
)
from edgeseg.video.sources.network import ANSWER_S, NetworkAddress, capture_of, network_address

OPTIONS = ("transport", "latency")
TRANSPORTS = {
    "tcp": "all in one connection: nothing is lost, and lost time is caught up with",
    "udp": "a packet that is lost is not waited for; firewalls often stop it",
}
LATENCY_MS = 50
"""How long udp waits for packets that overtook each other; tcp has none of them."""
LONGEST_LATENCY_MS = 10_000
PORTS = {"rtsp": 554, "rtsps": 322}

# What FFmpeg is to know about the stream before it hands packets out; the decoder finds the rest.
_PROBE = {"probesize": "32", "analyzeduration": "1"}


def open_rtsp(rest: str, wanted: SourceOptions) -> Capture:
    """The camera or server at `rtsp://REST`; the fragment takes transport and latency (in ms).

    Raises:
        UsageError: an address or an option that is none.
        VideoError: it cannot be opened; the reason says whether host, path or user is wrong.
    """
    return _open("rtsp", rest, wanted)


def open_rtsps(rest: str, wanted: SourceOptions) -> Capture:
    """The same through TLS."""
    return _open("rtsps", rest, wanted)


def _open(scheme: str, rest: str, wanted: SourceOptions) -> Capture:
    address = network_address(scheme, rest, OPTIONS)
    options = _ffmpeg_options(address)
    return capture_of(lambda: _stream(address, options), address, wanted)


def _ffmpeg_options(address: NetworkAddress) -> dict[str, str]:
    transport = address.options.get("transport", "tcp")
    known(TRANSPORTS, transport, kind="transport")
    text = address.options.get("latency", str(LATENCY_MS))
    latency_ms = int(text) if text.isdecimal() and text.isascii() else -1
    if not 0 <= latency_ms <= LONGEST_LATENCY_MS:
        raise UsageError(
            f"latency={text} is not a number of milliseconds up to {LONGEST_LATENCY_MS}",
            fix=f"write #latency={LATENCY_MS}, or #latency=0 for none",
        )
    made = {
        **_PROBE,
        "rtsp_transport": transport,
        "allowed_media_types": "video",
        "timeout": str(round(ANSWER_S * 1e6)),
        "max_delay": str(1000 * latency_ms),
        "use_wallclock_as_timestamps": "1",
        "user_agent": "edgeseg",
    }
    if latency_ms == 0:
        made["reorder_queue_size"] = "0"
    if transport == "udp":
        made["buffer_size"] = str(2**21)  # a key frame comes in one burst
    return made


def _stream(address: NetworkAddress, options: dict[str, str]) -> ContainerStream:
    parts = urlsplit(address.uri)
    _look_up(parts.hostname or "", parts.port or PORTS[parts.scheme], address.name)
    uri = parts._replace(netloc=quoted_credentials(parts.netloc)).geturl()

    container = opened(uri, options, lambda error: _refusal(error, address, options))
    try:
        return ContainerStream(container, address.name, Arrived(), finite=False)
    except BaseException:
        container.close()
        raise


def _refusal(error: Exception, address: NetworkAddress, options: dict[str, str]) -> VideoError:
    transport = options["rtsp_transport"]
    other = "udp" if transport == "tcp" else "tcp"
    # FFmpeg's word for the answer 461 to its SETUP.
    if getattr(error, "errno", None) == errno.EPROTONOSUPPORT:
        return VideoError(
            f"{address.name} does not send by {transport} (461)",
            fix=f"ask for #transport={other}",
        )
    if isinstance(error, av.error.HTTPOtherClientError):
        return VideoError(
            f"{address.name} cannot be played: the server refuses that (4xx)",
            fix=f"take a path that has video; if this one has, try #transport={other}",
        )
    return refusal(error, address.name, has_user="@" in urlsplit(address.uri).netloc)


def _look_up(host: str, port: int, name: str) -> None:
    """Find out whether the host exists, which FFmpeg does not tell from other failures."""
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        reason = error.strerror or "unknown"
        raise unreachable(name, f"the host {host} is not known ({reason})") from None
