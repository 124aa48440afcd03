"""What else the machine was doing while something was measured, and how much memory we hold."""

import os
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

DIRTY_ABOVE = 0.15
"""CPUs kept busy by others above which a latency is not one of a quiet machine."""

STAT = Path("/proc/stat")
SELF_STAT = Path("/proc/self/stat")
SELF_STATUS = Path("/proc/self/status")


class _Ticks(NamedTuple):
    """CPU time spent since the start, in clock ticks."""

    machine: int
    ours: int


class ForeignLoad:
    """Measures, from enter to exit, how many CPUs other processes kept busy on average.

    Our own time counts with that of children that have ended and were waited for; a child that
    still runs at the end counts as foreign.
    """

    def __init__(self) -> None:
        self.cpus: float | None = None
        """CPUs, 0.0 and up; None before the end, and where Linux's /proc is missing."""
        self._before: _Ticks | None = None
        self._entered_s = 0.0

    def __enter__(self) -> "ForeignLoad":
        self.cpus = None
        self._before, self._entered_s = _ticks(), time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        after, seconds = _ticks(), time.monotonic() - self._entered_s
        if self._before is None or after is None or seconds <= 0:
            return
        foreign = (after.machine - self._before.machine) - (after.ours - self._before.ours)
        self.cpus = max(0.0, foreign / os.sysconf("SC_CLK_TCK") / seconds)

    @property
    def dirty(self) -> bool:
        """Whether others took so much that a latency measured meanwhile is not to be quoted."""
        return self.cpus is not None and self.cpus > DIRTY_ABOVE


def resident_mib() -> float | None:
    """The memory that this process holds in RAM, in MiB; None where /proc does not say."""
    try:
        lines = SELF_STATUS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return None


def _ticks() -> _Ticks | None:
    """Busy time of the machine and of this process with its ended children."""
    try:
        # "cpu user nice system idle iowait irq softirq steal guest guest_nice"; guest time is
        # part of user time already, and steal is time in which somebody else had our CPU.
        total = [int(field) for field in STAT.read_text().split("\n", 1)[0].split()[1:9]]
        # The second field is the program's name in brackets and may hold spaces and brackets.
        own = SELF_STAT.read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    idle = total[3] + total[4]
    return _Ticks(machine=sum(total) - idle, ours=sum(int(field) for field in own[11:15]))
