"""The state of the machine around a measurement: clocks, power mode, heat, power."""

from dataclasses import dataclass, replace
from pathlib import Path

from edgeseg.device import jtop, tegrastats
from edgeseg.device.clocks import (
    Clock,
    cpu_clocks,
    emc_clock,
    gpu_clock,
    jetson_clocks,
    summed_up,
)
from edgeseg.device.jetson import power_mode
from edgeseg.device.nvidia_smi import Card, cards
from edgeseg.device.power import Power, power_of, rails
from edgeseg.device.sysfs import HERE, Ask, asker, text
from edgeseg.device.thermal import fan_percent, temperatures_c, throttle_events, throttling


@dataclass(frozen=True, kw_only=True)
class BoardState:
    """One moment; None for all that is not to be had."""

    gpu: Clock | None
    """Of a Jetson."""
    cpu: Clock | None
    """The mean of all cores."""
    emc: Clock | None
    """Of a Jetson's memory."""
    power_mode: str | None
    """By name: the numbers differ from module to module."""
    jetson_clocks: bool | None
    """Whether GPU and CPU are held at their maximum."""
    temperatures_c: dict[str, float] | None
    throttle_events: dict[str, int] | None
    """How often each cause slowed the board down since it started."""
    throttling: list[str] | None
    """What slows it down at this moment."""
    power: Power | None
    fan_percent: float | None
    cards: list[Card] | None
    """What nvidia-smi says of each card."""


def board_state(root: Path = HERE, ask: Ask | None = None) -> BoardState:
    """What can be read now: /sys first, then jtop and tegrastats for what a Jetson keeps back."""
    ask = ask or asker(root)
    zones = temperatures_c(root) or None
    state = BoardState(
        gpu=gpu_clock(root),
        cpu=summed_up(cpu_clocks(root)),
        emc=emc_clock(root),
        power_mode=power_mode(root, ask),
        jetson_clocks=jetson_clocks(root),
        temperatures_c=zones,
        throttle_events=throttle_events(root) or None,
        throttling=throttling(root) if zones else None,
        power=power_of(rails(root)),
        fan_percent=fan_percent(root),
        cards=cards(ask) or None,
    )
    if root != HERE or not is_jetson(root):
        return state
    return _by_tegrastats(_by_jtop(state))


def is_jetson(root: Path = HERE) -> bool:
    """Whether this is NVIDIA's board and system."""
    model = text(root / "proc/device-tree/model") or ""
    return (root / "etc/nv_tegra_release").exists() or "jetson" in model.lower()


def _by_jtop(state: BoardState) -> BoardState:
    wanting = state.power is None or state.power_mode is None or state.jetson_clocks is None
    said = jtop.asked() if wanting else None
    if said is None:
        return state
    watts = said.power_mw
    power = None if watts is None else Power(total_mw=watts, total_of=("jtop",), rails_mw={})
    return replace(
        state,
        power_mode=state.power_mode or said.power_mode,
        jetson_clocks=said.jetson_clocks if state.jetson_clocks is None else state.jetson_clocks,
        temperatures_c=state.temperatures_c or said.temperatures_c or None,
        power=state.power or power,
    )


def _by_tegrastats(state: BoardState) -> BoardState:
    line = tegrastats.first_line() if state.gpu is None or state.power is None else None
    if line is None:
        return state
    said = tegrastats.parsed(line)
    return replace(
        state,
        gpu=state.gpu or _clock(said.engines.get("GR3D")),
        emc=state.emc or _clock(said.engines.get("EMC")),
        temperatures_c=state.temperatures_c or said.temperatures_c or None,
        power=state.power or said.power,
    )


def _clock(load: tegrastats.Load | None) -> Clock | None:
    """A clock whose bounds nobody told."""
    if load is None or load.mhz is None:
        return None
    return Clock(current_mhz=load.mhz, min_mhz=None, max_mhz=None)
