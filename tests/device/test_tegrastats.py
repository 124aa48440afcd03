"""Lines of tegrastats in the formats of several JetPacks."""

import subprocess

import pytest

from edgeseg.device import tegrastats
from edgeseg.device.tegrastats import Load, first_line, parsed

NANO_JP4 = (
    "RAM 1180/3964MB (lfb 12x4MB) SWAP 149/1982MB (cached 7MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [30%@1036,33%@1036,off,off] EMC_FREQ 10%@1600 GR3D_FREQ 41%@921 APE 25 PLL@57C CPU@60.5C "
    "PMIC@100C GPU@59C AO@65C thermal@59.75C POM_5V_IN 4520/4680 POM_5V_GPU 700/650 "
    "POM_5V_CPU 1078/1205"
)
ORIN_JP6 = (
    "11-21-2026 10:22:33 RAM 2543/7620MB (lfb 4x4MB) SWAP 12/3810MB (cached 1MB) "
    "CPU [23%@1190,0%@1190,off,4%@729] EMC_FREQ 3%@2133 GR3D_FREQ 99%@[305,1020] NVENC off "
    "NVDEC 716 VIC_FREQ 115 APE 174 CPU@51.25C cv0@-256C gpu@52.03C tj@52.5C soc0@50C "
    "VDD_IN 5072mW/5104mW VDD_CPU_GPU_CV 890mW/901mW VDD_SOC 1420mW/1419mW"
)
WITHOUT_ROOT = (
    "RAM 2543/15657MB (lfb 4x4MB) CPU [1%@729] GR3D_FREQ 0% CPU@48C VDD_CPU_CV 400mW/400mW"
)


def test_jetpack_4() -> None:
    said = parsed(NANO_JP4)

    assert (said.ram_mb, said.swap_mb) == ((1180, 3964), (149, 1982))
    assert said.cores == (Load(percent=30, mhz=1036), Load(percent=33, mhz=1036), None, None)
    assert said.engines["GR3D"] == Load(percent=41, mhz=921)
    assert said.engines["EMC"] == Load(percent=10, mhz=1600)
    assert said.temperatures_c == {"PLL": 57, "CPU": 60.5, "GPU": 59, "AO": 65, "thermal": 59.75}
    assert said.power is not None
    assert (said.power.total_mw, said.power.total_of) == (4520, ("POM_5V_IN",))


def test_jetpack_6() -> None:
    said = parsed(ORIN_JP6)

    assert said.ram_mb == (2543, 7620)
    assert said.cores[2:] == (None, Load(percent=4, mhz=729))
    assert said.engines["GR3D"] == Load(percent=99, mhz=1020)
    assert said.temperatures_c == {"CPU": 51.25, "gpu": 52.03, "tj": 52.5, "soc0": 50}
    assert said.power is not None
    assert said.power.total_mw == 5072
    assert said.power.rails_mw["VDD_SOC"] == 1420


def test_what_only_root_sees_is_missing_and_nothing_else_moves() -> None:
    said = parsed(WITHOUT_ROOT)

    assert said.swap_mb is None
    assert said.engines == {"GR3D": Load(percent=0, mhz=None)}
    assert said.power is not None
    assert said.power.rails_mw == {"VDD_CPU_CV": 400}


@pytest.mark.parametrize("order", [sorted, lambda words: sorted(words, reverse=True)])
def test_the_order_of_the_fields_does_not_matter(order: object) -> None:
    fields = ["RAM 1/2MB", "GR3D_FREQ 5%@306", "gpu@40C", "VDD_IN 10mW/20mW"]

    assert parsed(" ".join(order(fields))) == parsed(" ".join(fields))  # type: ignore[operator]


def test_a_line_of_nonsense_says_nothing() -> None:
    said = parsed("no such thing")

    assert (said.ram_mb, said.cores, said.engines, said.power) == (None, (), {}, None)


def test_the_first_line_of_a_program_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 1.5, output=b"RAM 1/2MB\nRAM 3/4MB\n")

    monkeypatch.setattr(tegrastats.subprocess, "run", endless)

    assert first_line() == "RAM 1/2MB"


def test_without_tegrastats_there_is_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    assert first_line() is None
