"""edgeseg.video.sources.http, with a real server on loopback."""

import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import UsageError, VideoError
from edgeseg.frames import FrameTime, Source
from edgeseg.types import PixelFormat, Pixels, Size
from edgeseg.video import SourceOptions, open_source
from edgeseg.video.sources import network
from tests.video.mjpeg_server import MjpegServer, grey_level, jpeg

WriteClip = Callable[..., Path]
LEVELS = range(20, 236)
"""What the pictures of a test show, one level after the other."""


def rising() -> Iterator[bytes]:
    """Pictures whose grey level says which one it is."""
    for level in itertools.cycle(LEVELS):
        yield grey_level(level)
        time.sleep(0.02)


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    running = MjpegServer(rising)
    yield running
    running.stop()


def uri(server: MjpegServer, path: str, user: str = "") -> str:
    return f"http://{user and f'{user}@'}127.0.0.1:{server.port}/{path}"


def read(source: Source) -> tuple[Pixels, FrameTime]:
    pixels = np.empty(source.info.pixel_format.frame_shape(source.info.size), np.uint8)
    moment = source.read_into(pixels)
    assert moment is not None
    return pixels, moment


def levels_of(source: Source, count: int) -> list[int]:
    return [int(read(source)[0].mean().round()) for _ in range(count)]


@pytest.mark.parametrize("path", ["video", "unsized", "chunked"])
def test_every_kind_of_part_is_read(server: MjpegServer, path: str) -> None:
    source = open_source(uri(server, path))
    found = levels_of(source, 6)
    source.close()
    assert source.info.size == Size(48, 64)
    assert set(found) <= set(LEVELS)
    assert found == sorted(set(found))


def test_a_picture_is_there_before_the_next_one_is_sent(server: MjpegServer) -> None:
    over = threading.Event()

    def slow() -> Iterator[bytes]:
        yield grey_level(80)
        over.wait(30)

    server.parts = slow
    source = open_source(uri(server, "unsized"))
    assert levels_of(source, 1) == [80]
    began_s = time.monotonic()
    source.close()
    assert time.monotonic() - began_s < 3
    over.set()


def test_damaged_pictures_are_counted_and_left_out(server: MjpegServer) -> None:
    noise = jpeg(np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8))
    damaged = [noise[: len(noise) // 2], b"no picture", noise[:2000] + noise[3000:]]

    def parts() -> Iterator[bytes]:
        yield grey_level(20)
        yield from damaged
        while True:
            yield grey_level(24)
            time.sleep(0.01)

    server.parts = parts
    wanted = SourceOptions()
    source = open_source(uri(server, "video"), wanted)
    assert set(levels_of(source, 4)) <= {20, 24}
    source.close()
    assert wanted.counts.damaged == len(damaged)


def test_grey_pictures_and_other_sizes_are_taken(server: MjpegServer) -> None:
    def parts() -> Iterator[bytes]:
        for size in itertools.chain([(48, 64)], itertools.repeat((96, 128))):
            yield jpeg(np.full(size, 77, np.uint8))
            time.sleep(0.01)

    server.parts = parts
    wanted = SourceOptions()
    source = open_source(uri(server, "video"), wanted)
    assert levels_of(source, 4) == [77] * 4
    source.close()
    assert source.info.size == Size(48, 64)
    assert wanted.counts.resized > 0


def test_planes_come_as_they_were_sent(server: MjpegServer) -> None:
    wanted = SourceOptions(pixel_format=PixelFormat.I420, yuv="bt601-full")
    source = open_source(uri(server, "video"), wanted)
    pixels, _ = read(source)
    source.close()
    assert int(pixels[0, 0]) in LEVELS
    assert wanted.counts.converted == 0


def test_a_server_that_restarts_is_opened_again(server: MjpegServer) -> None:
    wanted = SourceOptions(patience_s=20)
    source = open_source(uri(server, "video"), wanted)
    seen = [read(source)]
    for epoch in range(1, 4):
        server.drop()
        while seen[-1][1].epoch < epoch:
            seen.append(read(source))
    source.close()
    assert wanted.counts.reconnects == 3
    moments = [moment for _, moment in seen]
    assert [moment.epoch for moment in moments] == sorted(moment.epoch for moment in moments)
    for name in ("captured_s", "index"):
        values = [getattr(moment, name) for moment in moments]
        assert values == sorted(set(values))
    firsts = {moment.epoch: int(pixels.mean().round()) for pixels, moment in reversed(seen)}
    assert firsts[3] < LEVELS[len(LEVELS) // 2]  # the server began anew


@pytest.mark.parametrize("path", ["basic", "digest"])
def test_a_user_is_let_in(server: MjpegServer, path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    source = open_source(uri(server, path, user="user:pa%3Ass%40w"))
    assert levels_of(source, 1)[0] in LEVELS
    server.drop()
    while read(source)[1].epoch == 0:
        pass
    source.close()
    assert source.info.name == uri(server, path, user="user:***")
    assert "ss%40w" not in caplog.text
    assert "ss@w" not in caplog.text


@pytest.mark.parametrize("path", ["basic", "digest"])
def test_a_wrong_or_missing_password_is_named_and_not_shown(server: MjpegServer, path: str) -> None:
    with pytest.raises(VideoError, match="does not accept this user") as refused:
        open_source(uri(server, path, user="user:guess"))
    assert "guess" not in str(refused.value)
    with pytest.raises(VideoError, match=r"401.*\n.*http://USER:PASSWORD@HOST"):
        open_source(uri(server, path))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "404"),
        ("forbidden", "403"),
        ("snapshot", r"single picture \(image/jpeg\)"),
        ("page", r"a page \(text/html\)"),
        ("nothing", "cannot be opened: Invalid data"),
    ],
)
def test_what_is_no_video_says_why(server: MjpegServer, path: str, message: str) -> None:
    with pytest.raises(VideoError, match=message):
        open_source(uri(server, path))


def test_a_port_at_which_nobody_listens_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(VideoError, match="cannot be reached: nobody answers"):
            open_source(f"http://127.0.0.1:{free.getsockname()[1]}/x")


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(VideoError, match=r"cannot be reached: camera\.invalid"):
        open_source("http://me:secret@camera.invalid/x")


def test_a_server_that_says_nothing_is_not_waited_for(
    server: MjpegServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "ANSWER_S", 0.2)
    with pytest.raises(VideoError, match="sent nothing"):
        open_source(uri(server, "silent"))


def test_an_option_is_refused() -> None:
    with pytest.raises(UsageError, match="takes no options"):
        open_source("http://127.0.0.1:1/x#transport=udp")


def test_a_clip_is_played_once_at_its_own_rate(server: MjpegServer, write_clip: WriteClip) -> None:
    frames = [np.full((72, 64), 16 + 10 * index, np.uint8) for index in range(15)]
    server.files["/clip.mkv"] = write_clip(frames, width=64, height=48)
    wanted = SourceOptions(pixel_format=PixelFormat.I420)
    source = open_source(uri(server, "clip.mkv"), wanted)
    pixels, moments, lumas = np.empty((72, 64), np.uint8), [], []
    while (moment := source.read_into(pixels)) is not None:
        moments.append(moment)
        lumas.append(int(pixels[0, 0]))
    source.close()
    assert lumas == sorted(set(lumas))
    assert lumas[-1] == 16 + 10 * 14
    assert wanted.counts.captured == 15
    assert moments[-1].captured_s - moments[0].captured_s >= 0.9 * 14 / 25
