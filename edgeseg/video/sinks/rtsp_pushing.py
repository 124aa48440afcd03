"""Sends pictures to an RTSP server; the process that `RtspPublisher` starts runs `main`.

It is told one line of JSON on its standard input, and then pictures: 8 bytes with the time, and
RGB. It answers with lines of JSON: an `event`, which is `connected`, `gone` or `failed`, and its
`reason`. It ends with its input.
"""

import contextlib
import io
import json
import struct
import sys
import threading
import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import IO

import av
import numpy as np
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext

from edgeseg.types import Size
from edgeseg.video.sinks.live_encoder import LIVE_ENCODERS, LiveEncoder, NewestPicture, set_up

TIME = struct.Struct("<d")
"""What comes before each picture: time.monotonic() when it was put."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 4.0
"""Between attempts to reach a server that is gone."""
_TAKE_S = 2.0
"""The longest that a server may take over one step, or over a frame."""
_POLL_S = 0.2
_END_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What is to be sent where."""

    url: str
    """With the credentials; so it goes through a pipe, and into no list of processes."""
    codec: str
    height: int
    width: int
    fps: str | None
    """As a Fraction is written."""

    def line(self) -> bytes:
        """What `publication_from` reads."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @property
    def size(self) -> Size:
        """Of the pictures."""
        return Size(self.height, self.width)


def publication_from(line: bytes) -> Publication:
    """The Publication that was written as `line`."""
    return Publication(**json.loads(line))


def publish(wanted: Publication, newest: NewestPicture, answers: IO[str]) -> None:
    """Send what is put into `newest` until it is closed; a server that goes away is sought again.

    Where the first attempt fails there is no second one.
    """
    wait_s, was_there = FIRST_WAIT_S, False
    while not newest.closed:
        try:
            container, encoder = _connected(wanted)
        except (av.FFmpegError, OSError, ValueError) as error:
            _answer(answers, "failed", _reason(error))
            if not was_there:
                return
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            continue
        _answer(answers, "connected")
        wait_s, was_there = FIRST_WAIT_S, True
        try:
            _send(container, encoder, newest)
        except (av.FFmpegError, OSError) as error:
            _answer(answers, "gone", _reason(error))
        finally:
            _given_up(container)


def _connected(wanted: Publication) -> tuple[OutputContainer, LiveEncoder]:
    """A stream that the server has accepted."""
    options = {"rtsp_transport": "tcp", "timeout": str(int(_TAKE_S * 1e6))}
    container = av.open(wanted.url, "w", format="rtsp", options=options)
    try:
        stream = container.add_stream(wanted.codec, options=dict(LIVE_ENCODERS[wanted.codec]))
        context = stream.codec_context
        assert isinstance(context, VideoCodecContext)
        set_up(context, wanted.codec, wanted.size, Fraction(wanted.fps) if wanted.fps else None)
        container.start_encoding()
    except BaseException:
        _given_up(container)
        raise
    return container, LiveEncoder(context, wanted.size)


def _send(container: OutputContainer, encoder: LiveEncoder, newest: NewestPicture) -> None:
    while not newest.closed:
        taken = newest.take(_POLL_S)
        if taken is not None:
            for packet in encoder.encode(taken):
                packet.stream = container.streams.video[0]
                container.mux(packet)


def _given_up(container: OutputContainer) -> None:
    """Close the connection, whatever is left of it."""
    with contextlib.suppress(av.FFmpegError, OSError, ValueError):
        container.close()


def _reason(error: BaseException) -> str:
    """Without the text that may hold the credentials."""
    return getattr(error, "strerror", None) or "FFmpeg refuses"


def _answer(answers: IO[str], event: str, reason: str = "") -> None:
    with contextlib.suppress(OSError):  # nobody is there any more: the input ends as well
        answers.write(json.dumps({"event": event, "reason": reason}) + "\n")
        answers.flush()


def main() -> None:
    """Publish what comes in on the standard input."""
    pictures = sys.stdin.buffer
    assert isinstance(pictures, io.BufferedReader)
    line = pictures.readline()
    if not line:
        return
    wanted = publication_from(line)
    newest = NewestPicture(wanted.size)
    worker = threading.Thread(target=publish, args=(wanted, newest, sys.stdout), daemon=True)
    worker.start()
    picture = np.empty((*wanted.size, 3), np.uint8)
    while worker.is_alive() and len(put := pictures.read(TIME.size)) == TIME.size:
        if pictures.readinto(picture.data.cast("B")) < picture.nbytes:
            break
        newest.put(picture, TIME.unpack(put)[0])
    newest.close()
    worker.join(_END_S)
