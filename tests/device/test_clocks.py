"""Clocks of GPU, CPU and memory, read off recorded trees."""

from pathlib import Path

import pytest

from edgeseg.device.clocks import (
    Clock,
    cpu_clocks,
    emc_clock,
    gpu_clock,
    jetson_clocks,
    summed_up,
)
from tests.device.trees import ORIN_NANO, write

HELD = {
    "sys/class/devfreq/17000000.gpu/min_freq": "1020000000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq": "1728000\n",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_min_freq": "1728000\n",
}


def test_the_gpu_and_not_the_video_decoder(tmp_path: Path) -> None:
    clock = gpu_clock(write(tmp_path, ORIN_NANO))

    assert clock == Clock(current_mhz=306, min_mhz=306, max_mhz=1020)


@pytest.mark.parametrize("name", ["17000000.gv11b", "17000000.gp10b", "57000000.gpu"])
def test_the_gpu_of_older_boards(tmp_path: Path, name: str) -> None:
    write(tmp_path, {f"sys/class/devfreq/{name}/cur_freq": "76800000\n"})

    clock = gpu_clock(tmp_path)

    assert clock is not None
    assert (clock.current_mhz, clock.max_mhz) == (pytest.approx(76.8), None)


def test_thors_cores_and_not_its_video_clock(tmp_path: Path) -> None:
    folder = "sys/class/devfreq"
    write(
        tmp_path,
        {f"{folder}/gpu-nvd-0/cur_freq": "400000000", f"{folder}/gpu-gpc-0/cur_freq": "1575000000"},
    )

    clock = gpu_clock(tmp_path)

    assert clock is not None
    assert clock.current_mhz == 1575


def test_each_cluster_of_the_cpu_and_all_of_them(tmp_path: Path) -> None:
    clocks = cpu_clocks(write(tmp_path, ORIN_NANO))

    assert [round(clock.current_mhz) for clock in clocks] == [730, 1728]
    assert summed_up(clocks) == Clock(
        current_mhz=pytest.approx((729.6 + 1728) / 2),
        min_mhz=pytest.approx(729.6),
        max_mhz=pytest.approx(1728),
    )


def test_clocks_of_single_cores_where_there_are_no_clusters(tmp_path: Path) -> None:
    write(tmp_path, {"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1190400\n"})

    assert [clock.current_mhz for clock in cpu_clocks(tmp_path)] == [pytest.approx(1190.4)]


def test_the_memory_controller(tmp_path: Path) -> None:
    assert emc_clock(write(tmp_path, ORIN_NANO)) == Clock(
        current_mhz=2133, min_mhz=204, max_mhz=3199
    )


def test_jetson_clocks_is_off_while_one_governor_may_choose(tmp_path: Path) -> None:
    one_free = {**HELD, "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n"}
    root = write(tmp_path, {**ORIN_NANO, **one_free})

    assert jetson_clocks(root) is False


def test_jetson_clocks_is_on_where_gpu_and_cpu_are_held(tmp_path: Path) -> None:
    assert jetson_clocks(write(tmp_path, {**ORIN_NANO, **HELD})) is True


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    assert gpu_clock(tmp_path) is None
    assert emc_clock(tmp_path) is None
    assert jetson_clocks(tmp_path) is None
    assert summed_up(cpu_clocks(tmp_path)) is None


def test_a_file_that_holds_no_number_is_no_clock(tmp_path: Path) -> None:
    write(tmp_path, {"sys/class/devfreq/17000000.gpu/cur_freq": "busy\n"})

    assert gpu_clock(tmp_path) is None
