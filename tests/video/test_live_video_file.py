"""edgeseg.video.sinks.video_file, for frames that come when they like."""

import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edgeseg.frames import FrameTime
from edgeseg.types import Size
from edgeseg.video.sinks import FrameView
from edgeseg.video.sinks.video_file import VideoFileSink

SIZE = Size(64, 96)


def view(index: int, color: tuple[int, int, int] = (200, 60, 30)) -> FrameView:
    picture = np.empty((*SIZE, 3), np.uint8)
    picture[:] = color
    return FrameView(index=index, picture=picture, labels=picture[..., 0])


def shown_at(path: Path) -> list[float]:
    """When the pictures are shown; in AVI, whose readers guess it, where their packets stand."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size]
        places = [packet.dts if path.suffix == ".avi" else packet.pts for packet in found]
        return sorted(float(place * found[0].time_base) for place in places)


LIVE = pytest.mark.parametrize(
    ("name", "codec", "within_s"),
    [
        ("out.mp4", "libx264", 0.0001),
        ("out.mp4", "mpeg4", 0.0001),
        ("out.mkv", "libx264", 0.001),
        ("out.avi", "libx264", 0.02),
    ],
)


@LIVE
def test_live_frames_are_shown_when_they_were_captured(
    name: str, codec: str, within_s: float, tmp_path: Path
) -> None:
    sink = VideoFileSink(tmp_path / name, size=SIZE, fps=Fraction(30), codec=codec, live=True)
    captured = [*np.arange(20) / 30, *(5.713 + np.arange(20) / 25)]
    for index, at_s in enumerate(captured):
        when = FrameTime(index * 3, 100 + at_s, 7 + at_s)
        sink.write(dataclasses.replace(view(index * 3, (200, 60, index * 6)), time=when))
    sink.close()
    with av.open(str(tmp_path / name)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert shown_at(tmp_path / name) == pytest.approx(captured, abs=within_s + 1e-9)
    blues = [float(picture[..., 2].mean()) for picture in pictures]
    assert blues == pytest.approx([index * 6 for index in range(40)], abs=8)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_live_frames_of_one_moment_follow_each_other(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    sink = VideoFileSink(path, size=SIZE, fps=Fraction(30), live=True)
    for index in range(8):
        sink.write(dataclasses.replace(view(index), time=FrameTime(index, 100, 3 - index * 1e-5)))
    sink.close()
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert len(times) == 8
    assert np.all(np.diff(times) > 0)


def test_avi_outlasts_an_outage_of_an_hour(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    sink = VideoFileSink(path, size=SIZE, fps=Fraction(30), live=True)
    for index, at_s in enumerate((0.0, 0.1, 3600.0, 3600.1)):
        sink.write(dataclasses.replace(view(index), time=FrameTime(index, at_s, at_s)))
    sink.close()
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 4


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_pixels_that_are_not_square_are_written_as_such(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    sink = VideoFileSink(path, size=SIZE, fps=Fraction(30), pixel_aspect=Fraction(16, 11))
    sink.write(view(0))
    sink.close()
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)
