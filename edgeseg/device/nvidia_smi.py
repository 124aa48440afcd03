"""The NVIDIA cards that nvidia-smi knows: clocks, power, temperature and why they slow down."""

from dataclasses import dataclass

from edgeseg.device.sysfs import Ask, output_of

FIELDS = (
    "name", "driver_version", "clocks.sm", "clocks.max.sm", "power.draw", "temperature.gpu",
)  # fmt: skip
REASON_FIELDS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
"""Newer drivers, and older ones."""
SLOWED = {
    0x2: "application clocks set lower",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "too hot (software)",
    0x40: "too hot (hardware)",
    0x80: "power brake",
}
"""NVML's bits; an idle card is not a slow one."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One GPU; None for what it does not say."""

    name: str
    driver: str | None
    sm_mhz: float | None
    sm_max_mhz: float | None
    power_w: float | None
    temperature_c: float | None
    slowed_by: tuple[str, ...]


def cards(ask: Ask = output_of) -> list[Card]:
    """Every card of this machine; none without the program, which comes with the driver."""
    for reason in REASON_FIELDS:
        query = ",".join((*FIELDS, reason))
        said = ask(("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"))
        if said:
            rows = ([cell.strip() for cell in line.split(",")] for line in said.splitlines())
            return [_card(row) for row in rows if len(row) == len(FIELDS) + 1]
    return []


def _card(row: list[str]) -> Card:
    clock, highest, watts, degrees = map(_number, row[2:6])
    return Card(
        name=row[0],
        driver=row[1] or None,
        sm_mhz=clock,
        sm_max_mhz=highest,
        power_w=watts,
        temperature_c=degrees,
        slowed_by=_reasons(row[6]),
    )


def _number(cell: str) -> float | None:
    """None for [N/A] and [Not Supported], which Jetsons say to most."""
    try:
        return float(cell)
    except ValueError:
        return None


def _reasons(bits: str) -> tuple[str, ...]:
    try:
        active = int(bits, 16)
    except ValueError:
        return ()
    return tuple(meaning for bit, meaning in SLOWED.items() if active & bit)
