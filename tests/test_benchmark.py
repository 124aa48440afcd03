import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

import edgeseg
from edgeseg.benchmark import Benchmark, network_latencies_ms
from edgeseg.benchmark_loop import LIVE_S, Loop, flicker_percent
from edgeseg.engine import Engine
from edgeseg.errors import UsageError, VideoError
from edgeseg.frames import Source
from edgeseg.sources import Timing
from edgeseg.types import RuntimeOptions, Slot
from edgeseg.video import SOURCES, SourceOptions
from edgeseg.video.sources.null import open_null

pytestmark = pytest.mark.needs("openvino", "av", "cv2", "onnx")

FIFTY = Fraction(50)


@pytest.fixture(scope="module")
def report(small_int8: Path, small_fp32: Path) -> Benchmark:
    return edgeseg.benchmark(
        small_int8,
        "null://?seconds=1&size=120x90",
        ("null://",),
        frames=20,
        rivals=(small_fp32,),
        workers=2,
    )


def test_the_network_alone(report: Benchmark) -> None:
    latency = report.latency_ms

    assert 0 < latency.p50 <= latency.p95 <= latency.p99
    assert report.fps == pytest.approx(1000 / latency.mean)
    assert (report.precision, report.backend, report.size, report.frame) == (
        "int8",
        "openvino",
        "128x96",
        "120x90",
    )


def test_the_whole_loop(report: Benchmark) -> None:
    loop = report.end_to_end

    assert loop is not None
    assert (loop.frames, loop.workers, loop.sinks) == (30, 2, ["null://"])
    assert loop.fps > 0
    assert 0 < loop.age_ms.p50 <= loop.age_ms.p99
    assert report.stages_ms is not None
    assert set(report.stages_ms) == {"decode", "pre", "infer", "post", "draw", "encode"}
    assert report.stages_ms["pre"] is None  # inside the graph
    assert report.stages_ms["infer"] > 0  # type: ignore[operator]


def test_the_paper(report: Benchmark) -> None:
    paper, manifest_gmac = report.versus["paper"], report.versus["paper"]["ours_gmac"]  # type: ignore[index]

    assert paper["network"] == "DeepLab v1 (VGG-16, fc6 4x4) at 306x306"  # type: ignore[index]
    assert (paper["gpu"], paper["fps"], paper["gmac"]) == ("Titan", 8, 114)  # type: ignore[index]
    assert paper["ratio_fps"] == pytest.approx(report.fps / 8)  # type: ignore[index]
    assert paper["ratio_gmac_per_s"] == pytest.approx(  # type: ignore[index]
        report.fps * manifest_gmac / (8 * 114)
    )


def test_the_work_is_that_of_the_manifest(report: Benchmark, small_int8: Path) -> None:
    with Engine.open(small_int8) as engine:
        assert report.versus["paper"]["ours_gmac"] == pytest.approx(engine.manifest.macs / 1e9)  # type: ignore[index]


