"""Stream to the end, and say what it came to."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeseg.delivery import counts_of
from edgeseg.engine import Engine
from edgeseg.frames import Source, SourceCounts
from edgeseg.loop import Result
from edgeseg.sources import Given, Timing, names_of
from edgeseg.stream import Show, Stream, stream
from edgeseg.types import OnProgress, RuntimeOptions
from edgeseg.video.credentials import shown

STAGES = ("decode", "pre", "infer", "post", "draw", "encode")

KEPT = 100_000
"""Results of a camera whose age is kept, the last ones: a run without an end does not grow."""


@dataclass(kw_only=True)
class CameraSummary:
    """What became of one source."""

    name: str
    live: bool
    frames: int = 0
    """Results."""
    age_ms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    first_s: float = math.nan
    last_s: float = math.nan
    """time.perf_counter() when the first and the last result were there."""
    counts: SourceCounts = field(default_factory=SourceCounts)

    @property
    def fps(self) -> float:
        """Results in a second, from the first one to the last; nan where there are not two."""
        if self.frames < 2:
            return math.nan
        return (self.frames - 1) / max(self.last_s - self.first_s, 1e-9)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What one run came to."""

    frames: int
    seconds: float
    fps: float
    """Frames over the time from the first read to the last delivery."""
    age_ms: list[float]
    """Of each result; of a run that is longer, of the last ones of each camera."""
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
    source: Given | Sequence[Given],
    sinks: str | Sequence[str] = (),
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
    on_interrupt: Callable[[RunSummary], None] | None = None,
) -> RunSummary:
    """Stream `source` through `engine` into `sinks` to the end; what it took.

    Raises what `stream` does. A KeyboardInterrupt closes the sinks first: their files play;
    `on_interrupt` gets what the run came to until then, for one without an end ends in no other
    way.
    """
    sinks = [sinks] if isinstance(sinks, str) else sinks
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
    notes = _Notes(frames.sources)
    try:
        with frames:
            results = iter(frames)  # which would end before `frames` hears what ends it
            for result in results:
                notes.add(result)
                if on_progress:
                    on_progress("frames", notes.frames, _expected(frames.sources))
    except BaseException as error:
        if on_interrupt and notes.frames and not isinstance(error, Exception):
            on_interrupt(_summary(frames, notes, sinks))
        raise
    return _summary(frames, notes, sinks)


class _Notes:
    """What a run came to until now."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.cameras = [
            CameraSummary(name=name, live=source.info.live)
            for name, source in zip(names_of(sources), sources, strict=True)
        ]
        self.frames = 0
        self.start_s = self.end_s = time.perf_counter()
        self.stages_ms: dict[str, float] = {}

    def add(self, result: Result) -> None:
        """Another result is there now."""
        camera = self.cameras[result.camera]
        self.end_s = camera.last_s = time.perf_counter()
        if not camera.frames:
            camera.first_s = camera.last_s
        self.frames += 1
        camera.frames += 1
        camera.age_ms.append(result.age_ms)
        for stage, spent in result.stages_ms.items():
            self.stages_ms[stage] = self.stages_ms.get(stage, 0.0) + spent


def _expected(sources: Sequence[Source]) -> int | None:
    """How many results there will be; None where that is open."""
    total = 0
    for source in sources:
        if source.info.frames is None or source.info.live:
            return None
        total += source.info.frames
    return total


def _summary(frames: Stream, notes: _Notes, sinks: Sequence[str]) -> RunSummary:
    for camera, source in zip(notes.cameras, frames.sources, strict=True):
        camera.counts = replace(counts_of(source))
    count, seconds = notes.frames, max(notes.end_s - notes.start_s, 1e-9)
    means = {stage: spent / count for stage, spent in notes.stages_ms.items()}
    return RunSummary(
        frames=count,
        seconds=seconds,
        fps=count / seconds,
        age_ms=[age for camera in notes.cameras for age in camera.age_ms],
        stages_ms={stage: means.get(stage) for stage in STAGES},
        damaged=sum(camera.counts.damaged for camera in notes.cameras),
        skipped=[name for s in frames.sources for name in getattr(s, "skipped", [])],
        outputs=[shown(uri) for uri in sinks],
        memory=frames.engine.memory_mode,
        cameras=notes.cameras,
    )
