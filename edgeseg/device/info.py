"""What this machine is, read from the files in which Linux says so; no package is needed."""

import os
import platform
import re
from pathlib import Path

FLAGS = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16",
    "asimddp", "asimdhp", "i8mm", "sve",
)  # fmt: skip
"""What decides how fast INT8 and FP16 run on a CPU; the second row is Arm's."""


def machine(root: Path = Path("/")) -> dict[str, str | int | float | None]:
    """The facts that a measurement is to be quoted with; None for each that is not to be had.

    `cpu_flags` is a list separated by spaces. `root` is where /proc, /sys and /etc are looked up.
    """
    cpu = _cpuinfo(root)
    release = _text(root / "etc/nv_tegra_release")
    return {
        "cpu": cpu.get("model name") or cpu.get("Model") or _text(root / "proc/device-tree/model"),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_mib": _memory_mib(root),
        "architecture": platform.machine(),
        "os": _os_name(root),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpu_flags": _flags(cpu),
        "governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "jetson": _jetson(root, release),
        "l4t": _l4t(release),
        "gpu": _gpu(root),
    }


def _text(path: Path) -> str | None:
    """What `path` holds, without the NUL that ends device-tree strings; None if it cannot be."""
    try:
        return path.read_text(errors="replace").strip("\0 \n") or None
    except OSError:
        return None


def _fields(text: str | None) -> dict[str, str]:
    """The "key: value" lines of `text`; the first one wins."""
    fields: dict[str, str] = {}
    for line in (text or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields


def _cpuinfo(root: Path) -> dict[str, str]:
    return _fields(_text(root / "proc/cpuinfo"))


def _memory_mib(root: Path) -> int | None:
    total = _fields(_text(root / "proc/meminfo")).get("MemTotal", "").split()
    return int(total[0]) // 1024 if total and total[0].isdigit() else None


def _os_name(root: Path) -> str:
    found = re.search(
        r'^PRETTY_NAME="?([^"\n]+)', _text(root / "etc/os-release") or "", re.MULTILINE
    )
    return found[1] if found else platform.system()


def _flags(cpu: dict[str, str]) -> str | None:
    words = (cpu.get("flags") or cpu.get("Features") or "").split()
    return " ".join(flag for flag in FLAGS if flag in words) or None


def _jetson(root: Path, release: str | None) -> str | None:
    """The board's model; other Arm boards have a device tree too, but no Tegra release."""
    model = _text(root / "proc/device-tree/model")
    if model and (release or "jetson" in model.lower()):
        return model
    return None


def _l4t(release: str | None) -> str | None:
    """`36.4.3` from "# R36 (release), REVISION: 4.3, GCID: ..."."""
    found = re.search(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", release or "")
    return f"{found[1]}.{found[2]}" if found else None


def _gpu(root: Path) -> str | None:
    """The first NVIDIA GPU that the driver lists; a Jetson's is not listed there."""
    try:
        entries = sorted((root / "proc/driver/nvidia/gpus").iterdir())
    except OSError:
        return None
    for entry in entries:
        model = _fields(_text(entry / "information")).get("Model")
        if model:
            return model
    return None
