"""A stream published to an RTSP server elsewhere, which hands it on to those who watch."""

import contextlib
import logging
import queue
import re
import socket
import threading
from urllib.parse import urlsplit

import av
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext

from edgeseg.errors import OutputError, UsageError
from edgeseg.video.sinks import FrameView, SinkOptions
from edgeseg.video.sinks.live_encoder import LIVE_ENCODERS, LiveEncoder, NewestPicture, set_up

ANSWER_S = 5.0
"""The longest that a server may take to its first answer."""
_TAKE_S = 2.0
"""The longest that one which answers may take over any other step, or over a frame."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 4.0
"""Between attempts to reach a server that is gone."""
_POLL_S = 0.2
_END_S = 0.8

log = logging.getLogger(__name__)


class RtspPublisher:
    """Encodes and sends the newest picture in a thread of its own, over TCP.

    A server that goes away is sought again, with waits that grow; the loop does not notice.
    """

    takes_pictures = True

    def __init__(
        self, wanted: SinkOptions, *, url: str, shown: str, codec: str = "libx264"
    ) -> None:
        self._wanted, self._url, self._shown, self._codec = wanted, url, shown, codec
        self._newest = NewestPicture(wanted.size)
        self._stopping = threading.Event()
        self.reconnects = 0
        first: queue.SimpleQueue[OutputError | None] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._run, args=(first,), name=f"publisher to {shown}", daemon=True
        )
        self._thread.start()
        failure: OutputError | None
        try:
            failure = first.get(timeout=2 * ANSWER_S)
        except queue.Empty:
            failure = self._unreachable("it does not answer")
        if failure is not None:
            self.close()
            raise failure

    def write(self, frame: FrameView) -> None:
        """Let `frame.picture` be the next that is sent."""
        if frame.picture.shape != (*self._wanted.size, 3):
            raise UsageError(
                f"the sink takes pictures of {self._wanted.size}, "
                f"got the shape {frame.picture.shape}",
                fix="open the sink with Overlay.picture_size",
            )
        if self._newest.closed:
            raise OutputError("the stream is closed already", fix="write before close()")
        self._newest.put(frame.picture)

    def close(self) -> None:
        """End the stream; a server that hangs is left to its own thread."""
        self._stopping.set()
        self._newest.close()
        self._thread.join(_END_S)

    def _run(self, first: "queue.SimpleQueue[OutputError | None]") -> None:
        told: queue.SimpleQueue[OutputError | None] | None = first
        wait_s = FIRST_WAIT_S
        while not self._stopping.is_set():
            try:
                container, encoder = self._connected()
            except OutputError as error:
                if told is not None:
                    told.put(error)
                    return
                log.info("%s; the next attempt is in %.1f s", error.problem, wait_s)
                self._stopping.wait(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                continue
            if told is not None:
                told.put(None)
                told = None
            else:
                self.reconnects += 1
                log.warning("%s is back", self._shown)
            wait_s = FIRST_WAIT_S
            self._send(container, encoder)

    def _connected(self) -> tuple[OutputContainer, LiveEncoder]:
        """A stream that the server has accepted."""
        self._ask_whether_it_is_there()
        options = {"rtsp_transport": "tcp", "timeout": str(int(_TAKE_S * 1e6))}
        container = None
        try:
            container = av.open(self._url, "w", format="rtsp", options=options)
            stream = container.add_stream(self._codec, options=dict(LIVE_ENCODERS[self._codec]))
            context = stream.codec_context
            assert isinstance(context, VideoCodecContext)
            set_up(context, self._codec, self._wanted.size, self._wanted.fps)
            container.start_encoding()
        except (av.FFmpegError, OSError, ValueError) as error:
            if container is not None:
                _given_up(container)
            reason = getattr(error, "strerror", None) or "FFmpeg refuses"
            raise self._unreachable(reason) from None  # whose text may hold the credentials
        return container, LiveEncoder(context, self._wanted.size)

    def _ask_whether_it_is_there(self) -> None:
        """Nothing, if an RTSP server answers.

        PyAV lets no other thread run while it connects (18.1, start_encoding), so it is only let
        at a server that was quick to answer a moment ago.
        """
        server = urlsplit(self._shown)
        address = (server.hostname or "", server.port or 554)
        try:
            with socket.create_connection(address, ANSWER_S) as connection:
                connection.settimeout(ANSWER_S)
                connection.sendall(f"OPTIONS {self._shown} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
                reply = connection.recv(4096).decode("latin-1").partition("\r\n")[0]
        except TimeoutError:
            raise self._unreachable("it does not answer") from None
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from error
        answered = re.match(r"RTSP/1\.\d (\d)", reply)
        if answered is None or (int(answered[1]) >= 4 and " 401 " not in reply):
            raise self._unreachable(f"it answers {reply!r}")

    def _send(self, container: OutputContainer, encoder: LiveEncoder) -> None:
        """Send pictures until the server is gone or the sink is closed."""
        try:
            while not self._stopping.is_set():
                newest = self._newest.take(_POLL_S)
                if newest is not None:
                    for packet in encoder.encode(newest):
                        packet.stream = container.streams.video[0]
                        container.mux(packet)
        except (av.FFmpegError, OSError) as error:
            log.warning("%s is gone: %s", self._shown, getattr(error, "strerror", None))
        finally:
            _given_up(container)

    def _unreachable(self, reason: str) -> OutputError:
        return OutputError(
            f"{self._shown} cannot be published to: {reason}",
            fix="check that a server which takes streams runs there, such as MediaMTX, and that "
            "user:password@ stands before the host if it asks; rtsp://@:8554/name serves "
            "without one",
        )


def _given_up(container: OutputContainer) -> None:
    """Close the connection, whatever is left of it."""
    with contextlib.suppress(av.FFmpegError, OSError, ValueError):
        container.close()
