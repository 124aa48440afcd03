"""rtsp:// as a sink that serves; it is read back by FFmpeg."""

import contextlib
import socket
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
from edgeseg.types import Pixels
from edgeseg.video import FrameView, Sink, gstreamer, open_sink
from tests.video.rtsp_pictures import COLOUR, LABELS, PATIENCE_S, SIZE, WANTED, shown, until
from tests.video.system_gi import make_gi_importable

pytestmark = pytest.mark.needs("av", "cv2")

TCP = {"rtsp_transport": "tcp", "fpsprobesize": "0"}


@pytest.fixture(scope="module", autouse=True)
def _gi(gstreamer: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    del gstreamer
    make_gi_importable(tmp_path_factory.mktemp("gi"))


@contextlib.contextmanager
def watched(port: int, options: dict[str, str] = TCP) -> Iterator[Callable[[], Pixels]]:
    """Gives the next picture that a viewer sees."""
    url = f"rtsp://127.0.0.1:{port}/seg"
    with av.open(url, options=options, timeout=PATIENCE_S) as container:
        frames = container.decode(video=0)
        yield lambda: next(frames).to_ndarray(format="rgb24")


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
