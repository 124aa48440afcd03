"""edgeseg.video.sinks.video_file."""

import contextlib
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edgeseg.errors import OutputError, UsageError
from edgeseg.frames import Source
from edgeseg.types import Labels, Pixels, Size
from edgeseg.video.sinks import FrameView, SinkOptions
from edgeseg.video.sinks import video_file as module
from edgeseg.video.sinks.video_file import VideoFileSink
from edgeseg.video.sources.video_file import VideoFile

ReadAll = Callable[[Source], list[Pixels]]
SIZE = Size(64, 96)
NTSC = Fraction(30000, 1001)
NOISE_MEAN = 127.5


def view(index: int, color: tuple[int, int, int] = (200, 60, 30), size: Size = SIZE) -> FrameView:
    picture = np.empty((*size, 3), np.uint8)
    picture[:] = color
    return FrameView(index=index, picture=picture, labels=picture[..., 0])


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file of this process may grow further."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def write_noise(sink: VideoFileSink, frames: int) -> None:
    for index in range(frames):
        picture = np.random.default_rng(index).integers(0, 256, (*SIZE, 3), np.uint8)
        sink.write(FrameView(index=index, picture=picture, labels=picture[..., 0]))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_what_is_written_reads_back(
    suffix: str, codec: str, tmp_path: Path, read_all: ReadAll
) -> None:
    path = tmp_path / f"out{suffix}"
    sink = VideoFileSink(path, size=SIZE, fps=NTSC, codec=codec)
    for index in range(30):
        sink.write(view(index, (200, 60, index * 8)))
    sink.close()
    source = VideoFile(path)
    assert (source.info.size, source.info.fps) == (SIZE, NTSC)
    frames = read_all(source)
    assert len(frames) == 30
    for index, frame in enumerate(frames):
        assert np.abs(frame.astype(int) - (200, 60, index * 8)).max() <= 8


def test_frames_left_out_leave_a_gap_in_time(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoFileSink(path, size=SIZE, fps=Fraction(10))
    for index in (5, 6, 9):
        sink.write(view(index))
    sink.close()
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([0, 0.1, 0.4])


def test_odd_sizes_lose_one_row_and_column(tmp_path: Path, read_all: ReadAll) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoFileSink(path, size=Size(65, 97), fps=NTSC)
    sink.write(view(0, size=Size(65, 97)))
    sink.close()
    (frame,) = read_all(VideoFile(path))
    assert frame.shape == (64, 96, 3)


def test_mpeg4_takes_a_rate_it_cannot_say_exactly(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    fps = Fraction(10_000_000, 333_667)
    sink = VideoFileSink(path, size=SIZE, fps=fps, codec="mpeg4")
    sink.write(view(0))
    sink.write(view(1))
    sink.close()
    got = VideoFile(path).info.fps
    assert got is not None
    assert float(got) == pytest.approx(float(fps), rel=1e-4)


def test_the_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"what was there before")
    sink = VideoFileSink(path, size=SIZE, fps=NTSC)
    sink.write(view(0))
    assert path.read_bytes() == b"what was there before"
    sink.close()
    sink.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"]
    assert VideoFile(path).info.frames == 1


def test_an_interrupted_run_leaves_a_file_that_plays(tmp_path: Path, read_all: ReadAll) -> None:
    path = tmp_path / "out.mp4"

    def interrupted_run() -> None:
        with contextlib.closing(VideoFileSink(path, size=SIZE, fps=NTSC)) as sink:
            for index in range(7):
                sink.write(view(index))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_run()
    assert len(read_all(VideoFile(path))) == 7


def test_targets_that_cannot_be_written_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="is a folder"):
        VideoFileSink(tmp_path / "folder.mp4", size=SIZE, fps=NTSC)
    with pytest.raises(OutputError, match="cannot be written") as caught:
        VideoFileSink(tmp_path / "file" / "out.mp4", size=SIZE, fps=NTSC)
    assert caught.value.exit_code == 9
    with pytest.raises(OutputError, match="cannot be written"):
        VideoFileSink(Path("/proc/out.mp4"), size=SIZE, fps=NTSC)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_a_full_disk_keeps_what_was_written_and_that_plays(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    sink = VideoFileSink(path, size=SIZE, fps=NTSC)
    with files_up_to(200_000):
        with pytest.raises(OutputError, match=r"any more: File too large; .* plays") as got:
            write_noise(sink, 300)
        sink.close()
    assert got.value.exit_code == 9
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_size <= 200_000
    with av.open(str(path)) as container:
        means = [frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)]
    assert len(means) > 20
    assert means == pytest.approx([NOISE_MEAN] * len(means), abs=3)
    with pytest.raises(OutputError, match="closed"):
        sink.write(view(0))


