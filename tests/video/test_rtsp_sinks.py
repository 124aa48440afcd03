"""rtsp:// as a sink: served and read back by FFmpeg, published to a real server."""

import contextlib
import logging
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import InputContainer

from edgeseg.errors import MissingPackage, OutputError, UsageError
from edgeseg.types import Labels, Pixels, Size
from edgeseg.video import FrameView, Sink, SinkOptions, gstreamer, open_sink
from edgeseg.video.sinks import rtsp_publish
from tests.video.system_gi import make_gi_importable

pytestmark = pytest.mark.needs("av", "cv2")

SIZE = Size(97, 128)
"""Its last row is one too many for 4:2:0."""
COLOUR = (200, 30, 60)
WANTED = SinkOptions(
    size=SIZE, fps=None, labels=Labels(names=("Road",), colors=((1, 2, 3),)), live=True
)
LABELS = np.zeros(SIZE, np.uint8)
TCP = {"rtsp_transport": "tcp", "fpsprobesize": "0"}
PATIENCE_S = 20.0
"""The longest that anything may take on a machine that does much else."""


@pytest.fixture(scope="module", autouse=True)
def _gi(gstreamer: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    del gstreamer
    make_gi_importable(tmp_path_factory.mktemp("gi"))


@contextlib.contextmanager
def shown(sink: Sink) -> Iterator[list[float]]:
    """Inside the block `sink` is given a picture again and again; how long each `write` took."""
    picture = np.full((*SIZE, 3), COLOUR, np.uint8)
    over, took_s = threading.Event(), []

    def run() -> None:
        while not over.wait(0.02):
            start_s = time.monotonic()
            sink.write(FrameView(index=len(took_s), picture=picture, labels=picture[..., 0]))
            took_s.append(time.monotonic() - start_s)

    loop = threading.Thread(target=run, daemon=True)
    loop.start()
    try:
        yield took_s
    finally:
        over.set()
        loop.join(5)


@contextlib.contextmanager
def watched(port: int, options: dict[str, str] = TCP) -> Iterator[Callable[[], Pixels]]:
    """Gives the next picture that a viewer sees."""
    url = f"rtsp://127.0.0.1:{port}/seg"
    with av.open(url, options=options, timeout=PATIENCE_S) as container:
        frames = container.decode(video=0)
        yield lambda: next(frames).to_ndarray(format="rgb24")


def until(condition: Callable[[], bool]) -> bool:
    """Whether `condition` came true in time."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.02)
    return condition()


@pytest.fixture
def server() -> Iterator[Sink]:
    sink = open_sink("rtsp://@:0/seg", WANTED)
    yield sink
    sink.close()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_served_stream_is_read_back_in_its_colours(server: Sink, transport: str) -> None:
    with shown(server), watched(server.port, {**TCP, "rtsp_transport": transport}) as picture:
        seen = picture()
    assert seen.shape == (96, 128, 3)
    np.testing.assert_allclose(seen[48, 64], COLOUR, atol=6)


def test_viewers_come_and_go_and_one_that_stalls_holds_up_nobody(server: Sink) -> None:
    with shown(server) as took_s, watched(server.port) as stalled:
        stalled()
        with watched(server.port) as picture:
            for _ in range(5):
                picture()
        with watched(server.port) as picture:
            for _ in range(5):
                np.testing.assert_allclose(picture()[48, 64], COLOUR, atol=6)
    assert sorted(took_s)[len(took_s) // 2] < 0.02


def test_nothing_is_encoded_while_nobody_watches(
    server: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeseg.video.sinks.live_encoder import LiveEncoder

    encoded, encode = [], LiveEncoder.encode

    def counted(self: LiveEncoder, newest: object) -> object:
        encoded.append(newest)
        return encode(self, newest)

    monkeypatch.setattr(LiveEncoder, "encode", counted)
    with shown(server) as took_s:
        assert until(lambda: len(took_s) > 3)
        assert encoded == []
        with watched(server.port) as picture:
            picture()
            assert encoded

        def rests() -> bool:
            before, writes = len(encoded), len(took_s)
            return until(lambda: len(took_s) > writes + 4) and len(encoded) == before

        assert until(rests)


def test_viewer_may_come_while_no_pictures_do(server: Sink) -> None:
    with watched(server.port) as picture:
        assert picture().max() < 8


def test_without_an_address_it_is_served_on_loopback_alone(server: Sink) -> None:
    with contextlib.closing(socket.socket()) as other:
        other.bind(("127.0.0.2", server.port))  # free, so nothing listens on all addresses


def test_port_in_use_is_refused(server: Sink) -> None:
    with pytest.raises(OutputError, match="in use") as refused:
        open_sink(f"rtsp://@127.0.0.1:{server.port}/other", WANTED)
    assert "another port" in refused.value.fix


def test_closing_sends_viewers_away_and_frees_the_port() -> None:
    sink = open_sink("rtsp://@:0/seg", WANTED)
    with shown(sink), watched(sink.port) as picture:
        picture()
        open_sink("rtsp://@:0/seg", WANTED).close()  # another one's end is not felt here
        picture()
    viewer = watching(sink)
    start_s = time.monotonic()
    sink.close()
    assert time.monotonic() - start_s < 5
    viewer.close()
    open_sink(f"rtsp://@:{sink.port}/seg", WANTED).close()
    with pytest.raises(OutputError, match="closed"):
        sink.write(FrameView(index=0, picture=np.zeros((*SIZE, 3), np.uint8), labels=LABELS))


def watching(sink: Sink) -> InputContainer:
    """A viewer that is there, and does not look any more."""
    url = f"rtsp://127.0.0.1:{sink.port}/seg"
    with shown(sink):
        return av.open(url, options=TCP, timeout=PATIENCE_S)


def test_serving_again_and_again_leaves_nothing_behind() -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(2):
        open_sink("rtsp://@:0/seg", WANTED).close()
    before = held()
    for _ in range(10):
        open_sink("rtsp://@:0/seg", WANTED).close()
    after = held()
    assert after[0] <= before[0]
    assert after[1] <= before[1] + 3


def test_picture_of_another_size_is_refused(server: Sink) -> None:
    with pytest.raises(UsageError, match="128x97"):
        server.write(FrameView(index=0, picture=np.zeros((9, 9, 3), np.uint8), labels=LABELS))


def test_without_pygobject_serving_names_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gstreamer.gst.cache_clear()
    monkeypatch.setitem(sys.modules, "gi", None)
    monkeypatch.setattr(gstreamer, "SYSTEM_PACKAGES", tmp_path)
    with pytest.raises(MissingPackage) as refused:
        open_sink("rtsp://@:0/seg", WANTED)
    assert "apt install python3-gi" in refused.value.fix


class Recorder:
    """The server of rtsp_recorder.py in a process of its own."""

    def __init__(self, python: Path, port: int = 0) -> None:
        script = Path(__file__).with_name("rtsp_recorder.py")
        self._process = subprocess.Popen(
            [python, script, str(port)], stdout=subprocess.PIPE, text=True
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self.next_line().split()[1])

    def next_line(self) -> str:
        return self._lines.get(timeout=PATIENCE_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(5)
        self._reader.join(5)

    def _read(self) -> None:
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)


def test_publisher_finds_a_server_again_that_was_killed(
    gstreamer: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="edgeseg")
    recorder = Recorder(gstreamer)
    try:
        sink = open_sink(f"rtsp://me:secret@127.0.0.1:{recorder.port}/live", WANTED)
        with shown(sink) as took_s:
            first = recorder.next_line().split()
            recorder.kill()
            writes = len(took_s)
            assert until(lambda: len(took_s) > writes + 10), "the loop stands still"
            recorder = Recorder(gstreamer, recorder.port)
            second = recorder.next_line().split()
        sink.close()
    finally:
        recorder.kill()
    for line in (first, second):
        assert line[:3] == ["frame", "128", "96"]
        np.testing.assert_allclose([int(value) for value in line[3:]], COLOUR, atol=6)
    assert sink.reconnects == 1
    assert "is gone" in caplog.text
    assert "secret" not in caplog.text


def test_publishing_where_nobody_listens_is_refused_at_once() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OutputError, match="refused") as refused:
        open_sink(f"rtsp://me:secret@127.0.0.1:{port}/live", WANTED)
    assert "secret" not in str(refused.value)
    assert "MediaMTX" in refused.value.fix


@pytest.mark.parametrize("reply", ["RTSP/1.0 503 Service Unavailable", "HTTP/1.1 400 Bad"])
def test_server_that_refuses_is_quoted(reply: str) -> None:
    def answer() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(f"{reply}\r\n\r\n".encode())

    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        server = threading.Thread(target=answer, daemon=True)
        server.start()
        with pytest.raises(OutputError, match=reply):
            open_sink(f"rtsp://127.0.0.1:{listening.getsockname()[1]}/live", WANTED)
        server.join(PATIENCE_S)


def test_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp_publish, "ANSWER_S", 0.3)
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as mute,
        pytest.raises(OutputError, match="cannot be published to"),
    ):
        open_sink(f"rtsp://127.0.0.1:{mute.getsockname()[1]}/live", WANTED)
