"""Facts of the machine, from a made-up root and from this one."""

import os
from pathlib import Path

from edgeseg.device.info import machine


def _board(root: Path) -> Path:
    files = {
        "proc/cpuinfo": "processor : 0\nmodel name : ARMv8 rev 1\nFeatures : fp asimddp asimdhp\n",
        "proc/meminfo": "MemTotal:       7802880 kB\nMemFree: 1 kB\n",
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
        "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
        "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA H200\nIRQ: 5\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_board_says_what_it_is(tmp_path: Path) -> None:
    facts = machine(_board(tmp_path))
    assert facts["jetson"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert (facts["jetpack"], facts["l4t"]) == ("6.2", "36.4.3")
    assert facts["cpu"] == "ARMv8 rev 1"
    assert facts["cpu_flags"] == "asimddp asimdhp"
    assert facts["memory_mib"] == 7620
    assert facts["os"] == "Ubuntu 22.04.5 LTS"
    assert facts["governor"] == "schedutil"
    assert facts["gpu"] == "NVIDIA H200"


def test_another_arm_board_is_no_jetson(tmp_path: Path) -> None:
    model = _board(tmp_path) / "proc/device-tree/model"
    model.write_text("Raspberry Pi 5\0")
    (tmp_path / "etc/nv_tegra_release").unlink()
    facts = machine(tmp_path)
    assert (facts["jetson"], facts["jetpack"], facts["l4t"]) == (None, None, None)


def test_missing_files_make_no_error(tmp_path: Path) -> None:
    facts = machine(tmp_path)
    unknown = ("cpu", "memory_mib", "cpu_flags", "governor", "jetson", "jetpack", "l4t", "gpu")
    assert {facts[name] for name in unknown} == {None}


def test_this_machine_has_a_core_and_a_python() -> None:
    facts = machine()
    assert 1 <= int(facts["cores"] or 0) <= (os.cpu_count() or 1)
    assert str(facts["python"]).startswith("3.")
