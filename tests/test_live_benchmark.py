"""What is said of live sources, and the pieces of benchmarks/live.py in a tiny form."""

import asyncio
import json
import threading
import time
from array import array
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgeseg.benchmark_live import Live, Seen, age_trend
from edgeseg.cli.bench_report import print_live
from edgeseg.engine import Engine
from edgeseg.frames import FrameTime, SourceCounts
from edgeseg.types import Labels, Size, Slot
from edgeseg.video.sinks import FrameView, SinkOptions

pytestmark = pytest.mark.needs("av", "cv2", "onnx")

PARTS = pytest.mark.needs("openvino", "starlette", "uvicorn", "websockets")
SIZE = Size(96, 128)
SECONDS = np.arange(3600) / 30


def test_an_age_that_rises_is_found_with_its_slope() -> None:
    noise = np.random.default_rng(1).normal(0, 2, len(SECONDS))

    found = age_trend(SECONDS.tolist(), (20 + 6 / 60 * SECONDS + noise).tolist())

    assert found is not None
    assert found.ms_per_minute == pytest.approx(6, abs=found.error_ms_per_minute)
    assert 0 < found.error_ms_per_minute < 0.5
    assert found.grows


@pytest.mark.parametrize("rise", [0.0, -6.0, 0.5])  # at 0.5, 1 of 33 ms in two minutes: nobody's
def test_an_age_that_does_not_rise_or_hardly_does_not_grow(rise: float) -> None:
    noise = np.random.default_rng(2).normal(0, 0.5, len(SECONDS))

    found = age_trend(SECONDS.tolist(), (20 + rise / 60 * SECONDS + noise).tolist())

    assert found is not None
    assert not found.grows


def test_stalls_make_a_slope_uncertain() -> None:
    quiet = 20 + np.random.default_rng(3).normal(0, 0.5, len(SECONDS))
    stalled = quiet.copy()
    stalled[3000:3050] += 200

    calm, shaken = (age_trend(SECONDS.tolist(), ages.tolist()) for ages in (quiet, stalled))

    assert calm is not None
    assert shaken is not None
    assert shaken.error_ms_per_minute > 10 * calm.error_ms_per_minute
    assert not shaken.grows


def test_a_few_results_say_nothing_of_a_trend() -> None:
    assert age_trend([0.0, 1.0, 2.0], [1.0, 2.0, 3.0]) is None


def test_what_was_offered_counts_from_the_first_result_to_the_last() -> None:
    seen = Seen(
        name="door",
        live=True,
        index=array("q", [10, 11, 14, 16]),
        captured_s=array("d", [1.0, 1.1, 1.4, 1.6]),
        delivered_s=array("d", [2.0, 2.1, 2.4, 2.8]),
        age_ms=array("d", [5, 6, 7, 8]),
        counts=SourceCounts(captured=20, dropped=15, late=1),
    )

    load = seen.load(Fraction(10))

    assert (load.offered, load.frames, load.dropped, load.late) == (7, 4, 2, 1)
    assert load.offered_fps == pytest.approx(10)
    assert load.fps == pytest.approx(3 / 0.8)
    assert load.jitter_ms == pytest.approx(np.std([100, 300, 400], ddof=1))
    assert load.interval_ms is not None
    assert load.interval_ms.p50 == pytest.approx(300)
    assert load.kept_pace
    assert seen.load(Fraction(11)).kept_pace is False
    assert seen.load(None).kept_pace is None
    assert load.counts.captured == load.frames + load.counts.dropped + load.counts.late


def test_a_camera_without_a_result_has_no_figures() -> None:
    load = Seen(name="dark", live=True).load(Fraction(30))

    assert (load.offered, load.frames, load.fps, load.age_ms, load.kept_pace) == (
        0, 0, None, None, None
    )  # fmt: skip


def test_what_is_wrong_with_a_source_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Seen(
        name="door",
        live=True,
        index=array("q", range(100)),
        captured_s=array("d", np.arange(100) / 10),
        delivered_s=array("d", np.arange(100) / 10),
        age_ms=array("d", np.arange(100) * 5.0),
        counts=SourceCounts(captured=100, reconnects=2),
    )

    print_live(Live(rate=30.0, seconds=10.0, cameras=[seen.load(Fraction(30))]))

    said = " ".join(capsys.readouterr().out.split())
    assert "door: COULD NOT BE PLAYED at 30 fps: it gave 10.00" in said
    assert "door: the age GROWS: +3000.00 +- 0.00 ms a minute" in said
    assert "door: lost and found again 2 times" in said
    assert "100 frames, 10.00 fps" in said


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("openvino")
    from benchmarks.engines import write_clip

    return write_clip(tmp_path_factory.mktemp("clip") / "street.mp4", frames=15, size=SIZE)


