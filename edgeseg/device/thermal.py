"""Temperatures, the fan, and whether a board slows itself down."""

from pathlib import Path

from edgeseg.device.sysfs import HERE, found, number, text

THERMAL = "sys/class/thermal"
HWMON = "sys/class/hwmon"
POWERED_OFF_C = -200.0
"""Below it, a zone says that its part has no power (-256)."""
DUMMIES = ("PMIC-Die", "PMIC")
"""Zones that always say 100 degrees."""
SLOWING_TRIPS = ("passive", "hot", "critical")
EVENTS = {
    "oc1": "the supply voltage fell too low",
    "oc2": "the mean current was too high",
    "oc3": "the current peaked too high",
}
"""What Orin's and Thor's counters of events count, each of which slows the board down."""


def temperatures_c(root: Path = HERE) -> dict[str, float]:
    """Degrees by zone, without zones that have no power."""
    zones = {}
    for zone in found(root / THERMAL, "thermal_zone*"):
        name, milli = text(zone / "type"), number(zone / "temp")
        if name and name not in DUMMIES and milli is not None and milli / 1e3 > POWERED_OFF_C:
            zones[name] = milli / 1e3
    return zones


def throttle_events(root: Path = HERE) -> dict[str, int]:
    """How often the board slowed down since it started, by counter: `oc1`, `oc2`, `oc3`."""
    counters = {}
    for path in found(root / HWMON, "hwmon*/oc*_event_cnt"):
        count = number(path)
        if count is not None:
            counters[path.name.partition("_")[0]] = count
    return counters


def throttling(root: Path = HERE) -> list[str]:
    """What slows the board down at this moment: zones above a trip, alerts that are on."""
    hot = [
        f"{text(zone / 'type')} is above {trip:.0f} C"
        for zone in found(root / THERMAL, "thermal_zone*")
        if (trip := _passed_trip_c(zone)) is not None
    ]
    alerts = [
        f"{text(device / 'type')} is on"
        for device in found(root / THERMAL, "cooling_device*")
        if "alert" in (text(device / "type") or "") and (number(device / "cur_state") or 0) > 0
    ]
    return hot + alerts


def fan_percent(root: Path = HERE) -> float | None:
    """Of the fan's full speed; None without a fan that says so."""
    for folder in found(root / HWMON, "hwmon*"):
        if text(folder / "name") == "pwmfan":
            pulse = number(folder / "pwm1")
            if pulse is not None:
                return 100 * pulse / 255
    return None


def _passed_trip_c(zone: Path) -> float | None:
    """The lowest trip that slows down and lies below the zone's temperature."""
    now = number(zone / "temp")
    passed = [
        limit
        for kind in found(zone, "trip_point_*_type")
        if text(kind) in SLOWING_TRIPS
        and (limit := number(kind.with_name(kind.name.replace("_type", "_temp")))) is not None
        and now is not None
        and 0 < limit <= now
    ]
    return min(passed) / 1e3 if passed else None
