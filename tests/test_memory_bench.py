"""Modes of memory in turn, on an engine that stands in for one on a GPU."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgeseg import memory_bench
from edgeseg.cli.bench_report import print_memory
from edgeseg.cli.bench_verb import command
from edgeseg.engine import Engine
from edgeseg.errors import DeviceError, UsageError
from edgeseg.memory_bench import MemoryComparison, ModeTimes, compare_memory, recommended
from edgeseg.metrics.latency import LatencySummary
from edgeseg.types import RuntimeOptions, Slot
from tests.small import working_directory

pytestmark = pytest.mark.needs("onnx")

TAKES_S = {"mapped": 0.012, "managed": 0.006, "copy": 0.002}


@dataclass
class Board:
    """What the engines of the stand-in did, and how they are to behave."""

    order: list[str] = field(default_factory=list)
    opened: list[RuntimeOptions] = field(default_factory=list)
    closed: int = 0
    refuses: str = ""
    wrong_labels: str = ""


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """A discrete simulated GPU on which every mode takes its own time."""
    from tests.device.fakes import fake_gpu

    state, opened = Board(), Engine.open

    def open_on_gpu(folder: Path, *, runtime: RuntimeOptions) -> Engine:
        if runtime.memory == state.refuses:
            raise DeviceError("there is no memory for it", fix="")
        state.opened.append(runtime)
        engine = opened(folder)

        def launch(slot: Slot) -> None:
            state.order.append(runtime.memory)
            time.sleep(TAKES_S[runtime.memory])
            slot.labels[:] = slot.pixels.max() + (runtime.memory == state.wrong_labels)
            slot.stages_ms["infer"] = 1e3 * TAKES_S[runtime.memory] / 2

        def close() -> None:
            state.closed += 1

        monkeypatch.setattr(engine, "launch", launch, raising=False)
        monkeypatch.setattr(engine, "close", close, raising=False)
        return engine

    monkeypatch.setattr(memory_bench, "chosen", lambda *_: "tensorrt")
    monkeypatch.setattr(Engine, "open", open_on_gpu)
    with fake_gpu("cuda", name="RTX", integrated=False, concurrent_managed=True):
        yield state


def test_each_mode_is_timed_in_turn(board: Board, small_null: Path) -> None:
    found = compare_memory(small_null, 3, sync="spin")

    assert [one.mode for one in found.modes] == ["mapped", "managed", "copy"]
    assert board.order[-9:] == ["mapped", "managed", "copy"] * 3
    assert {runtime.sync for runtime in board.opened} == {"spin"}
    assert board.closed == 3


def test_the_fastest_is_recommended_and_what_auto_takes_is_said(
    board: Board, small_null: Path
) -> None:
    found = compare_memory(small_null, 3)

    assert (found.recommended, found.auto, found.gpu) == ("copy", "copy", "RTX")
    assert [one.copies_per_frame for one in found.modes] == [0, 0, 2]
    copied = found.modes[-1]
    assert copied.gpu_ms is not None
    assert copied.gpu_ms.p50 == 1.0
    assert copied.wall_ms.p50 >= 2
    assert board.order


def test_a_mode_that_cannot_be_opened_is_left_out(board: Board, small_null: Path) -> None:
    board.refuses = "managed"

    found = compare_memory(small_null, 2)

    assert [one.mode for one in found.modes] == ["mapped", "copy"]
    assert found.left_out == {"managed": "there is no memory for it"}


def test_a_mode_that_gives_other_labels_is_left_out(board: Board, small_null: Path) -> None:
    board.wrong_labels = "copy"

    found = compare_memory(small_null, 2)

    assert found.recommended == "managed"
    assert "not those of mapped" in found.left_out["copy"]
    assert board.closed == 3


def test_a_gpu_that_cannot_map(board: Board, small_null: Path) -> None:
    from tests.device.fakes import fake_gpu

    with fake_gpu("cuda", can_map_host=False):
        found = compare_memory(small_null, 2)

    assert "mapped" not in {one.mode for one in found.modes}
    assert "cannot reach" in found.left_out["mapped"]
    assert board.closed == 2


def test_where_no_mode_works(
    board: Board, small_null: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_bench, "MODES", ("managed",))
    board.refuses = "managed"

    with pytest.raises(DeviceError, match="managed: there is no memory"):
        compare_memory(small_null, 2)


def test_what_is_printed(
    board: Board, small_null: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board.refuses = "managed"

    print_memory(compare_memory(small_null, 2))

    printed = capsys.readouterr().out
    assert "mapped" in printed
    assert "managed was left out: there is no memory for it" in printed
    assert "fastest here: --memory copy; auto takes copy" in printed


def _times(mode: str, p50: float) -> ModeTimes:
    wall = LatencySummary(p50=p50, p95=p50, p99=p50, mean=p50, count=1)
    return ModeTimes(mode=mode, copies_per_frame=0, wall_ms=wall, gpu_ms=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mapped", "managed", "copy", "best"),
    [
        (10.0, 11.0, 12.0, "mapped"),
        (10.1, 11.0, 10.0, "mapped"),  # within 2 %: nothing is copied
        (10.3, 11.0, 10.0, "copy"),
        (10.3, 10.0, 10.05, "managed"),
    ],
)
def test_ties_go_to_mapped(mapped: float, managed: float, copy: float, best: str) -> None:
    times = [_times("mapped", mapped), _times("managed", managed), _times("copy", copy)]

    assert recommended(times) == best


def test_without_mapped_the_fastest_is_recommended() -> None:
    assert recommended([_times("managed", 2.0), _times("copy", 1.99)]) == "copy"


def test_an_engine_on_a_cpu_is_refused(small_null: Path) -> None:
    with pytest.raises(UsageError, match="runs on null here"):
        compare_memory(small_null)


def test_less_than_one_frame_is_refused(small_null: Path) -> None:
    with pytest.raises(UsageError, match="0 frames"):
        compare_memory(small_null, 0)


@pytest.mark.parametrize(
    "beside",
    [{"source": "synthetic://"}, {"versus": [Path("other")]}, {"threads": 2}, {"scale": True}],
)
def test_everything_but_the_folder_is_refused_beside_all(
    small_null: Path, beside: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match="times one engine alone"):
        command(small_null, memory="all", **beside)  # type: ignore[arg-type]


def test_the_verb_refuses_an_engine_on_a_cpu(small_null: Path) -> None:
    with pytest.raises(UsageError, match="--memory all is for engines on a GPU"):
        command(small_null, memory="all", as_json=True)


def test_as_json(board: Board, small_null: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from edgeseg.cli.show import print_json

    print_json(compare_memory(small_null, 2))

    assert set(json.loads(capsys.readouterr().out)) == {"schema", *MemoryComparison.__annotations__}
    assert board.closed == 3


@pytest.mark.needs("onnxruntime", "openvino")
def test_every_mode_of_a_plan_for_tensorrt(small_int8: Path, tmp_path: Path) -> None:
    from edgeseg import build
    from tests.device.fakes import fake_gpu
    from tests.tensorrt.fakes import fake_tensorrt

    folder = shutil.copytree(small_int8, tmp_path / "engine")
    with fake_gpu("pycuda") as gpu, fake_tensorrt("10.3.0"):
        with working_directory(tmp_path):
            build(folder, backend="tensorrt").close()
        found = compare_memory(folder, 1)
        assert gpu.leaks() == []

    assert [one.mode for one in found.modes] == ["mapped", "managed", "copy"]
    assert (found.auto, found.left_out) == ("mapped", {})
    assert all(one.gpu_ms is not None for one in found.modes)
