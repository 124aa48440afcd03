"""Run an engine over a source and into sinks."""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from edgeseg.drawing import draws_of
from edgeseg.engine import Engine
from edgeseg.errors import VideoError
from edgeseg.loop import Draw, FrameLoop, Result
from edgeseg.tables import needs
from edgeseg.types import OnProgress, RuntimeOptions, Size, Source

if TYPE_CHECKING:
    from edgeseg.video import Sink

DEFAULT_FPS = Fraction(30)
"""Of a written file, where the source does not say."""

STAGES = ("decode", "pre", "infer", "post", "draw", "encode")
FPS_WINDOW = 30
"""Frames over which the drawn rate is averaged."""

log = logging.getLogger(__name__)

Visualize = Literal["overlay", "mask", "side-by-side"]


@dataclass(frozen=True, kw_only=True)
class Show:
    """How results are drawn for the sinks."""

    visualize: Visualize = "overlay"
    alpha: float = 0.5
    legend: bool = True


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


def stream(
    engine: Engine | str | Path,
    source: str | Source,
    sinks: Sequence[str] = (),
    *,
    workers: int | None = None,
    show: Show | None = None,
    codec: str | None = None,
    rate: Fraction | None = None,
    scale: bool = False,
    draw: bool | None = None,
    runtime: RuntimeOptions | None = None,
) -> "Stream":
    """The results of `engine` on every frame of `source`, in order; `sinks` get each one first.

    `workers` frames are worked on at once, each by one thread from end to end; None takes what
    suits the engine. With `scale` the source delivers frames of the engine's size. Nothing is
    dropped: files wait. Iterate over it once; leaving the loop early, or an exception, closes
    everything.

    Raises:
        VideoError: the source cannot be opened, or has no frame.
        OutputError: a sink cannot be written; what was written until then plays.
    """
    with needs("video"):
        from edgeseg.video import open_source

    own = engine if isinstance(engine, Engine) else Engine.open(engine, runtime=runtime)
    opened: Source | None = None
    try:
        size = _scaled_size(own) if scale else None
        opened = (
            open_source(source, pixel_format=own.manifest.frame_format, rate=rate, scale_to=size)
            if isinstance(source, str)
            else source
        )
        move = own.at if own is engine else own.moved_to
        running = move(opened.info.size, workers=workers or own.default_workers())
    except BaseException:
        if opened is not None:
            opened.close()
        if own is not engine:
            own.close()
        raise
    wants_picture = bool(sinks) if draw is None else draw
    return Stream(running, opened, sinks, show or Show(), codec=codec, draw=wants_picture)


def run(
    engine: Engine | str | Path,
    source: str | Source,
    sinks: Sequence[str] = (),
    *,
    workers: int | None = None,
    show: Show | None = None,
    codec: str | None = None,
    rate: Fraction | None = None,
    scale: bool = False,
    draw: bool | None = None,
    runtime: RuntimeOptions | None = None,
    on_progress: OnProgress | None = None,
) -> RunSummary:
    """Stream `source` through `engine` into `sinks` to the end; what it took.

    Raises what `stream` does. A KeyboardInterrupt closes the sinks first: their files play.
    """
    ages: list[float] = []
    sums: dict[str, float] = {}
    frames = stream(
        engine,
        source,
        sinks,
        workers=workers,
        show=show,
        codec=codec,
        rate=rate,
        scale=scale,
        draw=draw,
        runtime=runtime,
    )
    with frames:
        start = time.perf_counter()
        for result in frames:
            ages.append(result.age_ms)
            for stage, spent in result.stages_ms.items():
                sums[stage] = sums.get(stage, 0.0) + spent
            if on_progress:
                on_progress("frames", len(ages), frames.source.info.frames)
        seconds = time.perf_counter() - start
    return RunSummary(
        frames=len(ages),
        seconds=seconds,
        fps=len(ages) / seconds,
        age_ms=ages,
        stages_ms={stage: sums[stage] / len(ages) if stage in sums else None for stage in STAGES},
        damaged=getattr(frames.source, "damaged", 0),
        skipped=list(getattr(frames.source, "skipped", [])),
        outputs=list(sinks),
        memory=frames.engine.memory_mode,
    )


