"""What the power monitors of a board measure: rails in milliwatts, and their total."""

from dataclasses import dataclass
from pathlib import Path

from edgeseg.device.sysfs import HERE, found, number, text

HWMON = "sys/class/hwmon"
MONITORS = ("ina3221", "ina238", "ina226")
NO_RAIL = ("NC", "sum of shunt voltages")
WHOLE = ("VDD_IN", "POM_5V_IN", "VIN")
"""Rails that feed the whole module (Orin Nano and NX; Nano; Thor); elsewhere rails add up."""


@dataclass(frozen=True, kw_only=True)
class Rail:
    """Where one rail is measured: volts and amperes, or watts."""

    name: str
    millivolts: Path
    milliamperes: Path
    microwatts: Path

    def milliwatts(self) -> float | None:
        """What it carries now."""
        micro = number(self.microwatts)
        if micro is not None:
            return micro / 1e3
        volts, amperes = number(self.millivolts), number(self.milliamperes)
        return None if volts is None or amperes is None else volts * amperes / 1e3


@dataclass(frozen=True, kw_only=True)
class Power:
    """The power of a board."""

    total_mw: float
    total_of: tuple[str, ...]
    """The rails that the total is the sum of."""
    rails_mw: dict[str, float]


def rails(root: Path = HERE) -> list[Rail]:
    """Every rail that has a name and a monitor."""
    return [
        _rail(folder, label)
        for folder in found(root / HWMON, "hwmon*")
        if text(folder / "name") in MONITORS
        for label in found(folder, "in*_label")
        if (text(label) or NO_RAIL[0]) not in NO_RAIL
    ]


def power_of(measured: list[Rail]) -> Power | None:
    """What these rails carry now; None where none of them can be read."""
    return total(
        {rail.name: value for rail in measured if (value := rail.milliwatts()) is not None}
    )


def total(rails_mw: dict[str, float]) -> Power | None:
    """The power of a module with these rails; None without any."""
    if not rails_mw:
        return None
    parts = next(((name,) for name in WHOLE if name in rails_mw), tuple(rails_mw))
    return Power(
        total_mw=sum(rails_mw[name] for name in parts), total_of=parts, rails_mw=dict(rails_mw)
    )


def _rail(folder: Path, label: Path) -> Rail:
    index = label.name.removeprefix("in").removesuffix("_label")
    return Rail(
        name=text(label) or "",
        millivolts=folder / f"in{index}_input",
        milliamperes=folder / f"curr{index}_input",
        microwatts=folder / f"power{index}_input",
    )
