"""A live page with a loop that feeds it, and clients that look at it, for the tests."""

import contextlib
import io
import itertools
import json
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from edgeseg.types import Labels, Pixels
from edgeseg.video import FrameView, SinkOptions, open_sink
from tests.small import FRAME, street

LABELS = Labels(
    names=tuple(f"class {index}" for index in range(11)),
    colors=tuple((20 * index, 255 - 20 * index, 7 * index) for index in range(11)),
)
WAIT_S = 10.0


def options(**wanted: Any) -> SinkOptions:
    return SinkOptions(**{"size": FRAME, "fps": Fraction(30), "labels": LABELS, **wanted})


def view(index: int, **values: Any) -> FrameView:
    picture, labels = street(3)
    given = {"picture": picture[:0], "labels": labels, "pixels": picture, **values}
    return FrameView(index=index, **given)


class Feed:
    """A page, and a loop that writes frames to it until it is closed."""

    def __init__(
        self, uri: str, wanted: SinkOptions, make: Callable[[int], FrameView] = view
    ) -> None:
        self.sink: Any = open_sink(uri, wanted)
        self.url: str = self.sink.url
        self.longest_write_s = 0.0
        self.written = 0
        self._make, self._stop = make, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def place(self) -> str:
        """HOST:PORT."""
        return self.url.partition("://")[2].partition("/")[0]

    def close(self) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)
        self.sink.close()

    def _run(self) -> None:
        for index in itertools.count():
            if self._stop.wait(0.01):
                return
            frame = self._make(index)
            start = time.thread_time()
            self.sink.write(frame)
            self.longest_write_s = max(self.longest_write_s, time.thread_time() - start)
            self.written += 1


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


class Message(NamedTuple):
    values: dict[str, Any]
    jpeg: bytes
    png: bytes


@contextlib.contextmanager
def live(place: str, **more: Any) -> Iterator[Any]:
    from websockets.sync.client import connect

    with connect(
        f"ws://{place}/live", compression=None, open_timeout=WAIT_S, close_timeout=1, **more
    ) as connection:
        yield connection


def received(connection: Any, kind: str = "frame") -> Message:
    """The next message of this kind; each is acknowledged."""
    for _ in range(50):
        data = connection.recv(timeout=WAIT_S)
        connection.send("next")
        (length,) = struct.unpack(">I", data[:4])
        values = json.loads(data[4 : 4 + length])
        if values["kind"] == kind:
            middle = 4 + length + values["jpeg"]
            assert middle + values["png"] == len(data)
            return Message(values, data[4 + length : middle], data[middle:])
    raise AssertionError(f"no message of the kind {kind}")


def asked(url: str, **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def decoded(data: bytes) -> Any:
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def psnr(a: Pixels, b: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))
