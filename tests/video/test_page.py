"""The live page, asked by real HTTP and websocket clients."""

import contextlib
import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgeseg.errors import OutputError
from edgeseg.frames import SourceCounts
from edgeseg.types import PixelFormat, Size
from edgeseg.video import FrameView, open_sink
from tests.small import FRAME, street
from tests.video.page_feed import (
    LABELS,
    WAIT_S,
    Feed,
    asked,
    decoded,
    live,
    options,
    psnr,
    received,
    until,
    view,
)

pytestmark = pytest.mark.needs("starlette", "uvicorn", "websockets", "cv2", "av", "PIL")


@pytest.fixture(scope="module")
def feed() -> Iterator[Feed]:
    """A page for this machine, with frames coming."""
    made = Feed("http://127.0.0.1:0?fps=50", options(title="a network"))
    yield made
    made.close()


def test_a_message_holds_picture_mask_and_figures_of_one_frame(feed: Feed) -> None:
    picture, labels = street(3)

    with live(feed.place) as connection:
        first, second = received(connection), received(connection)

    mask = decoded(first.png)
    assert psnr(np.array(decoded(first.jpeg)), picture) > 30
    assert np.array_equal(np.array(mask), labels)
    assert mask.mode == "P"
    assert mask.getpalette() == list(LABELS.palette()[: len(LABELS)].ravel())
    counted = 100 * np.bincount(labels.ravel(), minlength=len(LABELS)) / labels.size
    assert first.values["shares"] == pytest.approx(counted, abs=0.01)
    assert first.values["viewers"] == 1
    assert second.values["index"] > first.values["index"]


def test_the_first_message_says_what_is_shown(feed: Feed) -> None:
    with live(feed.place) as connection:
        hello = received(connection, "hello").values

    assert hello["title"] == "a network"
    assert hello["classes"] == list(LABELS.names)
    assert hello["colors"][1] == "#14eb07"


@pytest.mark.parametrize("pixel_format", [PixelFormat.BGRX8, PixelFormat.NV12, PixelFormat.I420])
def test_frames_of_other_formats_are_shown_in_their_colours(pixel_format: PixelFormat) -> None:
    from edgeseg.video.pixels import FromRgb

    picture, _ = street(3)
    pixels = np.empty(pixel_format.frame_shape(FRAME), np.uint8)
    FromRgb(pixel_format, FRAME).write(picture, pixels)
    other = Feed(
        "http://127.0.0.1:0?fps=50",
        options(pixel_format=pixel_format),
        lambda index: view(index, pixels=pixels),
    )

    with contextlib.closing(other), live(other.place) as connection:
        shown = np.array(decoded(received(connection).jpeg))

    assert psnr(shown, picture) > 25


def test_ids_without_a_class_and_masks_of_another_size_arrive_as_they_are() -> None:
    mask = np.full((40, 70), 255, np.uint8)
    mask[10:20, 5:30] = 4
    other = Feed(
        "http://127.0.0.1:0?fps=50",
        options(mask_size=Size(40, 70)),
        lambda index: view(index, labels=mask),
    )

    with contextlib.closing(other), live(other.place) as connection:
        message = received(connection)

    assert np.array_equal(np.array(decoded(message.png)), mask)
    assert sum(message.values["shares"]) == pytest.approx(100 * 250 / 2800, abs=0.02)


def test_large_frames_are_scaled_down_for_the_page_alone() -> None:
    size = Size(200, 2560)
    mask = np.zeros(size, np.uint8)
    mask[:, 1301:] = 5
    pixels = np.full((*size, 3), 90, np.uint8)
    other = Feed(
        "http://127.0.0.1:0?fps=50",
        options(size=size),
        lambda index: view(index, labels=mask, pixels=pixels),
    )

    with contextlib.closing(other), live(other.place) as connection:
        message = received(connection)
        whole = decoded(asked(f"http://{other.place}/labels.png")[2])

    assert decoded(message.jpeg).size == decoded(message.png).size == (1280, 100)
    assert np.array_equal(np.array(whole), mask)


def test_the_figures_are_those_of_each_camera() -> None:
    def make(index: int) -> FrameView:
        camera = index % 2
        counts = SourceCounts(captured=10 + index, dropped=3 + camera)
        stages = {"infer": 20.0 + camera, "post": 1.5}
        return view(
            index, camera=camera, counts=counts, age_ms=40 + camera, fps=25.0, stages_ms=stages
        )

    two = Feed("http://127.0.0.1:0?fps=50", options(cameras=("front", "back")), make)
    with contextlib.closing(two), live(two.place) as connection:
        received(connection, "hello")
        connection.send("watch 1")
        messages = [received(connection) for _ in range(8)]
        document = json.loads(asked(f"http://{two.place}/stats.json")[2])

    assert messages[-1].values["camera"] == 1
    assert document["schema"] == 1
    front, back = document["cameras"]
    assert (front["name"], back["name"]) == ("front", "back")
    assert (front["age_ms"], back["age_ms"]) == (40, 41)
    assert (front["dropped"], back["dropped"]) == (3, 4)
    assert back["stages_ms"] == {"infer": 21.0, "post": 1.5}
    assert back["fps"] == 25.0
    assert (
        messages[-1].values["cameras"][1]["captured"] > messages[2].values["cameras"][1]["captured"]
    )


