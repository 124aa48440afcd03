"""What `edgeseg bench` says of a board and of what disturbed a measurement."""

from dataclasses import replace
from pathlib import Path

import pytest

import edgeseg
from edgeseg.benchmark import Benchmark, Boards
from edgeseg.cli.bench_report import print_report
from edgeseg.device.board import BoardState, board_state
from edgeseg.device.nvidia_smi import Card
from edgeseg.metrics.energy import During
from tests.device.trees import ORIN_NANO, write

pytestmark = pytest.mark.needs("onnx", "av", "cv2")

CARD = Card(
    name="RTX 4090", driver="570", sm_mhz=900.0, sm_max_mhz=2500.0, power_w=450.0,
    temperature_c=88.0, slowed_by=("power cap",),
)  # fmt: skip


@pytest.fixture(scope="module")
def report(small_null: Path) -> Benchmark:
    return edgeseg.benchmark(small_null, frames=2)


@pytest.fixture
def nobody(tmp_path: Path) -> BoardState:
    """A machine that tells nothing of its clocks."""
    return board_state(tmp_path)


def _printed(
    capsys: pytest.CaptureFixture[str], report: Benchmark, state: BoardState, **during: object
) -> str:
    seen = {name: None for name in During.__annotations__} | {"seconds": 1.0, "samples": 9}
    told = replace(
        report,
        board=Boards(before=state, after=state),
        during=During(**(seen | during)),  # type: ignore[arg-type]
        machine=report.machine | {"cpu": "ARMv8 rev 1", "gpu": None, "jetson": "Orin Nano Super"},
    )
    print_report(told)
    return capsys.readouterr().out


def test_a_jetson_is_named_with_its_mode_clock_and_heat(
    report: Benchmark, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = _printed(capsys, report, board_state(write(tmp_path, ORIN_NANO)))

    assert "power mode 25W, jetson_clocks off, GPU 306 MHz, hottest part 52 C" in said
    assert "Orin Nano Super," in said
    assert "SLOWED DOWN" not in said


def test_clocks_that_moved_are_flagged(
    report: Benchmark, capsys: pytest.CaptureFixture[str], nobody: BoardState
) -> None:
    said = _printed(capsys, report, nobody, clocks_moved=True, reason="from 1020 to 612 MHz")

    assert "CLOCKS MOVED, do not quote these figures - from 1020 to 612 MHz" in said


def test_a_sleeping_clock_and_the_energy_of_a_frame_are_said(
    report: Benchmark, capsys: pytest.CaptureFixture[str], nobody: BoardState
) -> None:
    said = _printed(
        capsys, report, nobody, note="the GPU ran at 306 of 1020 MHz",
        power_mw_mean=7640.0, mj_per_frame=64.4,
    )  # fmt: skip

    assert "network alone: the GPU ran at 306 of 1020 MHz" in said
    assert "network alone: 7.6 W, 64 mJ a frame" in said
    assert "MOVED" not in said


def test_what_slows_a_card_or_a_board_down_is_said(
    report: Benchmark, capsys: pytest.CaptureFixture[str], nobody: BoardState
) -> None:
    card = _printed(capsys, report, replace(nobody, cards=[CARD]))
    board = _printed(
        capsys, report, replace(nobody, power_mode="25W", throttling=["tj is above 99 C"])
    )

    assert "RTX 4090 is SLOWED DOWN: power cap" in card
    assert "the board is SLOWED DOWN: tj is above 99 C" in board
