"""What the service of jetson-stats says, where it is installed, running and open to us."""

import importlib
import logging
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Jtop:
    """What is asked of it; None for what it does not know."""

    power_mode: str | None
    jetson_clocks: bool | None
    power_mw: float | None
    temperatures_c: dict[str, float]


def asked() -> Jtop | None:
    """The board's state by jtop; None where it is not installed or refuses.

    It refuses without its service, without membership in the group `jtop`, and where client and
    service are of two versions.
    """
    try:
        package: Any = importlib.import_module("jtop")
    except ImportError:
        return None
    try:
        with package.jtop() as board:
            return _state(board) if board.ok() else None
    except (package.JtopException, OSError, EOFError) as error:
        log.info("jtop does not answer: %s", error)
        return None


def _state(board: Any) -> Jtop:
    power = board.power or {}
    zones = board.temperature or {}
    return Jtop(
        power_mode=None if board.nvpmodel is None else str(board.nvpmodel.name),
        jetson_clocks=None if board.jetson_clocks is None else bool(board.jetson_clocks),
        power_mw=_number(power.get("tot", {}).get("power")),
        temperatures_c={
            name: float(zone["temp"]) for name, zone in zones.items() if zone.get("online", True)
        },
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
