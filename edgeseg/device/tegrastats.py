"""What one line of tegrastats says. Boards differ in the fields: each is found by its own form."""

import re
import subprocess
from dataclasses import dataclass

from edgeseg.device.power import Power, total

RAM = re.compile(r"\bRAM (\d+)/(\d+)MB")
SWAP = re.compile(r"\bSWAP (\d+)/(\d+)MB")
CPU = re.compile(r"\bCPU \[([^\]]*)\]")
CORE = re.compile(r"^(\d+)%@(\d+)$")
ENGINE = re.compile(r"\b([A-Z][A-Z0-9]*)_FREQ (\d+)%(?:@(\[[\d,]*\]|\d+))?")
TEMPERATURE = re.compile(r"\b([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C\b")
# JetPack 4: "VDD_IN 1038/1134"; from 5 on: "VDD_IN 5072mW/5072mW". RAM and SWAP end in MB.
RAIL = re.compile(r"\b([A-Z][A-Z0-9_]+) (\d+)(?:mW)?/(\d+)(?:mW)?(?=\s|$)")
DUMMY = "PMIC"
POWERED_OFF_C = -200.0
FIRST_LINE_S = 1.5


@dataclass(frozen=True, kw_only=True)
class Load:
    """How busy an engine was, in percent, and at which clock; None where only one is said."""

    percent: int
    mhz: float | None


@dataclass(frozen=True, kw_only=True)
class Tegrastats:
    """One line; None and nothing for what the board does not say."""

    ram_mb: tuple[int, int] | None
    """Used, and in all."""
    swap_mb: tuple[int, int] | None
    cores: tuple[Load | None, ...]
    """None for a core that is off."""
    engines: dict[str, Load]
    """`GR3D` is the GPU, `EMC` the memory."""
    temperatures_c: dict[str, float]
    power: Power | None


def parsed(line: str) -> Tegrastats:
    """The fields of one line, whatever their order and whichever there are."""
    zones = {name: float(degrees) for name, degrees in TEMPERATURE.findall(line)}
    return Tegrastats(
        ram_mb=_pair(RAM, line),
        swap_mb=_pair(SWAP, line),
        cores=_cores(line),
        engines={
            name: Load(percent=int(percent), mhz=_mhz(clock))
            for name, percent, clock in ENGINE.findall(line)
        },
        temperatures_c={
            name: degrees
            for name, degrees in zones.items()
            if name != DUMMY and degrees > POWERED_OFF_C
        },
        power=total({name: float(now) for name, now, _ in RAIL.findall(line)}),
    )


def first_line() -> str | None:
    """What tegrastats prints first, after about a second; None where it is not there."""
    try:
        subprocess.run(
            ["tegrastats", "--interval", "500"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=FIRST_LINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as endless:
        return (endless.stdout or b"").decode(errors="replace").partition("\n")[0] or None
    except OSError:
        return None
    return None


def _pair(pattern: re.Pattern[str], line: str) -> tuple[int, int] | None:
    found = pattern.search(line)
    return (int(found[1]), int(found[2])) if found else None


def _cores(line: str) -> tuple[Load | None, ...]:
    found = CPU.search(line)
    loads = (CORE.match(core.strip()) for core in found[1].split(",")) if found else ()
    return tuple(Load(percent=int(load[1]), mhz=float(load[2])) if load else None for load in loads)


def _mhz(clock: str) -> float | None:
    """Orin lists the clock of each cluster, [306,306]: the fastest counts."""
    clusters = re.findall(r"\d+", clock)
    return float(max(map(int, clusters))) if clusters else None
