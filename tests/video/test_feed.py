"""edgeseg.video.sources.feed: what waits while nobody decodes."""

import threading
from collections.abc import Iterator

import pytest
from av.packet import Packet

from edgeseg.errors import VideoError
from edgeseg.video.sources import feed
from edgeseg.video.sources.feed import Arrival, Feed


class Script:
    """A stream of packets that come at the times of a list; a key frame is written as negative."""

    decoder, fps = None, None

    def __init__(self, times_s: list[float], *, finite: bool = True) -> None:
        self.finite, self.closed = finite, threading.Event()
        self._times_s = times_s

    def arrivals(self, stopping: threading.Event) -> Iterator[Arrival]:
        del stopping
        for came_s in self._times_s:
            packet = Packet(b"x")
            packet.is_keyframe = came_s < 0
            yield Arrival(packet, abs(came_s))

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        self.closed.set()


def taken(script: Script) -> tuple[list[float], int]:
    """What is left when all came before anybody took one, and how many were given up."""
    reader = Feed(lambda: script, "a script")  # type: ignore[arg-type, return-value]
    assert reader.opened(5) is script
    with reader._wake:
        assert reader._wake.wait_for(lambda: reader._over, 5)
    came = []
    while (arrival := reader.next(5)) is not None:
        came.append(arrival.came_s)
    assert reader.ended
    reader.stop(5)
    assert script.closed.is_set()
    return came, reader.take_skipped()


def test_what_did_not_wait_long_is_all_there() -> None:
    assert taken(Script([-1.0, 1.03, 1.06, -1.09])) == ([1.0, 1.03, 1.06, 1.09], 0)


def test_a_key_frame_takes_the_place_of_what_waited() -> None:
    assert taken(Script([-1.0, 1.1, 1.2, -1.3, 1.35])) == ([1.3, 1.35], 3)


def test_what_grew_too_old_is_given_up_until_a_key_frame_comes() -> None:
    assert taken(Script([-1.0, 1.5, 2.1, 2.2, -2.3, 2.4])) == ([2.3, 2.4], 4)


def test_a_burst_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST_PACKETS", 3)
    assert taken(Script([-1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0])) == ([1.0, 1.0], 5)


def test_the_end_of_a_stream_without_an_end_is_its_loss() -> None:
    script = Script([-1.0], finite=False)
    reader = Feed(lambda: script, "a script")  # type: ignore[arg-type, return-value]
    assert reader.next(5) is not None
    with pytest.raises(VideoError, match="the server ended the stream"):
        reader.next(5)
    reader.stop(5)
    assert script.closed.is_set()


def test_what_opens_after_nobody_waits_any_more_is_closed() -> None:
    script, go = Script([-1.0]), threading.Event()

    def late() -> Script:
        go.wait(5)
        return script

    reader = Feed(late, "a script")  # type: ignore[arg-type]
    assert reader.opened(0.01) is None
    reader.stop(0.01)
    go.set()
    assert script.closed.wait(5)
