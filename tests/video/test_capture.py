import logging
import threading
import time
from dataclasses import replace
from fractions import Fraction

import pytest

from edgeseg.cameras import Cameras
from edgeseg.errors import VideoError
from edgeseg.frames import LiveSource, Source
from edgeseg.types import Size
from edgeseg.video import SourceOptions, capture
from edgeseg.video.capture import Capture
from tests.video.cameras import SIZE, ToldCamera, frame_memory, wait_until


class Opener:
    """Opens told cameras, one after the other; raises where `failures` are left."""

    def __init__(self, failures: int = 0) -> None:
        self.cameras: list[ToldCamera] = []
        self.sizes: list[Size | None] = []
        self.failures = failures

    def __call__(self, size: Size | None) -> ToldCamera:
        self.sizes.append(size)
        if self.cameras and self.failures:
            self.failures -= 1
            raise VideoError("nobody answers")
        self.cameras.append(ToldCamera(size))
        return self.cameras[-1]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(capture, "POLL_S", 0.02)


def test_the_newest_frame_wins_and_every_other_one_is_counted() -> None:
    opener, options = Opener(), SourceOptions()
    source = Capture(opener, options)
    (camera,) = opener.cameras
    pixels = frame_memory()

    camera.show(1, 2, 3, 4, 5)
    wait_until(lambda: options.counts.captured == 5)
    moment = source.read_into(pixels)

    assert moment is not None
    assert (moment.index, pixels.max()) == (4, 5)
    assert options.counts.dropped == 4
    camera.show(6, None)
    moment = source.read_into(pixels)
    assert moment is not None
    assert (moment.index, pixels.min()) == (5, 6)
    assert source.read_into(pixels) is None
    source.close()
    assert (options.counts.captured, options.counts.dropped) == (6, 4)
    assert camera.held == set()
    assert camera.closed == 1


def test_a_frame_that_nobody_took_counts_as_dropped_in_the_end() -> None:
    opener, options = Opener(), SourceOptions()
    source = Capture(opener, options)

    opener.cameras[0].show(1, 2)
    wait_until(lambda: options.counts.captured == 2)
    source.close()
    source.close()

    assert options.counts.dropped == 2
    assert opener.cameras[0].held == set()
    assert source.read_into(frame_memory()) is None


def test_a_capture_is_a_live_source_and_says_so() -> None:
    source = Capture(Opener(), SourceOptions())

    assert isinstance(source, LiveSource)
    assert source.info.live
    source.close()


def test_a_lost_camera_is_opened_again_in_its_first_size_and_starts_a_new_epoch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    opener, options = Opener(failures=2), SourceOptions()
    source = Capture(opener, options)
    pixels = frame_memory()
    opener.cameras[0].show(1)
    before = source.read_into(pixels)

    opener.cameras[0].show(VideoError("the cable was pulled"))
    wait_until(lambda: options.counts.reconnects == 1)
    opener.cameras[1].show(2)
    after = source.read_into(pixels)

    assert before is not None
    assert after is not None
    assert pixels.max() == 2
    assert (before.epoch, after.epoch) == (0, 1)
    assert after.index == 1
    assert after.captured_s > before.captured_s
    assert after.pts_s == pytest.approx(after.captured_s - before.captured_s)
    assert opener.sizes == [None, SIZE, SIZE, SIZE]
    assert opener.cameras[0].closed == 1
    assert "told is lost: the cable was pulled" in caplog.text
    assert "told is back" in caplog.text
    source.close()


def test_a_camera_that_does_not_come_back_ends_the_source_after_the_patience() -> None:
    source = Capture(opener := Opener(failures=1000), SourceOptions(patience_s=0.1))

    opener.cameras[0].show(VideoError("the cable was pulled"))

    with pytest.raises(VideoError, match=r"told did not come back .* nobody answers"):
        source.read_into(frame_memory())
    source.close()


