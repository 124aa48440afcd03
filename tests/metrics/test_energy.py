"""What a board did meanwhile: clocks that move, governors that sleep, millijoule per frame."""

import threading
import time
from pathlib import Path

import pytest

from edgeseg.metrics.energy import During, Watch
from tests.device.trees import ORIN_NANO, write

CLOCK = "sys/class/devfreq/17000000.gpu/cur_freq"
CURRENT = "sys/class/hwmon/hwmon1/curr1_input"
OC3 = "sys/class/hwmon/hwmon2/oc3_event_cnt"
FAST = {CLOCK: "1020000000"}
PERIOD_S = 0.005


def _watched(root: Path, *steps: dict[str, str], frames: int | None = 10) -> During:
    """What a watch saw while the tree went through `steps`, two looks and more at each."""
    with Watch(root, period_s=PERIOD_S) as watch:
        for step in steps:
            write(root, step)
            _look(watch, times=2)
    return watch.seen(frames)


def _look(watch: Watch, times: int) -> None:
    """Wait until `watch` has looked so often again, and not for ever."""
    enough, last = watch.samples + times, time.monotonic() + 20
    while watch.samples < enough and time.monotonic() < last:
        time.sleep(PERIOD_S)


def test_a_steady_clock(tmp_path: Path) -> None:
    during = _watched(write(tmp_path, {**ORIN_NANO, **FAST}), {})

    assert (during.gpu_mhz_min, during.gpu_mhz_mean, during.gpu_mhz_limit) == (1020, 1020, 1020)
    assert (during.clocks_moved, during.reason, during.note) == (False, None, None)
    assert during.samples >= 2


def test_a_clock_that_fell(tmp_path: Path) -> None:
    root = write(tmp_path, {**ORIN_NANO, **FAST})

    during = _watched(root, {}, {CLOCK: "816000000"})

    assert during.clocks_moved is True
    assert during.reason == "the GPU's clock went from 1020 to 816 MHz"
    assert during.gpu_mhz_min == 816


def test_a_clock_that_fell_by_less_than_a_tenth_is_steady(tmp_path: Path) -> None:
    root = write(tmp_path, {**ORIN_NANO, **FAST})

    assert _watched(root, {}, {CLOCK: "930000000"}).clocks_moved is False


def test_the_clock_of_the_idle_moment_before_does_not_count(tmp_path: Path) -> None:
    with Watch(write(tmp_path, ORIN_NANO), period_s=0.3) as watch:  # at 306 MHz
        write(tmp_path, FAST)
        _look(watch, times=1)

    during = watch.seen(1)
    assert (during.gpu_mhz_min, during.clocks_moved) == (1020, False)


def test_over_current_moves_the_clocks(tmp_path: Path) -> None:
    root = write(tmp_path, {**ORIN_NANO, **FAST})

    during = _watched(root, {OC3: "18"})

    assert (during.clocks_moved, during.throttle_events) == (True, 3)
    assert "the current peaked too high (3 times)" in (during.reason or "")


def test_a_governor_that_sees_no_load_and_its_mend(tmp_path: Path) -> None:
    during = _watched(write(tmp_path, ORIN_NANO), {})

    assert during.clocks_moved is False
    assert during.note is not None
    assert "306 of 1020 MHz" in during.note
    assert "sudo jetson_clocks" in during.note
    assert f"{tmp_path}/{Path(CLOCK).parent}/min_freq" in during.note


def test_energy_of_a_frame(tmp_path: Path) -> None:
    root = write(tmp_path, {**ORIN_NANO, **FAST, CURRENT: "2000"})

    during = _watched(root, {}, frames=4)

    assert during.power_mw_mean == 10_000  # 5 V, 2 A
    assert during.mj_per_frame == pytest.approx(10_000 * during.seconds / 4)


def test_a_moment_in_which_the_main_rail_does_not_answer_is_left_out(tmp_path: Path) -> None:
    root = write(tmp_path, ORIN_NANO)

    during = _watched(root, {}, {CURRENT: "busy"})

    assert during.power_mw_mean == 8000


def test_energy_that_is_not_one_engines_is_put_down_to_no_frame(tmp_path: Path) -> None:
    during = _watched(write(tmp_path, ORIN_NANO), {}, frames=None)

    assert during.power_mw_mean is not None
    assert during.mj_per_frame is None


def test_the_clock_of_an_idle_gpu_is_not_looked_at(tmp_path: Path) -> None:
    with Watch(write(tmp_path, ORIN_NANO), gpu=False, period_s=PERIOD_S) as watch:
        pass

    during = watch.seen(1)
    assert (during.gpu_mhz_mean, during.note) == (None, None)
    assert during.power_mw_mean == 8000
    assert during.clocks_moved is False  # the counters did not rise


def test_a_run_that_is_over_at_once_has_one_sample(tmp_path: Path) -> None:
    with Watch(write(tmp_path, {**ORIN_NANO, **FAST}), period_s=60) as watch:
        pass

    assert (watch.seen(1).samples, watch.seen(1).gpu_mhz_mean) == (1, 1020)


def test_a_machine_that_tells_nothing_costs_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with Watch(tmp_path) as watch:
        assert threading.active_count() == before
    during = watch.seen(5)

    assert during.seconds > 0
    assert (during.clocks_moved, during.power_mw_mean, during.throttle_events) == (None, None, None)


def test_the_thread_ends_also_after_an_error(tmp_path: Path) -> None:
    root = write(tmp_path, ORIN_NANO)
    with pytest.raises(RuntimeError, match="mine"), Watch(root, period_s=PERIOD_S):
        raise RuntimeError("mine")

    assert not [thread for thread in threading.enumerate() if thread.name == "watch"]
