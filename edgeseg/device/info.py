"""What this machine is, read from the files in which Linux says so; no package is needed."""

import os
import platform
import re
from pathlib import Path

from edgeseg.device.jetson import jetpack_of
from edgeseg.device.sysfs import HERE, found, text

FLAGS = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16",
    "asimddp", "asimdhp", "i8mm", "sve",
)  # fmt: skip
"""What decides how fast INT8 and FP16 run on a CPU; the second row is Arm's."""


def machine(root: Path = HERE) -> dict[str, str | int | float | None]:
    """The facts that a measurement is to be quoted with; None for each that is not to be had.

    `cpu_flags` is a list separated by spaces. `root` is where /proc, /sys and /etc are looked up.
    """
    cpu = _cpuinfo(root)
    release = text(root / "etc/nv_tegra_release")
    l4t = _l4t(release)
    jetpack = jetpack_of(l4t)
    return {
        "cpu": cpu.get("model name") or cpu.get("Model") or text(root / "proc/device-tree/model"),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_mib": _memory_mib(root),
        "architecture": platform.machine(),
        "os": _os_name(root),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpu_flags": _flags(cpu),
        "governor": text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "jetson": _jetson(root, release),
        "jetpack": jetpack.name if jetpack else None,
        "l4t": l4t,
        "gpu": _gpu(root),
    }


def _fields(lines: str | None) -> dict[str, str]:
    """The "key: value" pairs of `lines`; the first one wins."""
    fields: dict[str, str] = {}
    for line in (lines or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields


def _cpuinfo(root: Path) -> dict[str, str]:
    return _fields(text(root / "proc/cpuinfo"))


def _memory_mib(root: Path) -> int | None:
    total = _fields(text(root / "proc/meminfo")).get("MemTotal", "").split()
    return int(total[0]) // 1024 if total and total[0].isdigit() else None


def _os_name(root: Path) -> str:
    said = text(root / "etc/os-release") or ""
    name = re.search(r'^PRETTY_NAME="?([^"\n]+)', said, re.MULTILINE)
    return name[1] if name else platform.system()


def _flags(cpu: dict[str, str]) -> str | None:
    words = (cpu.get("flags") or cpu.get("Features") or "").split()
    return " ".join(flag for flag in FLAGS if flag in words) or None


def _jetson(root: Path, release: str | None) -> str | None:
    """The board's model; other Arm boards have a device tree too, but no Tegra release."""
    model = text(root / "proc/device-tree/model")
    if model and (release or "jetson" in model.lower()):
        return model
    return None


def _l4t(release: str | None) -> str | None:
    """`36.4.3` from "# R36 (release), REVISION: 4.3, GCID: ..."."""
    numbers = re.search(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", release or "")
    return f"{numbers[1]}.{numbers[2]}" if numbers else None


def _gpu(root: Path) -> str | None:
    """The first NVIDIA GPU that the driver lists; a Jetson's is not listed there."""
    models = (
        _fields(text(path)).get("Model")
        for path in found(root / "proc/driver/nvidia/gpus", "*/information")
    )
    return next(filter(None, models), None)