def test_a_camera_that_cannot_be_opened_at_all_is_an_error_at_once() -> None:
    def refuse(_size: Size | None) -> ToldCamera:
        raise VideoError("no such camera")

    with pytest.raises(VideoError, match="no such camera"):
        Capture(refuse, SourceOptions())


def test_a_silent_camera_is_reported_and_then_opened_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(capture, "QUIET_S", 0.05)
    monkeypatch.setattr(capture, "STALLED_S", 0.3)
    options = SourceOptions()
    source = Capture(Opener(), options)

    wait_until(lambda: options.counts.reconnects >= 1)

    assert "no frame from told for" in caplog.text
    assert "told is silent" in caplog.text
    source.close()


def test_a_frame_that_is_too_old_is_left_out_and_counted() -> None:
    opener, options = Opener(), SourceOptions(max_age_s=0.05)
    source = Capture(opener, options)

    opener.cameras[0].show(1)
    wait_until(lambda: options.counts.captured == 1)
    time.sleep(0.06)

    assert not source.is_ready
    assert (options.counts.late, options.counts.dropped) == (1, 0)
    source.close()


def test_a_frame_that_cannot_be_decoded_is_counted_and_the_next_one_comes() -> None:
    opener, options = Opener(), SourceOptions()
    source = Capture(opener, options)
    pixels = frame_memory()

    opener.cameras[0].show(-1)
    threading.Timer(0.05, opener.cameras[0].show, [7]).start()
    moment = source.read_into(pixels)

    assert moment is not None
    assert pixels.max() == 7
    assert options.counts.damaged == 1
    assert opener.cameras[0].held == set()
    source.close()
    assert (options.counts.captured, options.counts.dropped) == (2, 1)


def test_a_slow_source_that_says_its_rate_is_not_taken_for_a_silent_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(capture, "QUIET_S", 0.02)
    monkeypatch.setattr(capture, "STALLED_S", 0.05)
    opener, options = Opener(), SourceOptions()

    def slow(size: Size | None) -> ToldCamera:
        camera = opener(size)
        camera.info = replace(camera.info, fps=Fraction(1, 4))
        return camera

    source = Capture(slow, options)
    time.sleep(0.2)
    source.close()

    assert "no frame" not in caplog.text
    assert options.counts.reconnects == 0


def test_another_size_in_mid_stream_starts_a_new_epoch_and_is_counted() -> None:
    opener, options = Opener(), SourceOptions()
    source = Capture(opener, options)
    (camera,) = opener.cameras
    pixels = frame_memory()
    epochs = []

    for size in (SIZE, Size(4, 4), Size(4, 4), SIZE):
        camera.info = camera.info.__class__(size=size, fps=None, name="told")
        camera.show(1)
        moment = source.read_into(pixels)
        assert moment is not None
        epochs.append(moment.epoch)

    assert epochs == [0, 1, 1, 2]
    assert options.counts.resized == 2
    source.close()


def test_closing_wakes_whoever_waits_and_does_not_wait_for_a_driver_that_hangs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    hangs = threading.Event()

    class Hanging(ToldCamera):
        def grab(self, _timeout_s: float) -> None:
            hangs.wait(20)

    source = Capture(lambda size: Hanging(size), SourceOptions())
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(source.read_into(frame_memory())))
    waiting.start()

    began = time.monotonic()
    source.close()
    waiting.join(5)

    assert found == [None]
    assert time.monotonic() - began < 1
    hangs.set()


def test_drivers_that_hang_are_given_up_together_and_once() -> None:
    hangs = threading.Event()

    class Hanging(ToldCamera):
        def grab(self, timeout_s: float) -> None:
            hangs.wait(20 + timeout_s)

    wake = threading.Condition()
    sources: list[Source] = [
        Capture(lambda size: Hanging(size), SourceOptions(wake=wake)) for _ in range(8)
    ]
    cameras = Cameras(sources, wake)

    began = time.monotonic()
    cameras.close()
    capture._close_all()
    took_s = time.monotonic() - began
    hangs.set()

    assert took_s < 4 * capture.CLOSE_S  # one after the other it would be eight times that
