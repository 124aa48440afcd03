"""Results on their way to the sinks: one sink for each camera, or one for all of them."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.frames import Source, SourceCounts
from edgeseg.loop import Result
from edgeseg.tables import needs

if TYPE_CHECKING:
    from edgeseg.video import Sink, SinkOptions

RATE_WINDOW = 30
"""Results over which the shown rate is averaged."""

EACH = "{camera}"
"""In the URI of a sink: the number of the camera, one sink for each."""


class Rate:
    """Results in a second, over the last ones."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=RATE_WINDOW)

    def tick(self) -> None:
        """Another result is there now."""
        self._times_s.append(time.perf_counter())

    @property
    def fps(self) -> float:
        """0 where there were not two results yet."""
        times_s = self._times_s
        if len(times_s) < 2:
            return 0.0
        return (len(times_s) - 1) / max(times_s[-1] - times_s[0], 1e-9)


class Delivery:
    """Gives each result to the sinks that are for its camera; owns the sinks."""

    def __init__(
        self,
        uris: Sequence[str],
        wanted: "SinkOptions",
        *,
        codec: str | None,
        statistics: str | None,
    ) -> None:
        self.rates = [Rate() for _ in wanted.cameras]
        self._sinks: list[tuple[int | None, Sink]] = []
        try:
            for uri in uris:
                self._open(uri, wanted, codec if Path(uri).suffix or "rtsp:" in uri else None)
            if statistics is not None:
                with needs("video"):
                    from edgeseg.video.sinks.statistics import JsonLines
                self._sinks.append((None, JsonLines(statistics, wanted.labels, wanted.cameras)))
        except BaseException:
            self.close()
            raise

    @property
    def takes_pictures(self) -> bool:
        """Whether any sink looks at drawn pictures."""
        return any(sink.takes_pictures for _, sink in self._sinks)

    @property
    def wants_to_stop(self) -> bool:
        """Whether who looks at a sink has seen enough: a window was closed."""
        return any(getattr(sink, "wants_to_stop", False) for _, sink in self._sinks)

    def deliver(self, result: Result, source: Source) -> None:
        """Give `result` of `source` to its sinks.

        Raises:
            OutputError: a sink can take no more.
        """
        rate = self.rates[result.camera]
        rate.tick()
        if not self._sinks:
            return
        from edgeseg.video import FrameView

        start = time.perf_counter()
        view = FrameView(
            index=result.time.index,
            picture=_NO_PICTURE if result.picture is None else result.picture,
            labels=result.labels,
            pixels=result.pixels,
            time=result.time,
            age_ms=result.age_ms,
            camera=result.camera,
            stages_ms=result.stages_ms,
            counts=counts_of(source),
            fps=rate.fps,
        )
        for camera, sink in self._sinks:
            if camera is None or camera == result.camera:
                sink.write(view)
        result.stages_ms["encode"] = 1e3 * (time.perf_counter() - start)

    def close(self) -> None:
        """Finish what the sinks wrote, all of them whatever one says."""
        failure: BaseException | None = None
        while self._sinks:
            try:
                self._sinks.pop()[1].close()
            except BaseException as error:  # noqa: BLE001 - it is raised again below
                failure = failure or error
        if failure is not None:
            raise failure

    def _open(self, uri: str, wanted: "SinkOptions", codec: str | None) -> None:
        with needs("video"):
            from edgeseg.video import knows_cameras, open_sink

        if EACH in uri:
            for camera, name in enumerate(wanted.cameras):
                alone = replace(wanted, cameras=(name,), codec=codec)
                self._sinks.append((camera, open_sink(uri.replace(EACH, str(camera)), alone)))
        elif len(wanted.cameras) == 1 or knows_cameras(uri):
            self._sinks.append((None, open_sink(uri, replace(wanted, codec=codec))))
        else:
            with needs("video"):
                from edgeseg.video.sinks.mosaic import Mosaic, mosaic_options
            inner = open_sink(uri, mosaic_options(replace(wanted, codec=codec), wanted.cameras))
            self._sinks.append((None, Mosaic(inner, wanted, wanted.cameras)))


def counts_of(source: Source) -> SourceCounts:
    """What became of the frames of `source`; its own object, where it counts."""
    counts = getattr(source, "counts", None)
    return counts if isinstance(counts, SourceCounts) else SourceCounts()


_NO_PICTURE = np.empty((0, 0, 3), np.uint8)
