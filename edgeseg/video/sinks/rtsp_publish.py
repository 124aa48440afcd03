"""A stream published to an RTSP server elsewhere, which hands it on to those who watch."""

import contextlib
import json
import logging
import queue
import re
import socket
import subprocess
import sys
import threading
from urllib.parse import urlsplit

from edgeseg.errors import OutputError, UsageError
from edgeseg.video.sinks import FrameView, SinkOptions
from edgeseg.video.sinks.live_encoder import NewestPicture
from edgeseg.video.sinks.rtsp_pushing import TIME, Publication

ANSWER_S = 5.0
"""The longest that a server may take to its first answer."""
START_S = 30.0
"""The longest that the other process may take to begin, on a board that does much else."""
_POLL_S = 0.2
_END_S = 0.7

# With the paths of this process: Python's own begin with the folder that a user happens to be in.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from edgeseg.video.sinks.rtsp_pushing import main; main()"
)

log = logging.getLogger(__name__)


class RtspPublisher:
    """Has the newest picture encoded and sent over TCP by a process of its own.

    PyAV lets no thread of its process run while it connects (18.1, start_encoding): here a server
    that takes seconds is waited for elsewhere. One that goes away is sought again, with waits that
    grow; the loop does not notice.
    """

    takes_pictures = True

    def __init__(
        self, wanted: SinkOptions, *, url: str, shown: str, codec: str = "libx264"
    ) -> None:
        self._size, self._shown = wanted.size, shown
        self._ask_whether_it_is_there()
        self._newest = NewestPicture(wanted.size)
        self.reconnects, self._was_there = 0, False
        self._first: queue.SimpleQueue[str] = queue.SimpleQueue()
        """Why there is no stream; empty where there is one."""
        what = _publication(wanted, url, codec)
        self._process = _started()
        self._threads = [
            threading.Thread(target=self._feed, args=(what,), name="publisher", daemon=True),
            threading.Thread(target=self._listen, name="publisher's answers", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        try:
            self._wait_for_the_first_answer()
        except BaseException:
            self.close()
            raise

    def write(self, frame: FrameView) -> None:
        """Let `frame.picture` be the next that is sent.

        Raises:
            OutputError: the process that sends has died.
        """
        if frame.picture.shape != (*self._size, 3):
            raise UsageError(
                f"the sink takes pictures of {self._size}, got the shape {frame.picture.shape}",
                fix="open the sink with Overlay.picture_size",
            )
        if self._newest.closed:
            raise OutputError("the stream is closed already", fix="write before close()")
        if self._process.poll() is not None:
            raise OutputError(
                f"the process that publishes to {self._shown} has died",
                fix="see whether the memory was short: dmesg | tail; then start the run again",
            )
        self._newest.put(frame.picture)

    def close(self) -> None:
        """End the stream; a server that hangs is left."""
        if self._newest.closed:
            return
        self._newest.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self._process.kill()  # also what a pipe that nobody empties holds
        self._process.wait()
        for thread in self._threads:
            thread.join()

    def _wait_for_the_first_answer(self) -> None:
        try:
            failure = self._first.get(timeout=START_S)
        except queue.Empty:
            failure = "it does not answer"
        if failure:
            raise self._unreachable(failure)

    def _feed(self, what: Publication) -> None:
        """Hand on pictures; the pipe is what waits for a server that is slow."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError), self._process.stdin as pipe:
            pipe.write(what.line())
            pipe.flush()
            while not self._newest.closed:
                newest = self._newest.take(_POLL_S)
                if newest is not None:
                    pipe.write(TIME.pack(newest.time_s))
                    pipe.write(newest.picture.data)
                    pipe.flush()

    def _listen(self) -> None:
        """Note what the other process says, until it ends."""
        assert self._process.stdout is not None
        with self._process.stdout as answers:
            for line in answers:
                answer = json.loads(line)
                self._note(answer["event"], answer["reason"])
        self._first.put("the process that publishes has died")

    def _note(self, event: str, reason: str) -> None:
        if event == "connected":
            if self._was_there:
                self.reconnects += 1
                log.warning("%s is back", self._shown)
            self._was_there = True
            self._first.put("")
        elif event == "gone":
            log.warning("%s is gone: %s", self._shown, reason)
        else:
            log.info("%s cannot be published to: %s", self._shown, reason)
            self._first.put(reason)

    def _ask_whether_it_is_there(self) -> None:
        """Nothing, if an RTSP server answers; why not is told better here than by FFmpeg."""
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

    def _unreachable(self, reason: str) -> OutputError:
        return OutputError(
            f"{self._shown} cannot be published to: {reason}",
            fix="check that a server which takes streams runs there, such as MediaMTX, and that "
            "user:password@ stands before the host if it asks; rtsp://@:8554/name serves "
            "without one",
        )


def _publication(wanted: SinkOptions, url: str, codec: str) -> Publication:
    height, width = wanted.size
    fps = None if wanted.fps is None else str(wanted.fps)
    return Publication(url=url, codec=codec, height=height, width=width, fps=fps)


def _started() -> "subprocess.Popen[bytes]":
    """The process that publishes; Ctrl-C is not for it, and it ends with its input."""
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
