"""Where a page is to be served: what the URI says, the token, and the listening socket."""

import contextlib
import errno
import ipaddress
import os
import secrets
import socket
import string
from dataclasses import dataclass
from urllib.parse import quote

from edgeseg.errors import OutputError, UsageError
from edgeseg.video.uri import options_of

DEFAULT_PORT = 8080
DEFAULT_FPS, DEFAULT_QUALITY = 10.0, 80
HIGHEST_FPS = 60
LOCAL_HOST = "127.0.0.1"
SHORTEST_TOKEN = 8
_TOKEN_LETTERS = frozenset(string.ascii_letters + string.digits + "-._~")

STALLED_S = 10.0
"""A viewer that takes nothing for as long is let go."""
_SEND_BUFFER = 1 << 18
"""In bytes: what waits in the kernel for a slow viewer is old when it arrives."""


@dataclass(frozen=True, kw_only=True)
class PageAddress:
    """`http://HOST:PORT?KEY=VALUE`, checked."""

    host: str
    port: int
    token: str | None
    """None where the page is for this machine alone."""
    fps: float = DEFAULT_FPS
    quality: int = DEFAULT_QUALITY

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return _is_loopback(self.host)

    def url(self, port: int) -> str:
        """What to open in a browser."""
        host = self.host
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host).is_unspecified:
                host = _own_address()
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{port}/" + (f"?token={quote(self.token)}" if self.token else "")


def page_address(rest: str) -> PageAddress:
    """What `rest`, the URI without `http://`, asks for.

    A page that others can reach has a token; one is made where the URI names none.

    Raises:
        UsageError: a host, a port or an option that is none.
    """
    place, _, query = rest.partition("?")
    options = options_of(f"?{query}", ("token", "fps", "quality"), scheme="http")
    host, port = _host_and_port(place)
    token = options.get("token")
    if token is not None and (len(token) < SHORTEST_TOKEN or set(token) - _TOKEN_LETTERS):
        raise UsageError(
            "the token of the page is too short, or has other than letters, digits and -._~",
            fix=f"give {SHORTEST_TOKEN} of them or more, or leave the token out: one is made",
        )
    if token is None and not _is_loopback(host):
        token = secrets.token_urlsafe(16)
    fps = _number(options, "fps", DEFAULT_FPS, 0.1, HIGHEST_FPS)
    quality = _number(options, "quality", DEFAULT_QUALITY, 10, 100)
    return PageAddress(host=host, port=port, token=token, fps=fps, quality=round(quality))


def listening(address: PageAddress) -> socket.socket:
    """The socket at which browsers knock; the caller closes it.

    Raises:
        OutputError: a port that is in use or not allowed, an address of another machine.
    """
    place = f"{address.host}:{address.port}"
    try:
        family, kind, protocol, _, bound = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise OutputError(
            f"http://{place}: no such host", fix="use 127.0.0.1, or an address of this machine"
        ) from error
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit both: little waits in the kernel, and not for ever.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1e3 * STALLED_S))
        made.bind(bound)
        made.listen(128)
    except OSError as error:
        made.close()
        raise _refusal(place, address.port, error) from error
    return made


def _host_and_port(place: str) -> tuple[str, int]:
    place, slash, path = place.partition("/")
    host, colon, port_text = place.rpartition(":")
    if not colon or place.endswith("]"):
        host, port_text = place, str(DEFAULT_PORT)
    port = int(port_text) if port_text.isascii() and port_text.isdigit() else -1
    host = {"": LOCAL_HOST, "@": "0.0.0.0"}.get(host, host)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if (slash and path) or "@" in host or not 0 <= port <= 65535:
        raise UsageError(
            f"http://{place}{slash}{path} is no place for a page",
            fix=f"write http://{LOCAL_HOST}:{DEFAULT_PORT}; port 0 takes one that is free",
        )
    return host, port


def _number(options: dict[str, str], key: str, default: float, low: float, high: float) -> float:
    try:
        value = float(options.get(key, default))
    except ValueError:
        value = -1.0
    if not low <= value <= high:
        raise UsageError(
            f"{key}={options[key]} is no number from {low:g} to {high:g}",
            fix=f"write {key}={default:g}, or leave it out",
        )
    return value


def _refusal(place: str, port: int, error: OSError) -> OutputError:
    problem = f"no page can be served at {place}: {os.strerror(error.errno or 0)}"
    if error.errno == errno.EADDRINUSE:
        fix = f"see what has it with: ss -ltnp 'sport = :{port}'; or take another port, or port 0"
    elif error.errno == errno.EACCES:
        fix = f"ports below 1024 are the administrator's: take {DEFAULT_PORT}"
    elif error.errno == errno.EADDRNOTAVAIL:
        fix = f"use {LOCAL_HOST}, an address that `ip address` shows, or 0.0.0.0 for all of them"
    else:
        fix = f"use http://{LOCAL_HOST}:{DEFAULT_PORT}"
    return OutputError(problem, fix=fix)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _own_address() -> str:
    """An address of this machine that others can reach, as well as it can be known."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
    ):
        probe.connect(("192.0.2.1", 9))  # of RFC 5737; a datagram socket sends nothing here
        return str(probe.getsockname()[0])
    return socket.gethostname()
