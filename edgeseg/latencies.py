"""Wall clock and GPU time of single frames, apart."""

import time
from dataclasses import dataclass, field

from edgeseg.engine import Engine
from edgeseg.types import Slot

WARMUP = 5
ON_GPU = frozenset({"tensorrt"})
"""Backends whose `infer` is the time between two marks on the GPU."""


@dataclass(kw_only=True)
class Latencies:
    """Of one engine, frame by frame, in milliseconds."""

    wall_ms: list[float] = field(default_factory=list)
    gpu_ms: list[float] = field(default_factory=list)
    """Empty for an engine on a CPU."""


def on_gpu(engine: Engine) -> bool:
    """Whether `engine` computes on a GPU."""
    return engine.backend_name in ON_GPU


def warm_slot(engine: Engine) -> Slot:
    """A slot with a patterned frame that went through `engine` a few times."""
    slot = engine.new_slot()
    fill(slot)
    for _ in range(WARMUP):
        engine.launch(slot)
    return slot


def time_frame(engine: Engine, slot: Slot, found: Latencies) -> None:
    """Launch what lies in `slot`, and append what it took to `found`."""
    start = time.perf_counter()
    engine.launch(slot)
    found.wall_ms.append(1e3 * (time.perf_counter() - start))
    if on_gpu(engine) and "infer" in slot.stages_ms:
        found.gpu_ms.append(slot.stages_ms["infer"])


def fill(slot: Slot) -> None:
    """A pattern with edges: all-equal input would let caches and branch predictors cheat."""
    flat = slot.pixels.reshape(-1)
    period = 251  # prime, so that rows do not line up
    for offset in range(period):
        flat[offset::period] = offset