def test_a_rival_that_takes_four_times_as_long(
    small_int8: Path, small_fp32: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(self: Engine, slot: Slot) -> None:
        del slot
        time.sleep(0.005 if self.manifest.precision.value == "int8" else 0.02)

    monkeypatch.setattr(Engine, "launch", launch)

    rival = edgeseg.benchmark(small_int8, frames=15, rivals=(small_fp32,)).versus[str(small_fp32)]

    assert rival["backend"] == "openvino"  # type: ignore[index]
    assert 2.5 < rival["ratio"] < 4.5  # type: ignore[index]
    assert rival["latency_ms"]["p50"] >= 20  # type: ignore[index]


def test_the_machine_and_what_else_it_did(report: Benchmark) -> None:
    assert report.machine["cores"] >= 1  # type: ignore[operator]
    assert isinstance(report.foreign_load["dirty"], bool)
    assert report.foreign_load["cpus"] is None or report.foreign_load["cpus"] >= 0
    assert report.memory_mib is None or report.memory_mib > 10


def test_rivals_take_turns_frame_by_frame(
    small_int8: Path, small_fp32: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    launch = Engine.launch

    def noted(self: Engine, slot: Slot) -> None:
        order.append(self.manifest.precision.value)
        launch(self, slot)

    monkeypatch.setattr(Engine, "launch", noted)
    with Engine.open(small_int8) as one, Engine.open(small_fp32) as other:
        ours, theirs = network_latencies_ms([one, other], 6)

    assert order[-12:] == ["int8", "fp32"] * 6
    assert len(ours) == len(theirs) == 6


def test_without_a_source_there_is_no_loop(small_null: Path) -> None:
    found = edgeseg.benchmark(small_null, frames=3)

    assert (found.end_to_end, found.stages_ms) == (None, None)
    assert found.latency_ms.p50 >= 0


def test_the_loop_runs_on_a_backend_that_times_nothing(small_null: Path) -> None:
    found = edgeseg.benchmark(small_null, "null://?seconds=1&size=128x96", frames=3)

    assert found.stages_ms is not None
    assert found.stages_ms["infer"] is None


SECOND = "null://?seconds=1&size=128x96"


def test_frames_that_are_read_as_fast_as_it_goes_are_no_load(report: Benchmark) -> None:
    assert report.live is None


def test_an_offered_load_is_reported_for_each_source(small_null: Path) -> None:
    found = edgeseg.benchmark(small_null, [SECOND, SECOND], frames=2, timing=Timing(rate=FIFTY))

    assert found.live is not None
    assert (found.live.rate, found.live.seconds) == (50, LIVE_S)
    for camera in found.live.cameras:
        assert camera.counts.captured == 50
        assert camera.frames + camera.counts.dropped == 50
        assert camera.frames + camera.dropped == camera.offered
        assert camera.offered_fps is not None
        assert 0 < camera.offered_fps < 60
        assert camera.age_ms is not None
        assert camera.flicker_percent == 0
    assert found.end_to_end is not None
    assert found.end_to_end.sources == [SECOND, SECOND]
    assert found.end_to_end.frames == sum(camera.frames for camera in found.live.cameras)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The source `clock://`, a camera without an end; the list holds how often it was opened."""
    opened: list[str] = []

    def open_clock(rest: str, wanted: SourceOptions) -> Source:
        opened.append(rest)
        if rest == "once" and len(opened) > 1:
            raise VideoError("somebody else has the camera")
        return open_null("?seconds=9999&size=128x96", replace(wanted, rate=Fraction(40)))

    monkeypatch.setattr(sys.modules[__name__], "_clock", open_clock, raising=False)
    monkeypatch.setitem(SOURCES, "clock", f"{__name__}:_clock")
    monkeypatch.setattr("edgeseg.benchmark_loop.LIVE_S", 0.5)
    monkeypatch.setattr("edgeseg.benchmark_loop.FLICKER_S", 0.3)
    return opened


def test_a_camera_is_measured_for_a_while_and_without_a_rate(
    small_null: Path, clock: list[str]
) -> None:
    found = edgeseg.benchmark(small_null, "clock://", frames=2)

    assert found.live is not None
    (camera,) = found.live.cameras
    assert (found.live.rate, found.live.seconds, camera.asked_fps) == (None, 0.5, None)
    assert camera.kept_pace is None
    assert 0 < camera.frames <= 0.5 * 40 + 2
    assert camera.flicker_percent == 0
    assert len(clock) == 2


def test_a_camera_that_opens_only_once_has_no_flicker(small_null: Path, clock: list[str]) -> None:
    found = edgeseg.benchmark(small_null, "clock://once", frames=2)

    assert found.live is not None
    assert found.live.cameras[0].frames > 0
    assert found.live.cameras[0].flicker_percent is None
    assert clock == ["once", "once"]


def test_masks_that_tremble_are_seen(small_null: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turn = itertools.count()

    def launch(self: Engine, slot: Slot) -> None:
        del self
        slot.labels[:] = 0
        slot.labels[:24] = next(turn) % 2  # a quarter of the 96 rows

    monkeypatch.setattr(Engine, "launch", launch)
    loop = Loop(sources=(SECOND,), workers=1)

    with Engine.open(small_null) as engine:
        assert flicker_percent(engine, loop) == [25.0]


def test_a_rate_without_a_source_is_refused(small_null: Path) -> None:
    with pytest.raises(UsageError, match="source"):
        edgeseg.benchmark(small_null, frames=1, timing=Timing(rate=FIFTY))


@pytest.fixture
def on_a_gpu(small_null: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine that says it computes on a GPU: 2 ms there, and 3 ms more around it."""

    def launch(self: Engine, slot: Slot) -> None:
        del self
        time.sleep(0.005)
        slot.stages_ms["infer"] = 2.0

    monkeypatch.setattr(Engine, "launch", launch)
    with Engine.open(small_null) as engine:
        engine.backend_name = "tensorrt"
        yield engine


def test_gpu_time_and_wall_clock_are_told_apart(on_a_gpu: Engine) -> None:
    found = edgeseg.benchmark(on_a_gpu, frames=4)

    assert found.gpu_ms is not None
    assert (found.gpu_ms.p50, found.gpu_ms.count) == (2.0, 4)
    assert found.latency_ms.p50 >= 5
    assert found.latency_ms.p50 > found.gpu_ms.p50


def test_a_cpu_has_no_gpu_time(report: Benchmark) -> None:
    assert (report.gpu_ms, report.memory, report.sync) == (None, None, None)


def test_the_state_of_the_board_before_and_after(report: Benchmark) -> None:
    assert set(vars(report.board)) == {"before", "after"}
    assert report.board.before.gpu is None or report.board.before.gpu.current_mhz >= 0
    assert report.during.seconds > 0


def test_power_is_put_down_to_frames_only_where_there_is_no_rival(report: Benchmark) -> None:
    assert report.during.mj_per_frame is None


@pytest.mark.parametrize("option", [{"memory": "mapped"}, {"sync": "spin"}])
def test_what_is_for_a_gpu_is_refused_on_a_cpu(small_int8: Path, option: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="GPU"):
        edgeseg.benchmark(small_int8, frames=1, runtime=RuntimeOptions(**option))  # type: ignore[arg-type]


def test_an_opened_engine_cannot_be_told_how_to_run(small_null: Path) -> None:
    with Engine.open(small_null) as engine, pytest.raises(UsageError, match="opened"):
        edgeseg.benchmark(engine, frames=1, runtime=RuntimeOptions())


def test_less_than_one_frame_is_refused(small_null: Path) -> None:
    with pytest.raises(UsageError, match="0 frames cannot be measured"):
        edgeseg.benchmark(small_null, frames=0)
