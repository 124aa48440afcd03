"""Temperatures, the fan, and boards that slow themselves down."""

from pathlib import Path

import pytest

from edgeseg.device.thermal import fan_percent, temperatures_c, throttle_events, throttling
from tests.device.trees import ORIN_NANO, write

THERMAL = "sys/class/thermal"


def test_zones_without_power_are_left_out(tmp_path: Path) -> None:
    assert temperatures_c(write(tmp_path, ORIN_NANO)) == {
        "cpu-thermal": 51.25,
        "gpu-thermal": pytest.approx(52.031),
    }


def test_the_dummy_that_always_says_100_is_left_out(tmp_path: Path) -> None:
    zone = f"{THERMAL}/thermal_zone0"
    write(tmp_path, {f"{zone}/type": "PMIC-Die", f"{zone}/temp": "100000"})

    assert temperatures_c(tmp_path) == {}


def test_counters_of_over_current(tmp_path: Path) -> None:
    assert throttle_events(write(tmp_path, ORIN_NANO)) == {"oc1": 0, "oc2": 2, "oc3": 15}


def test_a_cool_board_is_not_slowed_down(tmp_path: Path) -> None:
    assert throttling(write(tmp_path, ORIN_NANO)) == []


def test_a_hot_zone_and_an_alert(tmp_path: Path) -> None:
    hot = {
        f"{THERMAL}/thermal_zone2/temp": "99500\n",
        f"{THERMAL}/cooling_device7/cur_state": "1\n",
    }

    assert throttling(write(tmp_path, {**ORIN_NANO, **hot})) == [
        "gpu-thermal is above 99 C",
        "gpu-throttle-alert is on",
    ]


def test_the_fan(tmp_path: Path) -> None:
    assert fan_percent(write(tmp_path, ORIN_NANO)) == pytest.approx(20)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    assert temperatures_c(tmp_path) == {}
    assert throttle_events(tmp_path) == {}
    assert throttling(tmp_path) == []
    assert fan_percent(tmp_path) is None
