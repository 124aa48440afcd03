"""Latency of the network alone and of the whole loop, with the machine and its foreign load."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeseg.device.info import machine
from edgeseg.engine import Engine
from edgeseg.errors import UsageError
from edgeseg.metrics.latency import LatencySummary, summarise
from edgeseg.metrics.load import ForeignLoad, resident_mib
from edgeseg.stream import Show, default_workers, run
from edgeseg.tables import needs
from edgeseg.types import OnProgress, Slot

WARMUP = 5

# DeepLab v1 (Chen et al., arXiv:1412.7062), section 3.2: the network whose fc6 is cut to 4x4, on
# 306x306 pictures. Its 114.0 GMAC are counted from its layers.
PAPER = {
    "network": "DeepLab v1 (VGG-16, fc6 4x4) at 306x306",
    "gpu": "Titan",
    "fps": 8.0,
    "gmac": 114.0,
}


@dataclass(frozen=True, kw_only=True)
class EndToEnd:
    """The whole loop: decode, infer, draw and, with a sink, encode."""

    source: str
    sinks: list[str]
    frames: int
    fps: float
    workers: int
    age_ms: LatencySummary
    """Of the result: from the decoded frame to its labels."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What was measured, and where."""

    engine: str
    network: str
    precision: str
    backend: str
    size: str
    frame: str
    latency_ms: LatencySummary
    """Of the network alone: bytes in memory to ids in memory, one frame at a time."""
    fps: float
    """1000 / the mean latency: the network alone."""
    end_to_end: EndToEnd | None
    stages_ms: dict[str, float | None] | None
    """Means per frame in one worker; None where a stage is inside the graph."""
    versus: dict[str, object]
    memory_mib: float | None
    machine: dict[str, str | int | float | None]
    foreign_load: dict[str, float | bool | None]


def benchmark(
    engine: Engine | str | Path,
    source: str | None = None,
    sinks: tuple[str, ...] = (),
    *,
    frames: int = 100,
    rivals: tuple[str | Path, ...] = (),
    workers: int | None = None,
    threads: int | None = None,
    show: Show | None = None,
    codec: str | None = None,
    on_progress: OnProgress | None = None,
) -> Benchmark:
    """Time `engine` alone on `frames` frames, then the whole loop over `source`, if one is given.

    `rivals` are other engine folders; each frame is timed on all of them in turn, so that what
    the machine does meanwhile hits them alike.

    Raises:
        UsageError: fewer than one frame.
        VideoError: the source cannot be opened.
    """
    if frames < 1:
        raise UsageError(f"{frames} frames cannot be measured", fix="--frames 100")
    if not isinstance(engine, Engine):
        with Engine.open(engine, threads=threads) as opened:
            return benchmark(
                opened,
                source,
                sinks,
                frames=frames,
                rivals=rivals,
                workers=workers,
                threads=threads,
                show=show,
                codec=codec,
                on_progress=on_progress,
            )
    with needs("video"):
        from edgeseg.video.threads import one_opencv_thread
    others = [Engine.open(rival, threads=threads) for rival in rivals]
    with one_opencv_thread(), ForeignLoad() as load:
        latencies, *theirs = network_latencies_ms([engine, *others], frames, on_progress)
        loop, stages = None, None
        if source is not None:
            used = workers or default_workers()
            done = run(
                engine,
                source,
                sinks,
                workers=used,
                show=show,
                codec=codec,
                draw=True,
                on_progress=on_progress,
            )
            stages = done.stages_ms
            loop = EndToEnd(
                source=source,
                sinks=list(sinks),
                frames=done.frames,
                fps=done.fps,
                workers=used,
                age_ms=summarise(done.age_ms),
            )
    summary = summarise(latencies)
    manifest = engine.manifest
    return Benchmark(
        engine=str(engine.folder),
        network=manifest.network,
        precision=manifest.precision.value,
        backend=engine.backend_name,
        size=manifest.size,
        frame=manifest.frame,
        latency_ms=summary,
        fps=1000 / summary.mean,
        end_to_end=loop,
        stages_ms=stages,
        versus={
            "paper": _versus_paper(1000 / summary.mean, manifest.macs, manifest.network),
            **{
                str(rival.folder): _versus_rival(rival, latencies, other)
                for rival, other in zip(others, theirs, strict=True)
            },
        },
        memory_mib=resident_mib(),
        machine=machine(),
        foreign_load={"cpus": load.cpus, "dirty": load.dirty},
    )


def network_latencies_ms(
    engines: Sequence[Engine], frames: int, on_progress: OnProgress | None = None
) -> list[list[float]]:
    """Wall time of `frames` launches of each engine in turn, after a warm-up of each."""
    slots = [engine.new_slot() for engine in engines]
    for engine, slot in zip(engines, slots, strict=True):
        _fill(slot)
        for _ in range(WARMUP):
            engine.launch(slot)
    latencies: list[list[float]] = [[] for _ in engines]
    for index in range(frames):
        for engine, slot, spent in zip(engines, slots, latencies, strict=True):
            start = time.perf_counter()
            engine.launch(slot)
            spent.append(1e3 * (time.perf_counter() - start))
        if on_progress:
            on_progress("network alone", index + 1, frames)
    return latencies


def _fill(slot: Slot) -> None:
    """A pattern with edges: all-equal input would let caches and branch predictors cheat."""
    flat = slot.pixels.reshape(-1)
    period = 251  # prime, so that rows do not line up
    for offset in range(period):
        flat[offset::period] = offset


def _versus_paper(fps: float, macs: int, network: str) -> dict[str, object]:
    paper = float(str(PAPER["fps"])), float(str(PAPER["gmac"]))
    return {
        **PAPER,
        "ours": network,
        "ours_fps": fps,
        "ours_gmac": macs / 1e9,
        "ratio_fps": fps / paper[0],
        "ratio_gmac_per_s": fps * macs / 1e9 / (paper[0] * paper[1]),
    }


def _versus_rival(rival: Engine, ours: list[float], theirs: list[float]) -> dict[str, object]:
    """Their latency over ours, frame by frame: above 1 means that this engine is faster."""
    ratios = sorted(other / own for own, other in zip(ours, theirs, strict=True))
    return {
        "name": rival.manifest.name,
        "backend": rival.backend_name,
        "latency_ms": asdict(summarise(theirs)),
        "ratio": ratios[len(ratios) // 2],
    }
