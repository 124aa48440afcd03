"""Power rails and their total, module by module."""

from pathlib import Path

import pytest

from edgeseg.device.power import power_of, rails, total
from tests.device.trees import ORIN_NANO, write

HWMON = "sys/class/hwmon"


def test_an_orin_nano_is_fed_by_one_rail(tmp_path: Path) -> None:
    power = power_of(rails(write(tmp_path, ORIN_NANO)))

    assert power is not None
    assert power.rails_mw == {"VDD_IN": 8000, "VDD_CPU_GPU_CV": 2000, "VDD_SOC": 1500}
    assert (power.total_mw, power.total_of) == (8000, ("VDD_IN",))


def test_rails_of_an_agx_orin_add_up_and_unconnected_ones_do_not_count(tmp_path: Path) -> None:
    files = {f"{HWMON}/hwmon{n}/name": "ina3221" for n in (3, 4)}
    for monitor, channel, label, current in (
        (3, 1, "VDD_GPU_SOC", 400),
        (3, 2, "VDD_CPU_CV", 100),
        (3, 3, "VIN_SYS_5V0", 500),
        (4, 1, "NC", 900),
    ):
        folder = f"{HWMON}/hwmon{monitor}"
        files[f"{folder}/in{channel}_label"] = label
        files[f"{folder}/in{channel}_input"] = "20000"
        files[f"{folder}/curr{channel}_input"] = str(current)

    power = power_of(rails(write(tmp_path, files)))

    assert power is not None
    assert power.total_mw == pytest.approx(20 * (400 + 100 + 500))
    assert set(power.total_of) == {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"}


def test_a_monitor_that_says_watts(tmp_path: Path) -> None:
    files = {"name": "ina238", "in1_label": "VIN", "power1_input": "41500000"}
    write(tmp_path, {f"{HWMON}/hwmon5/{name}": text for name, text in files.items()})

    power = power_of(rails(tmp_path))

    assert power is not None
    assert (power.total_mw, power.total_of) == (41500, ("VIN",))


def test_other_sensors_are_no_rails(tmp_path: Path) -> None:
    files = {"name": "coretemp", "in1_label": "Vcore", "in1_input": "1100", "curr1_input": "9"}
    write(tmp_path, {f"{HWMON}/hwmon0/{name}": text for name, text in files.items()})

    assert rails(tmp_path) == []


def test_a_rail_without_current_is_left_out(tmp_path: Path) -> None:
    files = dict(ORIN_NANO)
    del files[f"{HWMON}/hwmon1/curr2_input"]

    power = power_of(rails(write(tmp_path, files)))

    assert power is not None
    assert set(power.rails_mw) == {"VDD_IN", "VDD_SOC"}


def test_no_rail_is_no_power(tmp_path: Path) -> None:
    assert power_of(rails(tmp_path)) is None
    assert total({}) is None
