"""The clocks of GPU, CPU and memory, as the governors have them now."""

import re
from dataclasses import dataclass
from pathlib import Path

from edgeseg.device.sysfs import HERE, found, number

# devfreq names: 17000000.gpu (Orin), gpu-gpc-0 (Thor), 17000000.gv11b, gp10b, 57000000.gpu (older).
GPU = re.compile(r"gpu|gv11b|gp10b|ga10b|gm20b")
GPU_FOLDERS = ("sys/class/devfreq", "sys/devices/gpu.0/devfreq")
EMC = "sys/kernel/debug/bpmp/debug/clk/emc"


@dataclass(frozen=True, kw_only=True)
class Clock:
    """One clock and the bounds that its governor keeps it in."""

    current_mhz: float
    min_mhz: float | None
    max_mhz: float | None

    @property
    def held(self) -> bool:
        """Whether the governor has no choice: what jetson_clocks does."""
        return self.max_mhz is not None and self.min_mhz == self.max_mhz


def gpu_folder(root: Path = HERE) -> Path | None:
    """The devfreq folder of a Jetson's GPU; Thor's has one for the cores and one for video."""
    named = [
        entry
        for folder in GPU_FOLDERS
        for entry in found(root / folder, "*")
        if GPU.search(entry.name)
    ]
    return next((entry for entry in named if "gpc" in entry.name), named[0] if named else None)


def gpu_clock(root: Path = HERE) -> Clock | None:
    """Of the GPU of a Jetson; None on other machines, whose driver keeps it to itself."""
    folder = gpu_folder(root)
    return _clock(folder, "cur_freq", "min_freq", "max_freq", 1e-6) if folder else None


def cpu_clocks(root: Path = HERE) -> list[Clock]:
    """One for each group of cores that share a clock."""
    folder = root / "sys/devices/system/cpu"
    groups = found(folder, "cpufreq/policy*") or found(folder, "cpu[0-9]*/cpufreq")
    clocks = (
        _clock(group, "scaling_cur_freq", "scaling_min_freq", "scaling_max_freq", 1e-3)
        for group in groups
    )
    return [clock for clock in clocks if clock]


def emc_clock(root: Path = HERE) -> Clock | None:
    """Of a Jetson's memory controller, which only root may read."""
    return _clock(root / EMC, "rate", "min_rate", "max_rate", 1e-6)


def summed_up(clocks: list[Clock]) -> Clock | None:
    """The mean of what they are now, within the widest bounds; None of none."""
    if not clocks:
        return None
    low = [clock.min_mhz for clock in clocks if clock.min_mhz is not None]
    high = [clock.max_mhz for clock in clocks if clock.max_mhz is not None]
    return Clock(
        current_mhz=sum(clock.current_mhz for clock in clocks) / len(clocks),
        min_mhz=min(low, default=None),
        max_mhz=max(high, default=None),
    )


def jetson_clocks(root: Path = HERE) -> bool | None:
    """Whether GPU and every core are held at their maximum; None where there is no Jetson GPU."""
    gpu = gpu_clock(root)
    return None if gpu is None else all(clock.held for clock in (gpu, *cpu_clocks(root)))


def _clock(folder: Path, current: str, low: str, high: str, mhz: float) -> Clock | None:
    now, bounds = number(folder / current), [number(folder / name) for name in (low, high)]
    if now is None:
        return None
    at_least, at_most = (None if bound is None else bound * mhz for bound in bounds)
    return Clock(current_mhz=now * mhz, min_mhz=at_least, max_mhz=at_most)