def test_a_disk_that_is_full_before_the_first_picture_leaves_nothing(tmp_path: Path) -> None:
    sink = VideoFileSink(tmp_path / "out.mp4", size=SIZE, fps=NTSC)
    with files_up_to(500), pytest.raises(OutputError, match="cannot be written: File too large"):
        write_noise(sink, 300)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_at_the_very_end_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoFileSink(path, size=SIZE, fps=NTSC)
    write_noise(sink, 100)
    (temporary,) = tmp_path.iterdir()
    with files_up_to(temporary.stat().st_size + 100), pytest.raises(OutputError, match="plays"):
        sink.close()
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 30


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_what_a_killed_run_leaves_behind_plays(suffix: str, tmp_path: Path) -> None:
    sink = VideoFileSink(tmp_path / f"out{suffix}", size=SIZE, fps=NTSC)
    write_noise(sink, 150)
    (temporary,) = tmp_path.iterdir()
    assert temporary.name.startswith(f".out{suffix}.")
    left = tmp_path / f"left{suffix}"
    left.write_bytes(temporary.read_bytes())
    decoded = 0
    with av.open(str(left)) as container, contextlib.suppress(av.InvalidDataError):
        for _ in container.decode(video=0):
            decoded += 1
    sink.close()
    assert decoded >= 60


def test_a_full_disk_is_told_at_the_latest_by_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def on_full_disk(path: Path) -> Iterator[Path]:
        link = path.with_name("link.mp4")
        link.symlink_to("/dev/full")
        try:
            yield link
        finally:
            link.unlink()

    monkeypatch.setattr(module, "whole", on_full_disk)
    sink = None
    with pytest.raises(OutputError, match="No space left on device"):  # noqa: PT012 - when is open
        sink = VideoFileSink(tmp_path / "out.mp4", size=SIZE, fps=NTSC)
        sink.write(view(0))
        sink.close()
    if sink is not None:
        sink.close()
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_another_size_are_refused(tmp_path: Path) -> None:
    sink = VideoFileSink(tmp_path / "out.mp4", size=SIZE, fps=NTSC)
    with pytest.raises(UsageError, match="96x64"):
        sink.write(view(0, size=Size(32, 32)))
    sink.close()


def test_a_source_without_a_rate_is_written_at_30(tmp_path: Path, three_labels: Labels) -> None:
    wanted = SinkOptions(size=SIZE, fps=None, labels=three_labels)
    sink = module.open_video_file(str(tmp_path / "out.mkv"), wanted)
    for index in range(4):
        sink.write(view(index))
    sink.close()
    assert VideoFile(tmp_path / "out.mkv").info.fps == 30


def test_nothing_of_a_frames_size_is_allocated(tmp_path: Path) -> None:
    size = Size(480, 640)
    sink = VideoFileSink(tmp_path / "out.mp4", size=size, fps=NTSC)
    frame = view(0, size=size)
    sink.write(frame)
    tracemalloc.start()
    for index in range(1, 6):
        sink.write(FrameView(index=index, picture=frame.picture, labels=frame.labels))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    sink.close()
    assert peak < 100_000


def test_the_picture_may_be_painted_over_after_write(tmp_path: Path, read_all: ReadAll) -> None:
    path = tmp_path / "out.mkv"
    sink = VideoFileSink(path, size=SIZE, fps=NTSC)
    frame = view(0)
    for index, grey in enumerate((40, 120, 220)):
        frame.picture[:] = grey
        sink.write(FrameView(index=index, picture=frame.picture, labels=frame.labels))
    sink.close()
    means = [float(got.mean()) for got in read_all(VideoFile(path))]
    assert means == pytest.approx([40, 120, 220], abs=3)
