"""Run an engine over sources and into sinks."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from edgeseg.cameras import Cameras
from edgeseg.delivery import Delivery, counts_of
from edgeseg.drawing import draws_of, picture_size
from edgeseg.engine import Engine
from edgeseg.errors import VideoError
from edgeseg.frames import LiveSource, Source
from edgeseg.loop import Draw, FrameLoop, Result
from edgeseg.sources import Given, Timing, default_workers, names_of, opened_sources
from edgeseg.tables import needs
from edgeseg.types import RuntimeOptions

if TYPE_CHECKING:
    from edgeseg.video import SinkOptions

Visualize = Literal["overlay", "mask", "side-by-side"]

PATIENCE_S = 0.4
"""How long an interrupted run waits for frames that are worked on; some networks take seconds."""


@dataclass(frozen=True, kw_only=True)
class Show:
    """How results are drawn for the sinks."""

    visualize: Visualize = "overlay"
    alpha: float = 0.5
    legend: bool = True


def stream(
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
) -> "Stream":
    """The results of `engine` on every frame of `source`, in order; `sinks` get each one first.

    Of a live source the newest frame is taken whenever a worker is free, and what nobody took is
    dropped and counted; of any other nothing is. Several sources take turns; those after the first
    are delivered in its size. `workers` frames are worked on at once, each by one thread from end
    to end; None takes what suits the engine. With `scale` sources deliver frames of the engine's
    size. `statistics` is a file of JSON lines, one for each result; `-` is the standard output.
    Iterate over it once; leaving the loop early, or an exception, closes everything.

    Raises:
        VideoError: a source cannot be opened, has no frame, or is lost for good.
        OutputError: a sink cannot be written; what was written until then plays.
    """
    own = engine if isinstance(engine, Engine) else Engine.open(engine, runtime=runtime)
    asked = [source] if isinstance(source, str) or not isinstance(source, Sequence) else source
    sinks = [sinks] if isinstance(sinks, str) else sinks
    wake = threading.Condition()
    sources: list[Source] = []
    try:
        sources = opened_sources(own, list(asked), sinks, timing or Timing(), wake, scale=scale)
        move = own.at if own is engine else own.moved_to
        running = move(sources[0].info.size, workers=workers or default_workers(own, sources))
    except BaseException:
        for each in sources:
            each.close()
        if own is not engine:
            own.close()
        raise
    return Stream(
        running,
        sources,
        wake,
        sinks,
        show=show or Show(),
        timing=timing or Timing(),
        codec=codec,
        draw=draw,
        statistics=statistics,
    )


class Stream:
    """An engine at work on its sources; an iterator of results and a context manager."""

    def __init__(
        self,
        engine: Engine,
        sources: Sequence[Source],
        wake: threading.Condition,
        sinks: Sequence[str],
        *,
        show: Show,
        timing: Timing,
        codec: str | None,
        draw: bool | None,
        statistics: str | None,
    ) -> None:
        self.engine, self.sources, self.source = engine, list(sources), sources[0]
        self._timing = timing
        self._title = (
            f"{engine.manifest.network} {engine.manifest.precision.value} on {engine.backend_name}"
        )
        self._delivered = 0
        self._answered = [0] * len(sources)
        self._closed = False
        self._scope = contextlib.ExitStack()
        self._loop: FrameLoop | None = None
        self._scope.callback(self._close_engine)
        self._scope.callback(self._count_unanswered)  # when the cameras count no more
        self._cameras = Cameras(
            sources,
            wake,
            one_at_a_time=engine.manifest.smooth is not None,
            seconds=timing.seconds,
        )
        self._scope.callback(self._cameras.close)
        try:
            with needs("video"):
                from edgeseg.video.threads import one_opencv_thread
            self._scope.enter_context(one_opencv_thread())
            wanted = self._sink_options(show)
            self._sinks = Delivery(sinks, wanted, codec=codec, statistics=statistics)
            self._scope.callback(self._sinks.close)
            drawn = self._sinks.takes_pictures if draw is None else draw
            loop = FrameLoop(engine, self._cameras, self._draws(show) if drawn else None)
            self._loop, self._results = loop, loop.results()
        except BaseException:
            self._closed = True
            self._scope.close()
            raise

    def __iter__(self) -> Iterator[Result]:
        try:
            for result in self._results:
                if self._is_late(result):
                    self._leave_out(result)
                    continue
                self._sinks.deliver(result, self.sources[result.camera])
                self._answered[result.camera] += 1
                self._delivered += 1
                yield result
                if self._sinks.wants_to_stop:
                    break
        except BaseException as error:
            self._end(_patience(type(error)))
            raise
        self.close()
        if self._delivered == 0:
            raise self._nothing()

    def close(self) -> None:
        """End the workers, finish what the sinks wrote, free everything; twice is fine."""
        self._end(None)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(_patience(kind))

    def _end(self, patience_s: float | None) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._results.close()  # type: ignore[attr-defined]
            if self._loop is not None:
                self._loop.stop(patience_s)
        finally:
            self._scope.close()

    def _count_unanswered(self) -> None:
        """Live frames that were in work when the run ended were dropped."""
        read = self._loop.read if self._loop is not None else self._answered
        for source, count, answered in zip(self.sources, read, self._answered, strict=True):
            if isinstance(source, LiveSource):
                with source.wake:
                    source.counts.dropped += count - answered

    def _close_engine(self) -> None:
        if self._loop is None or self._loop.is_at_rest():
            self.engine.close()  # else an interrupted worker is still at a slot's memory

    def _is_late(self, result: Result) -> bool:
        """Whether a live result became too old while it waited for the ones before it."""
        greatest_ms = self._timing.max_age_ms
        if greatest_ms is None or not self.sources[result.camera].info.live:
            return False
        return 1e3 * (time.monotonic() - result.time.captured_s) > greatest_ms

    def _leave_out(self, result: Result) -> None:
        self._answered[result.camera] += 1
        source = self.sources[result.camera]
        if isinstance(source, LiveSource):
            with source.wake:
                source.counts.late += 1

    def _nothing(self) -> VideoError:
        """Why there was not one result."""
        names = " and ".join(source.info.name for source in self.sources)
        late = sum(counts_of(source).late for source in self.sources)
        if late:
            return VideoError(
                f"every frame of {names} was too old: {late} were older than "
                f"{self._timing.max_age_ms:g} ms",
                fix="give a greater --max-age, or take a faster network or a smaller frame",
            )
        return VideoError(f"{names or 'the source'} has no frame", fix="check the source")

    def _text(self, result: Result) -> str:
        """What stands above the picture; the rate is that of the results before."""
        fps, infer_ms = self._sinks.rates[result.camera].fps, result.stages_ms.get("infer", 0.0)
        age = f"  age {result.age_ms:.0f} ms" if self.sources[result.camera].info.live else ""
        return f"{self._title}  {fps:.0f} fps  {infer_ms:.1f} ms{age}"

    def _draws(self, show: Show) -> list[Draw]:
        return draws_of(
            self.engine,
            visualize=show.visualize,
            alpha=show.alpha,
            legend=show.legend,
            text=self._text,
        )

    def _sink_options(self, show: Show) -> "SinkOptions":
        with needs("video"):
            from edgeseg.video import SinkOptions

        info, engine = self.source.info, self.engine
        return SinkOptions(
            size=picture_size(info.size, show.visualize),
            fps=info.fps,
            labels=engine.labels,
            live=any(source.info.live for source in self.sources),
            frame_size=info.size,
            mask_size=engine.mask_size,
            pixel_format=engine.manifest.frame_format,
            yuv=engine.manifest.yuv_kind,
            pixel_aspect=info.pixel_aspect,
            cameras=names_of(self.sources),
            title=self._title,
            visualize=show.visualize,
            alpha=show.alpha,
        )


def _patience(ending: type[BaseException] | None) -> float | None:
    """How long work that goes on is waited for: without an end, but where a signal ends the run."""
    harmless = ending is None or issubclass(ending, (Exception, GeneratorExit))
    return None if harmless else PATIENCE_S
