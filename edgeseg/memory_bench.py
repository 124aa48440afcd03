"""Which memory a GPU is fed from fastest: one engine opened in each mode, timed frame by frame."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from edgeseg.backends import why_not
from edgeseg.backends.chosen import chosen
from edgeseg.device.board import board_state
from edgeseg.device.choice import mode_for, open_device
from edgeseg.device.info import machine
from edgeseg.device.memory import GpuFacts, MemoryMode
from edgeseg.engine import Engine
from edgeseg.errors import DeviceError, UsageError
from edgeseg.latencies import ON_GPU, Latencies, warm_slot
from edgeseg.manifest import read_manifest
from edgeseg.metrics.energy import During, Watch
from edgeseg.metrics.latency import LatencySummary, summarise
from edgeseg.metrics.load import ForeignLoad
from edgeseg.types import OnProgress, RuntimeOptions, Slot

MODES: tuple[MemoryMode, ...] = ("mapped", "managed", "copy")
COPIES = {"mapped": 0, "managed": 0, "copy": 2}
"""Of a whole frame or its labels, by us, after the decoder's: what the driver moves is not seen."""
TIE = 0.02
"""A mode is as fast as the fastest within this share of its median."""
EQUAL = 0.999
"""The share of labels that every mode has to give alike; the same plan runs in all of them."""


@dataclass(frozen=True, kw_only=True)
class ModeTimes:
    """One mode, a frame at a time: written by the CPU, run, labels read by the CPU."""

    mode: MemoryMode
    copies_per_frame: int
    wall_ms: LatencySummary
    gpu_ms: LatencySummary | None
    """Between two marks on the GPU, copies included."""


@dataclass(frozen=True, kw_only=True)
class MemoryComparison:
    """Every mode that the GPU can do, on the same frames in turn."""

    engine: str
    frame: str
    frames: int
    gpu: str
    sync: str
    modes: list[ModeTimes]
    left_out: dict[str, str]
    """Modes that were not timed, and why."""
    auto: MemoryMode
    """What `--memory auto` takes here."""
    recommended: MemoryMode
    power_mode: str | None
    during: During
    machine: dict[str, str | int | float | None]
    foreign_load: dict[str, float | bool | None]


class _Opened(NamedTuple):
    """An engine in one mode, its slot, and what is measured."""

    engine: Engine
    slot: Slot
    found: Latencies


def compare_memory(
    folder: str | Path,
    frames: int = 100,
    *,
    sync: Literal["blocking", "spin"] = "blocking",
    on_progress: OnProgress | None = None,
) -> MemoryComparison:
    """The engine in `folder` in each mode of memory, `frames` frames of each in turn.

    Raises:
        UsageError: fewer than one frame, or an engine that runs on a CPU.
        DeviceError: no mode works.
    """
    if frames < 1:
        raise UsageError(f"{frames} frames cannot be measured", fix="--frames 100")
    _refuse_cpu(folder)
    facts = _facts()
    with contextlib.ExitStack() as closing:
        modes, left_out = _opened(folder, facts, sync, closing)
        with ForeignLoad() as load, Watch() as watch:
            _time_in_turn(modes, frames, on_progress)
        frame = next(iter(modes.values())).engine.manifest.frame
    times = [_times(mode, one.found) for mode, one in modes.items()]
    return MemoryComparison(
        engine=str(folder),
        frame=frame,
        frames=frames,
        gpu=facts.name,
        sync=sync,
        modes=times,
        left_out=left_out,
        auto=mode_for(facts),
        recommended=recommended(times),
        power_mode=board_state().power_mode,
        during=watch.seen(None),
        machine=machine(),
        foreign_load={"cpus": load.cpus, "dirty": load.dirty},
    )


def recommended(times: list[ModeTimes]) -> MemoryMode:
    """The mode with the least median; `mapped` in a tie, since nothing is copied there."""
    best = min(times, key=lambda one: one.wall_ms.p50)
    for one in times:
        if one.mode == "mapped" and one.wall_ms.p50 < (1 + TIE) * best.wall_ms.p50:
            return "mapped"
    return best.mode


def _refuse_cpu(folder: str | Path) -> None:
    manifest = read_manifest(Path(folder))
    name = chosen(manifest, "auto", Path(folder))
    if name not in ON_GPU:
        reason = why_not("tensorrt") if "tensorrt" in manifest.plans else None
        raise UsageError(
            f"--memory all is for engines on a GPU, and {folder} runs on {name} here "
            f"(TensorRT: {reason or 'the folder has no plan for it'})",
            fix=f"leave it out, or edgeseg build {folder} --backend tensorrt",
        )


def _facts() -> GpuFacts:
    device = open_device()
    try:
        return device.facts
    finally:
        device.close()


def _opened(
    folder: str | Path, facts: GpuFacts, sync: Literal["blocking", "spin"],
    closing: contextlib.ExitStack,
) -> tuple[dict[MemoryMode, _Opened], dict[str, str]]:  # fmt: skip
    """The modes that work and agree, warmed up; and why the others are left out."""
    opened: dict[MemoryMode, _Opened] = {}
    left_out: dict[str, str] = {}
    for mode in MODES:
        try:
            _refuse_unmapped(mode, facts)
            runtime = RuntimeOptions(memory=mode, sync=sync)
            engine = closing.enter_context(Engine.open(folder, runtime=runtime))
            slot = warm_slot(engine)
            _refuse_other_labels(slot, opened)
        except DeviceError as error:
            left_out[mode] = error.problem
        else:
            opened[mode] = _Opened(engine, slot, Latencies())
    if not opened:
        reasons = "; ".join(f"{mode}: {reason}" for mode, reason in left_out.items())
        raise DeviceError(f"no mode of memory works ({reasons})", fix="edgeseg doctor")
    return opened, left_out


def _refuse_unmapped(mode: MemoryMode, facts: GpuFacts) -> None:
    if mode == "mapped" and not facts.can_map_host:
        raise DeviceError(f"{facts.name} cannot reach the CPU's memory", fix="--memory auto")


def _refuse_other_labels(slot: Slot, opened: dict[MemoryMode, _Opened]) -> None:
    """All slots hold the same frame, so they have to hold the same labels."""
    if not opened:
        return
    mode, first = next(iter(opened.items()))
    if np.mean(slot.labels == first.slot.labels) < EQUAL:
        raise DeviceError(f"its labels are not those of {mode}", fix="edgeseg doctor")


def _time_in_turn(
    modes: dict[MemoryMode, _Opened], frames: int, on_progress: OnProgress | None
) -> None:
    """The CPU writes each frame and reads its labels, as a decoder and a sink do."""
    first = next(iter(modes.values()))
    frame, labels = first.slot.pixels.copy(), first.slot.labels.copy()
    for index in range(frames):
        for one in modes.values():
            start = time.perf_counter()
            np.copyto(one.slot.pixels, frame)
            one.engine.launch(one.slot)
            np.copyto(labels, one.slot.labels)
            one.found.wall_ms.append(1e3 * (time.perf_counter() - start))
            if "infer" in one.slot.stages_ms:
                one.found.gpu_ms.append(one.slot.stages_ms["infer"])
        if on_progress:
            on_progress("memory modes", index + 1, frames)


def _times(mode: MemoryMode, found: Latencies) -> ModeTimes:
    return ModeTimes(
        mode=mode,
        copies_per_frame=COPIES[mode],
        wall_ms=summarise(found.wall_ms),
        gpu_ms=summarise(found.gpu_ms) if found.gpu_ms else None,
    )
