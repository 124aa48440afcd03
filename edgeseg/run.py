"""Stream to the end, and say what it came to."""

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeseg.delivery import counts_of
from edgeseg.engine import Engine
from edgeseg.frames import Source, SourceCounts
from edgeseg.loop import Result
from edgeseg.sources import Timing
from edgeseg.stream import Show, Stream, stream
from edgeseg.types import OnProgress, RuntimeOptions
from edgeseg.video.credentials import shown

STAGES = ("decode", "pre", "infer", "post", "draw", "encode")

KEPT = 1_000_000
"""Results of a camera whose age is kept: a run without an end does not grow."""


@dataclass(kw_only=True)
class CameraSummary:
    """What became of one source."""

    name: str
    live: bool
    frames: int = 0
    """Results."""
    age_ms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    delivered_s: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    """time.perf_counter() when each result was there."""
    counts: SourceCounts = field(default_factory=SourceCounts)

    @property
    def fps(self) -> float:
        """Results in a second, from the first one to the last; nan where there are not two."""
        if len(self.delivered_s) < 2:
            return math.nan
        return (len(self.delivered_s) - 1) / (self.delivered_s[-1] - self.delivered_s[0])


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What one run came to."""

    frames: int
    seconds: float
    fps: float
    """Frames over the time from the first read to the last delivery."""
    age_ms: list[float]
    stages_ms: dict[str, float | None]
    """Mean per frame; None where a stage is inside the graph or does not take place."""
    damaged: int
    """Frames of a video that could not be decoded."""
    skipped: list[str]
    """Pictures of a folder that could not be read."""
    outputs: list[str]
    memory: str | None
    """How frames reached the GPU; None on a CPU."""
    cameras: list[CameraSummary]


def run(
    engine: Engine | str | Path,
    source: str | Source | Sequence[str | Source],
    sinks: Sequence[str] = (),
    *,
    workers: int | None = None,
    show: Show | None = None,
    codec: str | None = None,
    timing: Timing | None = None,
    scale: bool = False,
    draw: bool | None = None,
    statistics: str | None = None,
    runtime: RuntimeOptions | None = None,
    on_progress: OnProgress | None = None,
) -> RunSummary:
    """Stream `source` through `engine` into `sinks` to the end; what it took.

    Raises what `stream` does. A KeyboardInterrupt closes the sinks first: their files play.
    """
    sums: dict[str, float] = {}
    frames = stream(
        engine,
        source,
        sinks,
        workers=workers,
        show=show,
        codec=codec,
        timing=timing,
        scale=scale,
        draw=draw,
        statistics=statistics,
        runtime=runtime,
    )
    with frames:
        cameras = [CameraSummary(name=s.info.name, live=s.info.live) for s in frames.sources]
        start = time.perf_counter()
        for result in frames:
            _note(result, cameras[result.camera], sums)
            if on_progress:
                done = sum(camera.frames for camera in cameras)
                on_progress("frames", done, _expected(frames.sources))
        seconds = time.perf_counter() - start
    return _summary(frames, cameras, sums, seconds, sinks)


def _note(result: Result, camera: CameraSummary, sums: dict[str, float]) -> None:
    camera.frames += 1
    camera.age_ms.append(result.age_ms)
    camera.delivered_s.append(time.perf_counter())
    for stage, spent in result.stages_ms.items():
        sums[stage] = sums.get(stage, 0.0) + spent


def _expected(sources: Sequence[Source]) -> int | None:
    """How many results there will be; None where that is open."""
    total = 0
    for source in sources:
        if source.info.frames is None or source.info.live:
            return None
        total += source.info.frames
    return total


def _summary(
    frames: Stream,
    cameras: list[CameraSummary],
    sums: dict[str, float],
    seconds: float,
    sinks: Sequence[str],
) -> RunSummary:
    for camera, source in zip(cameras, frames.sources, strict=True):
        camera.counts = replace(counts_of(source))
    count = sum(camera.frames for camera in cameras)
    return RunSummary(
        frames=count,
        seconds=seconds,
        fps=count / seconds,
        age_ms=[age for camera in cameras for age in camera.age_ms],
        stages_ms={stage: sums[stage] / count if stage in sums else None for stage in STAGES},
        damaged=sum(camera.counts.damaged for camera in cameras),
        skipped=[name for s in frames.sources for name in getattr(s, "skipped", [])],
        outputs=[shown(uri) for uri in sinks],
        memory=frames.engine.memory_mode,
        cameras=cameras,
    )
