"""Which JetPack a Jetson has, what that brings, and the power mode that the board is in."""

import re
from dataclasses import dataclass
from pathlib import Path

from edgeseg.device.sysfs import HERE, Ask, asker, text

STATUS = "var/lib/nvpmodel/status"
MODES = "etc/nvpmodel.conf"


@dataclass(frozen=True, kw_only=True)
class JetPack:
    """One release of NVIDIA's system for Jetsons."""

    name: str
    python: tuple[int, int]
    cuda: str
    tensorrt: str

    @property
    def supported(self) -> bool:
        """Whether its Python is one that edgeseg runs on."""
        return self.python >= (3, 10)


# By the L4T release, the longest prefix first. 4 and 5 are here to be told apart, not to be used.
JETPACKS = {
    "39.2": JetPack(name="7.2", python=(3, 12), cuda="13.2", tensorrt="10.16"),
    "38.4": JetPack(name="7.1", python=(3, 12), cuda="13.0", tensorrt="10.13"),
    "38.2": JetPack(name="7.0", python=(3, 12), cuda="13.0", tensorrt="10.13"),
    "36.5": JetPack(name="6.2.2", python=(3, 10), cuda="12.6", tensorrt="10.3"),
    "36.4.4": JetPack(name="6.2.1", python=(3, 10), cuda="12.6", tensorrt="10.3"),
    "36.4.3": JetPack(name="6.2", python=(3, 10), cuda="12.6", tensorrt="10.3"),
    "36.4.0": JetPack(name="6.1", python=(3, 10), cuda="12.6", tensorrt="10.3"),
    "36.4": JetPack(name="6.1 or 6.2", python=(3, 10), cuda="12.6", tensorrt="10.3"),
    "36.3": JetPack(name="6.0", python=(3, 10), cuda="12.2", tensorrt="8.6"),
    "36.2": JetPack(name="6.0 DP", python=(3, 10), cuda="12.2", tensorrt="8.6"),
    "35": JetPack(name="5", python=(3, 8), cuda="11.4", tensorrt="8.5"),
    "32": JetPack(name="4", python=(3, 6), cuda="10.2", tensorrt="8.2"),
}

# What the model's name holds, the last JetPack for it, and that one's Python.
LEFT_BEHIND = (
    ("Orin", None),
    ("Thor", None),
    ("Xavier", "JetPack 5 with Python 3.8 is the last for a Xavier"),
    ("TX1", "JetPack 4 with Python 3.6 is the last for a TX1"),
    ("TX2", "JetPack 4 with Python 3.6 is the last for a TX2"),
    ("Nano", "JetPack 4 with Python 3.6 is the last for a Jetson Nano"),
)


def jetpack_of(l4t: str | None) -> JetPack | None:
    """The JetPack of an L4T release such as 36.4.3; None for one that nobody told us of."""
    words = (l4t or "").split(".")
    for length in range(len(words), 0, -1):
        row = JETPACKS.get(".".join(words[:length]))
        if row:
            return row
    return None


def left_behind(model: str) -> str | None:
    """Why no supported JetPack runs on the board `model`; None where one does."""
    return next((reason for name, reason in LEFT_BEHIND if name in model), None)


def power_modes(root: Path = HERE) -> dict[int, str]:
    """Names by number; the numbers differ from module to module."""
    rows = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", text(root / MODES) or "")
    return {int(number): name for number, name in rows}


def power_mode(root: Path = HERE, ask: Ask | None = None) -> str | None:
    """The name of the mode that the board is in, such as MAXN_SUPER or 25W."""
    said = (ask or asker(root))(("nvpmodel", "-q")) or ""
    found = re.search(r"NV Power Mode:\s*(\S+)", said)
    if found:
        return found[1]
    number = re.search(r"pmode:(\d+)", text(root / STATUS) or "")
    return power_modes(root).get(int(number[1])) if number else None


def fastest_mode(root: Path = HERE) -> tuple[int, str] | None:
    """Number and name of the mode without limits: MAXN_SUPER where there is one, else MAXN."""
    numbers = {name: number for number, name in power_modes(root).items()}
    return next(((numbers[name], name) for name in ("MAXN_SUPER", "MAXN") if name in numbers), None)
