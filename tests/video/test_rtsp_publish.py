"""rtsp:// as a sink that publishes, to a real server in a process of its own."""

import contextlib
import logging
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import OutputError
from edgeseg.video import FrameView, Sink, open_sink
from edgeseg.video.sinks import rtsp_publish
from tests.video.rtsp_pictures import COLOUR, LABELS, PATIENCE_S, SIZE, WANTED, shown, until

pytestmark = pytest.mark.needs("av", "cv2")


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


def test_server_that_falls_silent_while_it_is_published_to_holds_up_nobody() -> None:
    def answer() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            held.append(connection)
            asked = connection.recv(4096).decode()
            sequence = asked.partition("CSeq: ")[2].partition("\r\n")[0]
            reply = f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\nPublic: OPTIONS, ANNOUNCE\r\n\r\n"
            connection.sendall(reply.encode())

    def tick() -> None:
        while not over.wait(0.01):
            ticks.append(time.monotonic())

    held: list[socket.socket] = []
    ticks: list[float] = []
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for work in (answer, tick):
            threading.Thread(target=work, daemon=True).start()
        begun_s = time.monotonic()
        with pytest.raises(OutputError, match="cannot be published to"):
            open_sink(f"rtsp://127.0.0.1:{listening.getsockname()[1]}/live", WANTED)
        took_s = time.monotonic() - begun_s
        over.set()
        listening.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()
    assert took_s > 1.5
    assert len(ticks) > 20 * took_s


def test_publishers_process_that_dies_ends_the_run_with_a_word(gstreamer: Path) -> None:
    recorder = Recorder(gstreamer)
    try:
        sink = open_sink(f"rtsp://127.0.0.1:{recorder.port}/live", WANTED)
        [child] = children("rtsp_pushing")
        os.kill(child, signal.SIGKILL)
        assert until(lambda: words_of_writing(sink) != "")
        words = words_of_writing(sink)
        sink.close()
    finally:
        recorder.kill()
    assert "has died" in words
    assert "memory" in words


def words_of_writing(sink: Sink) -> str:
    """What is said against one more picture."""
    try:
        sink.write(FrameView(index=0, picture=np.zeros((*SIZE, 3), np.uint8), labels=LABELS))
    except OutputError as error:
        return str(error)
    return ""


def children(named: str) -> list[int]:
    """Processes that this one started, with a word in their command line."""
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    numbers = {int(number) for file in found for number in file.read_text().split()}
    return [n for n in numbers if named in Path(f"/proc/{n}/cmdline").read_text()]
