"""The memory that a build may take: of a small board it takes all, and is killed without a word."""

import re
from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import UsageError

LARGEST_MIB = 1024
SMALLEST_MIB = 64
"""Below it hardly any kernel fits."""
NEEDED_MIB = 3072
"""RAM and swap below which people report builds that were killed."""
FALLBACK_SHARE = 4
"""A second attempt has this part of the first one's workspace."""

_NO_MEMORY = re.compile(
    r"out ?of ?memory|insufficient (gpu |device |host )?memory|bad_alloc|memory allocation|"
    r"requested amount of gpu memory|cuda failure: 2\b|could not allocate|failed to allocate",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class HostMemory:
    """What Linux says is left; None for what it does not say."""

    available_mib: int | None
    swap_mib: int | None


def host_memory(root: Path = Path("/")) -> HostMemory:
    """MemAvailable and SwapFree of `root`/proc/meminfo."""
    try:
        text = (root / "proc/meminfo").read_text(errors="replace")
    except OSError:
        text = ""
    return HostMemory(available_mib=_mib(text, "MemAvailable"), swap_mib=_mib(text, "SwapFree"))


def workspace_mib(asked: int | None, memory: HostMemory, *, integrated: bool) -> int | None:
    """Scratch memory for kernels; None leaves TensorRT's own limit, all that the GPU has.

    `integrated`: the GPU's memory is the computer's, as on every Jetson.

    Raises:
        UsageError: less than 1 was asked for.
    """
    if asked is not None:
        if asked < 1:
            raise UsageError(
                f"a workspace of {asked} MiB is none", fix=f"--workspace {SMALLEST_MIB} or more"
            )
        return asked
    if not integrated:
        return None
    quarter = LARGEST_MIB if memory.available_mib is None else memory.available_mib // 4
    return min(LARGEST_MIB, max(SMALLEST_MIB, quarter))


def shortage(memory: HostMemory) -> str | None:
    """A warning, with the mend, where a build may be killed; None where memory suffices."""
    if memory.available_mib is None:
        return None
    left = memory.available_mib + (memory.swap_mib or 0)
    if left >= NEEDED_MIB:
        return None
    return (
        f"{memory.available_mib} MiB of RAM and {memory.swap_mib or 0} MiB of swap are left, and a "
        f"build may take {NEEDED_MIB} MiB: add a swap file (fallocate -l 8G /swapfile, chmod 600, "
        "mkswap, swapon), leave the desktop (sudo systemctl isolate multi-user.target), or give "
        f"--workspace {SMALLEST_MIB * 4}"
    )


def ran_out(lines: str) -> bool:
    """Whether TensorRT's error lines say that memory ran out."""
    return _NO_MEMORY.search(lines) is not None


def _mib(text: str, key: str) -> int | None:
    found = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) // 1024 if found else None
