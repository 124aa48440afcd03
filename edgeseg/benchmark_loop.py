"""The loop of a benchmark: every result is noted, and what the board did meanwhile."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from edgeseg.benchmark_live import Live, Seen
from edgeseg.engine import Engine
from edgeseg.errors import VideoError
from edgeseg.frames import Source
from edgeseg.latencies import on_gpu
from edgeseg.loop import Result
from edgeseg.metrics.energy import During, Watch
from edgeseg.metrics.flicker import Flicker
from edgeseg.metrics.latency import LatencySummary, summarise
from edgeseg.run import STAGES
from edgeseg.sources import Timing
from edgeseg.stream import Show, Stream, stream
from edgeseg.tables import needs
from edgeseg.types import OnProgress, Pixels, Size

LIVE_S = 20.0
"""How long a loop over what has no end of its own goes on, unless told."""
FLICKER_S, FLICKER_RESULTS = 3.0, 90
"""How long flicker is looked for after the timed run, and in how many results of each source."""
WITH_AN_END = frozenset({"file", "folder", "null", "synthetic"})


@dataclass(frozen=True, kw_only=True)
class Loop:
    """What the loop is to be run with."""

    sources: tuple[str | Source, ...]
    sinks: tuple[str, ...] = ()
    workers: int | None = None
    """None takes what suits the engine and the sources."""
    show: Show | None = None
    codec: str | None = None
    scale: bool = False
    draw: bool | None = True
    """None draws where a sink looks at pictures."""
    timing: Timing | None = None


@dataclass(frozen=True, kw_only=True)
class EndToEnd:
    """The whole loop: decode, infer, draw and, with a sink, encode."""

    source: str
    """The first one."""
    sources: list[str]
    sinks: list[str]
    frames: int
    fps: float
    """Of all sources together."""
    workers: int
    age_ms: LatencySummary
    """Of the result: from the moment the source had the frame to its labels."""
    during: During


class Measured(NamedTuple):
    """What a loop gave."""

    cameras: list[Seen]
    seconds: float
    """From the first read to the last delivery."""
    workers: int
    stages_ms: dict[str, float | None]
    """Means per frame; None where a stage is inside the graph, or did not take place."""
    during: During

    @property
    def frames(self) -> int:
        """Results of all sources."""
        return sum(len(camera.index) for camera in self.cameras)

    @property
    def fps(self) -> float:
        """Results of all sources in a second."""
        return self.frames / self.seconds

    @property
    def age_ms(self) -> LatencySummary:
        """Of all sources."""
        return summarise([age for camera in self.cameras for age in camera.age_ms])


def measure(engine: Engine, loop: Loop, on_progress: OnProgress | None = None) -> Measured:
    """Run `loop` to its end and note every result.

    Raises:
        VideoError: a source cannot be opened, or has no frame.
    """
    sums: dict[str, float] = {}
    with Watch(gpu=on_gpu(engine)) as watch, _opened(engine, loop) as frames:
        seen = [Seen(name=s.info.name, live=s.info.live) for s in frames.sources]
        expected = _expected(frames.sources)
        start_s = time.perf_counter()
        for done, result in enumerate(frames, start=1):
            seen[result.camera].add(result)
            for stage, spent_ms in result.stages_ms.items():
                sums[stage] = sums.get(stage, 0.0) + spent_ms
            if on_progress:
                on_progress("frames", done, expected)
        seconds = time.perf_counter() - start_s
        for camera, source in zip(seen, frames.sources, strict=True):
            camera.end(source)
        workers = frames.engine.workers
    stages = {name: sums[name] / done if name in sums else None for name in STAGES}
    return Measured(seen, seconds, workers, stages, watch.seen(done))


def end_to_end(loop: Loop, found: Measured) -> EndToEnd:
    """What `found` comes to."""
    names = [source if isinstance(source, str) else source.info.name for source in loop.sources]
    return EndToEnd(
        source=names[0],
        sources=names,
        sinks=list(loop.sinks),
        frames=found.frames,
        fps=found.fps,
        workers=found.workers,
        age_ms=found.age_ms,
        during=found.during,
    )


def live(engine: Engine, loop: Loop, found: Measured) -> Live | None:
    """What the sources offered, and how much the masks tremble; None where none of them is live."""
    if not any(camera.live for camera in found.cameras):
        return None
    timing = loop.timing or Timing()
    flicker = flicker_percent(engine, loop)
    return Live(
        rate=None if timing.rate is None else float(timing.rate),
        seconds=timing.seconds,
        cameras=[
            camera.load(timing.rate, percent)
            for camera, percent in zip(found.cameras, flicker, strict=True)
        ],
    )


def flicker_percent(engine: Engine, loop: Loop) -> list[float | None]:
    """Of each source, on a few seconds of it: looking at every pixel would disturb a timed run.

    None where a source does not open again, or nothing in it stands still.
    """
    timing = replace(loop.timing or Timing(), seconds=FLICKER_S)
    meters = [Flicker() for _ in loop.sources]
    epochs = [0 for _ in loop.sources]
    try:
        with _opened(engine, replace(loop, sinks=(), draw=False, timing=timing)) as frames:
            picture = _pictures(frames.engine)
            for done, result in enumerate(frames, start=1):
                if result.time.epoch != epochs[result.camera]:
                    epochs[result.camera] = result.time.epoch
                    meters[result.camera].begin()
                meters[result.camera].see(picture(result), result.labels)
                if done >= FLICKER_RESULTS * len(meters):
                    break
    except VideoError:
        return [None for _ in meters]
    return [meter.percent for meter in meters]


def timing_of(sources: Sequence[str], sinks: Sequence[str], timing: Timing | None) -> Timing:
    """`timing`, with an end after LIVE_S where neither it nor the sources have one."""
    timing = timing or Timing()
    ends = timing.rate is None and all(_has_an_end(source, sinks) for source in sources)
    return timing if ends or timing.seconds else replace(timing, seconds=LIVE_S)


def _opened(engine: Engine, loop: Loop) -> Stream:
    return stream(
        engine,
        list(loop.sources),
        loop.sinks,
        workers=loop.workers,
        show=loop.show,
        codec=loop.codec,
        timing=loop.timing,
        scale=loop.scale,
        draw=loop.draw,
    )


def _has_an_end(uri: str, sinks: Sequence[str]) -> bool:
    """Whether the source stops by itself; what stands for a camera does not while it is watched."""
    with needs("video"):
        from edgeseg.video import SOURCES, is_watched
        from edgeseg.video.uri import source_address
    scheme = source_address(uri, SOURCES).scheme
    return scheme in WITH_AN_END and not (scheme == "synthetic" and any(map(is_watched, sinks)))


def _expected(sources: Sequence[Source]) -> int | None:
    """How many results there will be; None where that is open."""
    counts = [None if source.info.live else source.info.frames for source in sources]
    return None if None in counts else sum(count or 0 for count in counts)


def _pictures(engine: Engine) -> Callable[[Result], Pixels]:
    """What gives a result's frame as RGB, in the size of its labels."""
    with needs("video"):
        from edgeseg.video.pixels import ToRgb, resized
    rgb = ToRgb(engine.manifest.frame_format, engine.frame_size, yuv=engine.manifest.yuv_kind)
    return lambda result: resized(rgb.view(result.pixels), Size(*result.labels.shape))