@PARTS
def test_a_repeated_clip_shows_the_same_again_without_a_gap(clip: Path, tmp_path: Path) -> None:
    import av

    from benchmarks.live_clip import repeated

    with av.open(str(repeated(clip, tmp_path / "long.mp4", 3))) as container:
        frames = list(container.decode(video=0))

    assert len(frames) == 45
    assert np.diff([frame.time for frame in frames]) == pytest.approx(1 / 30)
    first, again = (frames[number].to_ndarray(format="rgb24") for number in (4, 34))
    np.testing.assert_array_equal(first, again)


@PARTS
def test_parts_of_the_live_benchmark_count_exactly(
    small_null: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.live import Bench, Plan, overload, steady, two_sources

    launch = Engine.launch

    def slowly(self: Engine, slot: Slot) -> None:
        time.sleep(0.02)
        launch(self, slot)

    monkeypatch.setattr(Engine, "launch", slowly)
    plan = Plan(minutes=0.025, seconds=0.5, rounds=1, frames=15, clip_frames=15)
    with Engine.open(small_null) as engine:
        bench = Bench(engine=engine, clip=clip, plan=plan)
        calm, pressed, two = steady(bench), overload(bench), two_sources(bench)

    (run,) = calm["runs"].values()
    assert 0 < run["frames"] <= 60  # of 1.5 s, and what was under way
    assert run["asked_fps"] == 30
    exact = next(one for one in pressed["targets"] if one["relation"] == "=")
    assert exact["met"]
    (run,) = pressed["runs"].values()
    assert run["asked_fps"] == round(3 * pressed["unpaced_fps"])
    assert run["frames"] + run["counts"]["dropped"] == run["counts"]["captured"]
    assert two["ratio"]["median"] > 0
    json.dumps([calm, pressed, two], allow_nan=False)


@PARTS
@pytest.mark.parametrize(
    ("value", "relation", "limit", "met"),
    [(1, "<", 2, True), (2, "<", 2, False), (2, "<=", 2, True), (1, ">=", 2, False),
     (2, "=", 2, True), (3, "=", 2, False)],
)  # fmt: skip
def test_a_target_is_said_aloud(
    value: float, relation: str, limit: float, met: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.live_targets import target

    found = target("age, ms", value, relation, limit)  # type: ignore[arg-type]

    assert found["met"] is met
    assert capsys.readouterr().out.startswith("PASS" if met else "FAIL")


@PARTS
def test_viewers_read_what_a_page_shows_and_its_cpu_time_is_seen() -> None:
    from benchmarks.live_page import PageCpu
    from benchmarks.live_viewers import Looked, all_of_them
    from edgeseg.video.sinks.page import open_page

    labels = Labels(names=("Road", "Sky"), colors=((0, 0, 0), (255, 255, 255)))
    page = open_page("127.0.0.1:0?fps=60", SinkOptions(size=SIZE, fps=None, labels=labels))
    seen = [Looked(), Looked()]
    looking = threading.Thread(target=lambda: asyncio.run(all_of_them(page.url, seen)))
    looking.start()
    ids, picture = np.zeros(SIZE, np.uint8), np.zeros((*SIZE, 3), np.uint8)
    try:
        with PageCpu(settle_s=0.0) as cpu:
            end_s = time.monotonic() + 15
            for index in range(10_000):
                page.write(
                    FrameView(
                        index=index, picture=picture, labels=ids, pixels=picture,
                        time=FrameTime(index, time.monotonic(), index / 30),
                    )
                )  # fmt: skip
                cpu.see("frames", index, None)
                if min(one.frames for one in seen) > 3 or time.monotonic() > end_s:
                    break
                time.sleep(0.02)
    finally:
        page.close()
        looking.join(10)

    assert not looking.is_alive()
    assert all(one.frames > 3 and one.backwards == 0 and one.bytes > 100 for one in seen)
    percent = cpu.percent()
    assert percent["threads"] > 0
    assert percent["loop"] > 0
    assert percent["both"] == pytest.approx(percent["threads"] + percent["loop"])


def test_tables_of_a_live_result() -> None:
    from benchmarks.tables import live, live_targets

    run = {
        "offered_fps": 30.0, "fps": 29.9, "dropped": 1, "offered": 300, "jitter_ms": 2.0,
        "age_ms": {"p50": 20.0, "p95": 25.0, "p99": 30.0},
    }  # fmt: skip
    good = {"what": "age", "measured": 30.0, "relation": "<", "limit": 66.7, "met": True}
    found = {
        "two_sources": {"targets": [good | {"what": "two", "met": False}], "dirty": True},
        "steady": {"runs": {"30 fps": run}, "targets": [good], "dirty": False},
    }

    assert "| 30 fps | 30.00 | 29.90 | 1 of 300 | 2.00 | 20.0 | 25.0 | 30.0 |" in live(found)
    *_, first, second = live_targets(found).splitlines()
    assert first == "| age | 30.00 | < 66.70 | yes |"
    assert second == "| two | 30.00 | < 66.70 | **no** (dirty) |"