def test_the_stream_for_players_is_drawn_as_asked(feed: Feed) -> None:
    picture, labels = street(3)

    shown = {
        name: np.array(_first_part(feed.place, name))
        for name in ("picture", "mask", "side-by-side")
    }

    assert psnr(shown["picture"], picture) > 30
    assert shown["side-by-side"].shape == (FRAME.height, 2 * FRAME.width, 3)
    assert psnr(shown["side-by-side"][:, : FRAME.width], picture) > 30
    top = slice(0, 30)  # above the legend
    assert psnr(shown["mask"][top], LABELS.palette()[labels][top]) > 20
    assert asked(f"http://{feed.place}/stream.mjpg?view=nothing")[0] == 400
    assert asked(f"http://{feed.place}/stream.mjpg?camera=7")[0] == 404


def test_nothing_is_encoded_where_nobody_looks(feed: Feed) -> None:
    with live(feed.place) as connection:
        received(connection)
    until(lambda: asked(f"http://{feed.place}/stats.json")[2].find(b'"viewers":0') > 0)
    before = feed.written
    until(lambda: feed.written > before + 20)
    encoded = threading.Event()
    publish, feed.sink._previews._publish = feed.sink._previews._publish, lambda *_: encoded.set()
    try:
        before = feed.written
        until(lambda: feed.written > before + 20)
    finally:
        feed.sink._previews._publish = publish

    assert not encoded.is_set()


def test_a_viewer_that_stalls_holds_up_nobody_and_is_let_go(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from websockets.exceptions import ConnectionClosed

    monkeypatch.setattr("edgeseg.video.sinks.page.viewer.STALLED_S", 0.3)
    with live(feed.place) as stalled, live(feed.place) as other:
        until(lambda: received(other).values["viewers"] == 2)
        seen = []
        until(lambda: not seen.append(received(other).values) and seen[-1]["viewers"] == 1)
        under_way = [stalled.recv(timeout=WAIT_S) for _ in range(2)]
        with pytest.raises(ConnectionClosed):  # not a third
            stalled.recv(timeout=WAIT_S)

    numbers = [values["index"] for values in seen]
    assert numbers == sorted(set(numbers))
    assert all(under_way)


def test_ten_viewers_are_all_served(feed: Feed) -> None:
    with contextlib.ExitStack() as stack:
        viewers = [stack.enter_context(live(feed.place)) for _ in range(10)]
        until(lambda: received(viewers[0]).values["viewers"] == 10)
        last = [received(viewer) for viewer in viewers]

    assert all(message.jpeg and message.png for message in last)
    assert feed.longest_write_s < 0.1


def test_a_page_that_pauses_gets_nothing_until_it_watches_again(feed: Feed) -> None:
    with live(feed.place) as connection:
        received(connection)
        connection.send("pause")
        under_way = _count_until_silence(connection)
        connection.send("watch 0")

        assert under_way <= 2
        assert received(connection).jpeg


def test_viewers_hear_from_the_server_where_no_frame_comes() -> None:
    sink: Any = open_sink("http://127.0.0.1:0", options())
    place = sink.url.partition("://")[2].rstrip("/")

    with contextlib.closing(sink), live(place) as connection:
        figures = received(connection, "figures").values

    assert figures["cameras"][0]["frames"] == 0
    assert figures["cameras"][0]["fps"] == 0


def test_closing_ends_all_at_once_and_lets_the_port_go() -> None:
    before = set(threading.enumerate())
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    made = Feed("http://127.0.0.1:0?fps=50", options())
    host, _, port = made.place.partition(":")

    with live(made.place) as viewer, socket.create_connection((host, int(port))) as idle:
        received(viewer)
        idle.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        start = time.monotonic()
        made.close()
        spent_s = time.monotonic() - start
        made.sink.close()

    again: Any = open_sink(f"http://127.0.0.1:{port}", options())
    again.close()
    assert spent_s < 5  # a second, where nothing else runs
    assert {thread for thread in threading.enumerate() if thread.is_alive()} <= {
        *before,
        *(thread for thread in threading.enumerate() if "websocket" in thread.name.lower()),
    }
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def _first_part(place: str, name: str) -> Any:
    """The first picture of the multipart stream."""
    connection = http.client.HTTPConnection(place, timeout=WAIT_S)
    with contextlib.closing(connection):
        connection.request("GET", f"/stream.mjpg?view={name}")
        answer = connection.getresponse()
        with answer:
            assert answer.getheader("content-type", "").startswith("multipart/x-mixed-replace")
            assert answer.readline().startswith(b"--")
            lines = list(iter(answer.readline, b"\r\n"))
            (length,) = [int(line[15:]) for line in lines if line.startswith(b"Content-Length:")]
            return decoded(answer.read(length))


def _count_until_silence(connection: Any) -> int:
    for count in range(10):
        try:
            connection.recv(timeout=0.5)
        except TimeoutError:
            return count
        connection.send("next")
    return 10


def test_a_server_that_does_not_start_is_told_before_the_run_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import uvicorn

    async def serve(_server: object, sockets: object = None) -> None:
        raise RuntimeError(f"no such protocol for {bool(sockets)}")

    monkeypatch.setattr(uvicorn.Server, "serve", serve)
    with pytest.raises(OutputError, match="does not start: no such protocol") as refused:
        open_sink("http://127.0.0.1:0", options())
    assert "edgeseg[serve]" in refused.value.fix
