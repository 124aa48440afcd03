"""Live sources through the whole loop: the newest frame, exact counts, several cameras, the end."""

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg import loop
from edgeseg.cli.run_verb import command
from edgeseg.engine import Engine
from edgeseg.errors import OutputError, UsageError, VideoError
from edgeseg.loop import Result
from edgeseg.run import RunSummary, run
from edgeseg.sources import Timing
from edgeseg.stream import stream
from edgeseg.types import Size, Slot
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
    frames = stream(small_null, SMALL, timing=Timing(rate=Fraction(60), max_age_ms=4000))
    delivered = sum(1 for _ in frames)
    counts = frames.source.counts  # type: ignore[attr-defined]
    assert delivered + counts.dropped + counts.late == counts.captured


@pytest.mark.usefixtures("slow")
def test_a_greatest_age_that_no_result_keeps_is_named(small_null: Path) -> None:
    timing = Timing(rate=Fraction(60), max_age_ms=10, seconds=0.3)

    with pytest.raises(VideoError, match=r"every frame of null was too old.*\n.*--max-age"):
        run(small_null, SMALL, timing=timing)


def test_a_worker_that_breaks_ends_the_run_though_no_frame_comes_any_more(
    small_null: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other worker waits for a frame, and would for ever."""
    camera = ToldCamera(Size(96, 128))
    camera.show(1)
    source = Capture(lambda _size: camera, SourceOptions())

    def breaks(_engine: Engine, _slot: Slot) -> None:
        time.sleep(0.1)  # until the other one waits
        raise RuntimeError("the driver went away")

    monkeypatch.setattr(Engine, "launch", breaks)
    frames = stream(small_null, source, workers=2)
    failed: list[BaseException] = []

    def consume() -> None:
        try:
            next(iter(frames))
        except RuntimeError as error:
            failed.append(error)

    consumer = threading.Thread(target=consume, daemon=True)
    consumer.start()
    consumer.join(5)
    camera.show(2)  # lets what hangs end

    assert [str(error) for error in failed] == ["the driver went away"]


def test_an_interrupted_run_does_not_wait_for_a_frame_that_takes_long_and_counts_it(
    small_null: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch, count = Engine.launch, itertools.count()
    began, goes_on = threading.Event(), threading.Event()

    def hangs(self: Engine, slot: Slot) -> None:
        if next(count) >= 3:
            began.set()
            goes_on.wait(8)
        launch(self, slot)

    monkeypatch.setattr(Engine, "launch", hangs)
    ended: list[RunSummary] = []
    began_s = 0.0

    def interrupt(_step: str, done: int, _total: int | None) -> None:
        nonlocal began_s
        if done == 3:
            assert began.wait(10)
            began_s = time.monotonic()
            raise KeyboardInterrupt

    timing = Timing(rate=Fraction(60))
    endless = "null://?seconds=1000&size=128x96"
    try:
        with pytest.raises(KeyboardInterrupt):
            run(small_null, endless, timing=timing, on_progress=interrupt,
                on_interrupt=ended.append)  # fmt: skip
        took_s = time.monotonic() - began_s
        assert any(thread.name.startswith("worker-") for thread in threading.enumerate())
    finally:
        goes_on.set()
    loop._stop_all()

    assert took_s < 5
    assert not any(thread.name.startswith("worker-") for thread in threading.enumerate())
    counts = ended[0].cameras[0].counts
    assert ended[0].frames == 3
    assert counts.captured == 3 + counts.dropped


@pytest.mark.usefixtures("slow")
def test_two_sources_share_an_engine_fairly(small_null: Path) -> None:
    done = run(small_null, [SMALL, SMALL], timing=Timing(rate=Fraction(60)), workers=2)

    first, second = done.cameras
    assert abs(first.frames - second.frames) <= 2
    for camera in (first, second):
        assert camera.frames + camera.counts.dropped == camera.counts.captured
    assert (first.name, second.name) == ("null 0", "null 1")


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
    frames = stream(
        small_null,
        "null://?seconds=1000&size=128x96",
        ["breaking://", "recording://"],
        timing=Timing(rate=Fraction(60)),
    )
    delivered: list[Result] = []
    with pytest.raises(OutputError, match="the disk is full"):
        delivered.extend(frames)

    assert RecordingSink.opened[0].closed
    counts = frames.source.counts  # type: ignore[attr-defined]
    assert counts.captured == len(delivered) + counts.dropped


def test_one_sink_and_a_path_need_no_list(small_null: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((96, 128, 3), np.uint8))

    done = run(small_null, tmp_path, "recording://")

    assert (done.frames, done.outputs) == (1, ["recording://"])
    assert len(RecordingSink.opened) == 1


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


def test_lines_of_json_have_the_standard_output_for_themselves(
    small_null: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command(small_null, "null://?seconds=0.1&size=128x96", stats="-")

    assert [json.loads(line)["index"] for line in capfd.readouterr().out.splitlines()] == [0, 1, 2]
    with pytest.raises(UsageError, match="--json"):
        command(small_null, "null://", stats="-", as_json=True)


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
         "--codec", "mpeg4", "--stats", str(statistics), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
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
        printed, _ = running.communicate(timeout=30)
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
    summary = json.loads(printed)
    (camera,) = summary["cameras"]
    assert summary["frames"] == camera["captured"] - camera["dropped"] >= len(lines) - 1
