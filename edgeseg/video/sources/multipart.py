"""MJPEG over HTTP: pictures one after the other in an answer that does not end.

Each picture is handed on when its last byte came. FFmpeg's own reader waits for the boundary that
follows, which many servers send with the next picture.
"""

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from http.client import HTTPException, HTTPResponse

from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from edgeseg.errors import VideoError
from edgeseg.video.sources.feed import AnyPacket, Arrival

MOST_BYTES = 64 * 2**20
"""Of one picture."""
MOST_HEADER_BYTES = 2**16
CHUNK_BYTES = 2**16

_START, _END = b"\xff\xd8", b"\xff\xd9"
_SCAN = 0xDA
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,9})[ \t]*$", re.IGNORECASE | re.MULTILINE)
_TYPE = re.compile(rb"^content-type:[ \t]*([^\s;]+)", re.IGNORECASE | re.MULTILINE)


class MjpegStream:
    """The pictures of an answer of the type multipart/x-mixed-replace."""

    fps: Fraction | None = None
    finite = False

    def __init__(self, response: HTTPResponse, boundary: str) -> None:
        self._response, self._boundary = response, boundary
        # Another name for the connection, by which a thread that waits for it can be woken.
        self._line = socket.socket(fileno=os.dup(response.fileno()))
        decoder = CodecContext.create("mjpeg", "r")
        decoder.thread_type = "NONE"
        decoder.options = {"err_detect": "explode"}  # else half a picture is filled up with grey
        self.decoder: VideoCodecContext = decoder

    def arrivals(self, stopping: threading.Event) -> Iterator[Arrival]:
        """The pictures, each when its last byte came.

        Raises:
            VideoError: the server is gone, or what it sends is no MJPEG.
        """
        try:
            for picture in pictures(lambda: self._response.read1(CHUNK_BYTES), self._boundary):
                yield Arrival(jpeg_packet(picture), time.monotonic())
        except TimeoutError:
            raise VideoError("the connection is silent") from None
        except (OSError, HTTPException) as error:
            if isinstance(error, VideoError) or stopping.is_set():
                raise
            raise VideoError(f"the connection broke: {error}") from None

    def interrupt(self) -> None:
        """Wake the thread that waits for the server."""
        with contextlib.suppress(OSError):  # it may be closed already
            self._line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection."""
        self._line.close()
        self._response.close()


def jpeg_packet(picture: bytes) -> AnyPacket:
    """A packet that can be decoded by itself."""
    packet = Packet(picture)
    packet.is_keyframe = True
    return packet


def pictures(read: Callable[[], bytes], boundary: str) -> Iterator[bytes]:
    """The bodies of the parts that `read` gives in pieces, an empty one at the end.

    The length of a part is the one that it names; else it ends with its JPEG or before the
    boundary, whichever comes first. A length that is wrong spoils that part only.

    Raises:
        VideoError: a head or a part without an end.
    """
    # Some servers write the dashes before a boundary into its name too, others forget them.
    reader = _Reader(read, b"--" + boundary.strip('"').lstrip("-").encode("latin-1"))
    while (head := reader.head()) is not None:
        length, kind = _LENGTH.search(head), _TYPE.search(head)
        body = reader.exactly(int(length[1])) if length else reader.jpeg()
        if body is None:
            return
        # A decoder takes what is empty for the end; some cameras send it to keep a connection.
        if body and (kind is None or kind[1].lower().startswith(b"image/")):
            yield body


class _Reader:
    """Takes parts off a stream of bytes; None is its end."""

    def __init__(self, read: Callable[[], bytes], mark: bytes) -> None:
        self._read, self._mark = read, mark
        self._bytes = bytearray()

    def head(self) -> bytes | None:
        """The header lines after the next boundary, which end with an empty one."""
        while (start := self._bytes.find(self._mark)) < 0:
            del self._bytes[: max(0, len(self._bytes) - len(self._mark) + 1)]
            if not self._more():
                return None
        del self._bytes[: start + len(self._mark)]
        while (blank := re.search(rb"\r?\n\r?\n", self._bytes)) is None:
            if len(self._bytes) > MOST_HEADER_BYTES:
                raise VideoError("what comes is no MJPEG: a part has no end of its head")
            if not self._more():
                return None
        found = bytes(self._bytes[: blank.start()])
        del self._bytes[: blank.end()]
        return found.replace(b"\r\n", b"\n")

    def exactly(self, count: int) -> bytes | None:
        """The next `count` bytes."""
        if count > MOST_BYTES:
            raise VideoError(f"a picture of {count} bytes, where {MOST_BYTES} are the most")
        while len(self._bytes) < count:
            if not self._more():
                return None
        return self._taken(count)

    def jpeg(self) -> bytes | None:
        """What comes before the end of a JPEG, or before the boundary."""
        seen, scan = 0, None
        while True:
            scan = scan or _scan_start(self._bytes)
            end = self._bytes.find(_END, max(scan, seen)) if scan else -1
            boundary = self._bytes.find(b"\n" + self._mark, seen)
            if end >= 0 and (boundary < 0 or end < boundary):
                return self._taken(end + len(_END))
            if boundary >= 0:
                return self._taken(boundary).rstrip(b"\r")
            if len(self._bytes) > MOST_BYTES:
                raise VideoError(f"a picture of more than {MOST_BYTES} bytes")
            seen = max(0, len(self._bytes) - len(self._mark) - 1)
            if not self._more():
                return None

    def _taken(self, count: int) -> bytes:
        found = bytes(memoryview(self._bytes)[:count])
        del self._bytes[:count]
        return found

    def _more(self) -> bool:
        came = self._read()
        self._bytes += came
        return bool(came)


def _scan_start(picture: bytearray) -> int | None:
    """Where the coded pixels begin; what is before may hold a whole small JPEG."""
    if not picture.startswith(_START):
        return None
    at = len(_START)
    while at + 4 <= len(picture) and picture[at] == 0xFF:
        if picture[at + 1] == _SCAN:
            return at
        at += 2 + int.from_bytes(picture[at + 2 : at + 4], "big")
    return None
