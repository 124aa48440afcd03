"""Cameras and streams over HTTP: MJPEG, and what else FFmpeg plays from there (HLS, MP4)."""

import ssl
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlsplit

from edgeseg.errors import EdgesegError, VideoError
from edgeseg.video.capture import Capture
from edgeseg.video.credentials import quoted_credentials, shown, split_credentials
from edgeseg.video.sources import SourceOptions
from edgeseg.video.sources.container import (
    ContainerStream,
    Due,
    not_found,
    opened,
    refusal,
    unauthorized,
    unreachable,
)
from edgeseg.video.sources.feed import Stream
from edgeseg.video.sources.multipart import MjpegStream
from edgeseg.video.sources.network import (
    ANSWER_S,
    NetworkAddress,
    capture_of,
    network_address,
    silent,
)

MJPEG = "multipart/x-mixed-replace"
_PAGES = ("text/html", "application/xhtml+xml", "application/json", "text/plain")


def open_http(rest: str, wanted: SourceOptions) -> Capture:
    """The stream at `http://REST`.

    What has an end is played once at its own rate, and is live nevertheless: frames that nobody
    took are dropped.

    Raises:
        UsageError: an address that is none.
        VideoError: it cannot be opened, or is a page or a single picture.
    """
    return _open("http", rest, wanted)


def open_https(rest: str, wanted: SourceOptions) -> Capture:
    """The same through TLS."""
    return _open("https", rest, wanted)


def _open(scheme: str, rest: str, wanted: SourceOptions) -> Capture:
    address = network_address(scheme, rest, ())
    return capture_of(lambda: _stream(address), address, wanted)


def _stream(address: NetworkAddress) -> Stream:
    response = _answer(address)
    kind = response.headers.get_content_type().lower()
    if kind == MJPEG:
        return MjpegStream(response, str(response.headers.get_param("boundary") or ""))
    response.close()
    if kind.startswith("image/"):
        raise VideoError(
            f"{address.name} is a single picture ({kind}), not a video",
            fix="take the address of the camera's MJPEG or RTSP stream",
        )
    if kind in _PAGES:
        raise VideoError(
            f"{address.name} is a page ({kind}), not a video",
            fix="take the address of the video itself: a browser shows it as the source of the "
            "picture in that page",
        )
    return _container_stream(address)


def _container_stream(address: NetworkAddress) -> ContainerStream:
    parts = urlsplit(address.uri)
    options = {"rw_timeout": str(round(ANSWER_S * 1e6)), "user_agent": "edgeseg"}
    container = opened(
        parts._replace(netloc=quoted_credentials(parts.netloc)).geturl(),
        options,
        lambda error: refusal(error, address.name, has_user="@" in parts.netloc),
    )
    try:
        finite = container.duration is not None
        return ContainerStream(container, address.name, Due(), finite=finite)
    except BaseException:
        container.close()
        raise


def _answer(address: NetworkAddress) -> HTTPResponse:
    """The server's answer, whose body was not read yet."""
    parts = urlsplit(address.uri)
    user, password, host = split_credentials(parts.netloc)
    uri = parts._replace(netloc=host, fragment="").geturl()
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, f"{parts.scheme}://{host}/", user, password)
    handlers: list[urllib.request.BaseHandler] = []
    if user or password:
        handlers = [
            urllib.request.HTTPDigestAuthHandler(passwords),
            urllib.request.HTTPBasicAuthHandler(passwords),
        ]
    request = urllib.request.Request(uri, headers={"User-Agent": "edgeseg", "Accept": "*/*"})
    try:
        found = urllib.request.build_opener(*handlers).open(request, timeout=ANSWER_S)
    except (OSError, HTTPException, ValueError) as error:
        refused = _refusal(error, address.name, host, has_user=bool(user or password))
    else:
        if isinstance(found, HTTPResponse):
            return found
        refused = VideoError(f"{address.name} leads to what is no HTTP", fix="check the address")
    raise refused


def _refusal(error: Exception, name: str, host: str, *, has_user: bool) -> EdgesegError:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        if error.code == 401:
            return unauthorized(name, has_user=has_user)
        if error.code == 404:
            return not_found(name)
        return VideoError(
            f"{name} is refused by the server: {error.code} {error.reason}",
            fix="check the address, and whether this user may see it",
        )
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return silent(name)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return VideoError(
            f"the certificate of {name} is not trusted: {reason.verify_message}",
            fix="let SSL_CERT_FILE name the certificate of who signed it, or use http://",
        )
    if isinstance(reason, ConnectionRefusedError):
        return unreachable(name, "nobody answers at that port")
    return unreachable(name, f"{host}: {shown(str(getattr(reason, 'strerror', None) or reason))}")