class Stream:
    """An engine at work on a source; an iterator of results and a context manager."""

    def __init__(
        self,
        engine: Engine,
        source: Source,
        sinks: Sequence[str],
        show: Show,
        *,
        codec: str | None,
        draw: bool,
    ) -> None:
        self.engine, self.source = engine, source
        self._sinks: list[Sink] = []
        self._times: deque[float] = deque(maxlen=FPS_WINDOW)
        self._text = ""
        self._delivered = 0
        self._closed = False
        self._scope = contextlib.ExitStack()
        try:
            with needs("video"):
                from edgeseg.video.threads import one_opencv_thread
            self._scope.enter_context(one_opencv_thread())
            draws, size = self._draws(show) if draw else (None, source.info.size)
            if sinks:
                with needs("video"):
                    from edgeseg.video import open_sink
                for uri in sinks:
                    fps = source.info.fps or DEFAULT_FPS
                    self._sinks.append(
                        open_sink(
                            uri, size=size, fps=fps, labels=engine.labels, codec=_codec(uri, codec)
                        )
                    )
            self._loop = FrameLoop(engine, source, draws)
        except BaseException:
            self._closed = True
            self._close_sinks()
            source.close()
            engine.close()
            self._scope.close()
            raise
        self._results = self._loop.results()

    def __iter__(self) -> Iterator[Result]:
        try:
            for result in self._results:
                self._deliver(result)
                yield result
        finally:
            self.close()
        if self._delivered == 0:
            raise VideoError(
                f"{self.source.info.name or 'the source'} has no frame", fix="check the source"
            )

    def close(self) -> None:
        """End the workers, finish what the sinks wrote, free everything; twice is fine."""
        if self._closed:
            return
        self._closed = True
        try:
            self._results.close()  # type: ignore[attr-defined]
            self._loop.stop()
        finally:
            self._close_sinks()
            self.source.close()
            if self._loop.is_at_rest():  # else an interrupted worker is still at a slot's memory
                self.engine.close()
            self._scope.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _deliver(self, result: Result) -> None:
        start = time.perf_counter()
        self._times.append(start)
        if len(self._times) > 1:
            fps = (len(self._times) - 1) / (self._times[-1] - self._times[0])
            manifest, infer_ms = self.engine.manifest, result.stages_ms.get("infer", 0.0)
            self._text = (
                f"{manifest.network} {manifest.precision.value} on {self.engine.backend_name}  "
                f"{fps:.0f} fps  {infer_ms:.1f} ms"
            )
        if self._sinks and result.picture is not None:
            from edgeseg.video import FrameView

            view = FrameView(index=result.index, picture=result.picture, labels=result.labels)
            for sink in self._sinks:
                sink.write(view)
            result.stages_ms["encode"] = 1e3 * (time.perf_counter() - start)
        self._delivered += 1

    def _draws(self, show: Show) -> tuple[list[Draw], Size]:
        return draws_of(
            self.engine,
            visualize=show.visualize,
            alpha=show.alpha,
            legend=show.legend,
            text=lambda: self._text,
        )

    def _close_sinks(self) -> None:
        while self._sinks:
            self._sinks.pop().close()


def _scaled_size(engine: Engine) -> Size:
    """The engine's own frame size, which the source is to deliver; says what that costs."""
    log.warning(
        "frames of another size are scaled to %s: the mIoU in the manifest does not apply to them",
        engine.frame_size,
    )
    return engine.frame_size


def _codec(uri: str, codec: str | None) -> str | None:
    """`codec` is for the video files among the sinks."""
    return codec if Path(uri).suffix else None
