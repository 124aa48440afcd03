"""Live sources through the whole loop: the newest frame, exact counts, several cameras, the end."""

import itertools
import json
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgeseg.engine import Engine
from edgeseg.errors import OutputError, UsageError, VideoError
from edgeseg.run import run
from edgeseg.sources import Timing
from edgeseg.stream import stream
from edgeseg.types import Slot
from edgeseg.video import SINKS, SOURCES, SourceOptions
from edgeseg.video.capture import Capture
from tests.small import RecordingSink
from tests.video.cameras import ToldCamera

pytestmark = pytest.mark.needs("openvino", "av", "cv2", "onnx")

SMALL = "null://?seconds=1&size=128x96"


@pytest.fixture(autouse=True)
def _sinks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("recording", "breaking"):
        monkeypatch.setitem(SINKS, name, f"tests.small:open_{name}")
    monkeypatch.setattr(RecordingSink, "opened", [])


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame takes 50 ms."""
    launch = Engine.launch

    def slowly(self: Engine, slot: Slot) -> None:
        time.sleep(0.05)
        launch(self, slot)

    monkeypatch.setattr(Engine, "launch", slowly)


def test_what_is_played_at_a_rate_drops_nothing_where_the_engine_keeps_up(small_null: Path) -> None:
    done = run(small_null, SMALL, timing=Timing(rate=Fraction(50)))

    (camera,) = done.cameras
    assert camera.live
    assert camera.counts.captured == 50
    assert camera.frames + camera.counts.dropped == 50
    assert done.seconds > 0.9


@pytest.mark.usefixtures("slow")
def test_an_overloaded_loop_drops_and_counts_exactly_and_its_results_stay_fresh(
    small_null: Path,
) -> None:
    indices, ages = [], []
    frames = stream(small_null, SMALL, timing=Timing(rate=Fraction(120)), workers=2)

    for result in frames:
        indices.append(result.time.index)
        ages.append(result.age_ms)

    counts = frames.source.counts  # type: ignore[attr-defined]
    assert counts.captured == len(indices) + counts.dropped
    assert counts.dropped > len(indices)
    assert indices == sorted(set(indices))
    assert np.median(ages) < 4 * 50  # a backlog of all would be seconds
    gaps = sum(b - a - 1 for a, b in itertools.pairwise(indices))
    assert gaps <= counts.dropped


@pytest.mark.usefixtures("slow")
def test_results_that_are_too_old_are_left_out_and_counted(small_null: Path) -> None:
    with pytest.raises(VideoError, match="has no frame"):
        run(small_null, SMALL, timing=Timing(rate=Fraction(60), max_age_ms=10))

    frames = stream(small_null, SMALL, timing=Timing(rate=Fraction(60), max_age_ms=4000))
    delivered = sum(1 for _ in frames)
    counts = frames.source.counts  # type: ignore[attr-defined]
    assert delivered + counts.dropped + counts.late == counts.captured


@pytest.mark.usefixtures("slow")
def test_two_sources_share_an_engine_fairly(small_null: Path) -> None:
    done = run(small_null, [SMALL, SMALL], timing=Timing(rate=Fraction(60)), workers=2)

    first, second = done.cameras
    assert abs(first.frames - second.frames) <= 2
    for camera in (first, second):
        assert camera.frames + camera.counts.dropped == camera.counts.captured
    assert (first.name, second.name) == ("null", "null")


def test_files_of_several_sources_lose_nothing_and_a_sink_for_each_gets_its_own(
    small_null: Path,
) -> None:
    sources = [f"synthetic://?seconds={n}/30&size=128x96&seed={n}" for n in (3, 5)]

    done = run(small_null, sources, ["recording://{camera}"], workers=2)

    assert [camera.frames for camera in done.cameras] == [3, 5]
    assert [len(sink.labels) for sink in RecordingSink.opened] == [3, 5]
    assert all(sink.closed for sink in RecordingSink.opened)


def test_sources_after_the_first_come_in_its_size(small_null: Path) -> None:
    shapes = {
        (result.camera, result.labels.shape)
        for result in stream(
            small_null, ["null://?seconds=0.1&size=128x96", "synthetic://?seconds=0.1"]
        )
    }

    assert shapes == {(0, (96, 128)), (1, (96, 128))}


def test_a_run_ends_after_the_seconds_it_was_given(small_null: Path) -> None:
    began = time.monotonic()
    done = run(
        small_null,
        "null://?seconds=1000&size=128x96",
        timing=Timing(rate=Fraction(30), seconds=0.5),
    )

    assert 0 < done.frames <= 17
    counts = done.cameras[0].counts
    assert counts.captured == done.frames + counts.dropped + counts.late
    assert time.monotonic() - began < 8


def test_a_window_that_was_closed_ends_the_run(small_null: Path) -> None:
    def closed(self: RecordingSink) -> bool:
        return len(self.labels) == 5

    RecordingSink.wants_to_stop = property(closed)  # type: ignore[attr-defined]
    try:
        done = run(small_null, "null://?seconds=1000&size=128x96", ["recording://"])
    finally:
        del RecordingSink.wants_to_stop  # type: ignore[attr-defined]

    assert done.frames == 5


def test_a_sink_that_breaks_ends_a_live_run_at_once(small_null: Path) -> None:
    with pytest.raises(OutputError, match="the disk is full"):
        run(
            small_null,
            "null://?seconds=1000&size=128x96",
            ["breaking://", "recording://"],
            timing=Timing(rate=Fraction(60)),
        )

    assert RecordingSink.opened[0].closed


def test_no_frame_is_shown_under_the_time_of_another_through_reconnects(
    small_null: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras: list[ToldCamera] = []

    def open_told(_rest: str, wanted: SourceOptions) -> Capture:
        def opened(_size: object) -> ToldCamera:
            cameras.append(ToldCamera())
            number = len(cameras)
            end = VideoError("pulled") if number < 4 else None
            cameras[-1].show(*range(10 * number, 10 * number + 5), end)
            return cameras[-1]

        return Capture(opened, wanted)

    monkeypatch.setattr("edgeseg.video.capture.FIRST_WAIT_S", 0.02)
    monkeypatch.setattr("tests.video.cameras.SIZE", (96, 128))
    monkeypatch.setitem(SOURCES, "told", f"{__name__}:_told")
    monkeypatch.setattr(sys.modules[__name__], "_told", open_told, raising=False)

    shown = [
        (r.time.epoch, int(r.pixels.max()), r.time.captured_s)
        for r in stream(small_null, "told://")
    ]

    assert [value // 10 - 1 for _, value, _ in shown] == [epoch for epoch, _, _ in shown]
    assert {epoch for epoch, _, _ in shown} == {0, 1, 2, 3}
    assert [when for _, _, when in shown] == sorted(when for _, _, when in shown)


@pytest.mark.parametrize(
    ("field", "text"), [("max_age_ms", "--max-age"), ("patience_s", "--patience")]
)
def test_times_that_are_none_are_refused(field: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Timing(**{field: 0})


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_live_run_within_a_second_and_its_file_plays(
    small_null: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    target = tmp_path / "out.mkv"
    statistics = tmp_path / "stats.jsonl"
    running = subprocess.Popen(
        [sys.executable, "-m", "edgeseg", "run", str(small_null),
         "synthetic://?size=128x96&seconds=600", str(target), "--rate", "30",
         "--codec", "mpeg4", "--stats", str(statistics)],
        stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        end_s = time.monotonic() + 60
        while not statistics.exists() or statistics.read_text().count("\n") < 5:
            assert running.poll() is None, running.stderr
            assert time.monotonic() < end_s
            time.sleep(0.05)
        began = time.monotonic()
        running.send_signal(ending)
        running.communicate(timeout=30)
        took_s = time.monotonic() - began
    finally:
        running.kill()

    assert running.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[ending]
    assert took_s < 3, "the loop waits for something"  # 1 s on a machine of its own
    import av

    with av.open(str(target)) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 5
    lines = [json.loads(line) for line in statistics.read_text().splitlines()]
    assert all(line["schema"] == 1 for line in lines)
