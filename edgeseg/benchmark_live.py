"""What a camera offered and what became of it: rates, drops, jitter, age and its trend."""

import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from edgeseg.delivery import counts_of
from edgeseg.frames import Source, SourceCounts
from edgeseg.loop import Result
from edgeseg.metrics.latency import LatencySummary, summarise
from edgeseg.types import Array

PLAYED = 0.98
"""Of the rate that was asked for: a source that gives less could not be played at it."""
BLOCKS = 20
"""Results in their order fall into as many blocks; what one result owes to the one before it
does not reach into the next block."""
STUDENT = 2.10
"""The 97.5 % quantile of Student's t with BLOCKS - 2 degrees of freedom."""
NOTICED = 0.1
"""Of the time between two results: an age that rises by less over the whole run does not grow."""


@dataclass(frozen=True, kw_only=True)
class AgeTrend:
    """A straight line through the age over time."""

    ms_per_minute: float
    error_ms_per_minute: float
    """Half of the 95 % interval."""
    grows: bool
    """The interval lies above 0, and the rise over the run is a tenth of a frame or more."""


@dataclass(frozen=True, kw_only=True)
class CameraLoad:
    """What one source offered, and what was achieved."""

    name: str
    live: bool
    asked_fps: float | None
    """The rate that was asked for."""
    offered: int
    """Frames that were captured from the first result's to the last one's."""
    offered_fps: float | None
    kept_pace: bool | None
    """Whether the source gave 98 % of the rate that was asked for; None where none was."""
    frames: int
    """Results."""
    fps: float | None
    """Results in a second, from the first to the last."""
    dropped: int
    """Of the offered frames: a newer one came before anybody took them."""
    late: int
    """Of the offered frames: older than the greatest age that is allowed."""
    jitter_ms: float | None
    """Standard deviation of the time between two results."""
    interval_ms: LatencySummary | None
    """Of the time between two results."""
    age_ms: LatencySummary | None
    """From capture to labels."""
    age_trend: AgeTrend | None
    """None where there are too few results to say."""
    flicker_percent: float | None
    """Pixels that change label while the picture does not, from one result to the next."""
    counts: SourceCounts
    """Of the whole run: what came before the first result and after the last one, too."""


@dataclass(frozen=True, kw_only=True)
class Live:
    """What was offered to the loop."""

    rate: float | None
    """Frames per second that were asked for, of each source."""
    seconds: float | None
    """How long the run was to be."""
    cameras: list[CameraLoad]


@dataclass(kw_only=True)
class Seen:
    """Every result of one source, in order."""

    name: str
    live: bool
    index: "array[int]" = field(default_factory=lambda: array("q"))
    captured_s: "array[float]" = field(default_factory=lambda: array("d"))
    delivered_s: "array[float]" = field(default_factory=lambda: array("d"))
    age_ms: "array[float]" = field(default_factory=lambda: array("d"))
    counts: SourceCounts = field(default_factory=SourceCounts)

    def add(self, result: Result) -> None:
        """Note when `result` was captured and when it was there, which is now."""
        self.delivered_s.append(time.monotonic())
        self.index.append(result.time.index)
        self.captured_s.append(result.time.captured_s)
        self.age_ms.append(result.age_ms)

    def end(self, source: Source) -> None:
        """Keep what `source` counted."""
        self.counts = replace(counts_of(source))

    def load(self, rate: Fraction | None, flicker_percent: float | None = None) -> CameraLoad:
        """What it came to; `rate` is what was asked for."""
        frames, counts = len(self.index), self.counts
        offered = self.index[-1] - self.index[0] + 1 if frames else 0
        offered_fps = _per_second(offered, self.captured_s)
        intervals_ms = 1e3 * np.diff(self.delivered_s)
        return CameraLoad(
            name=self.name,
            live=self.live,
            asked_fps=None if rate is None else float(rate),
            offered=offered,
            offered_fps=offered_fps,
            kept_pace=offered_fps >= PLAYED * rate if rate and offered_fps else None,
            frames=frames,
            fps=_per_second(frames, self.delivered_s),
            dropped=max(0, offered - frames - counts.late - counts.damaged),
            late=counts.late,
            jitter_ms=float(np.std(intervals_ms, ddof=1)) if frames > 2 else None,
            interval_ms=summarise(intervals_ms.tolist()) if frames > 1 else None,
            age_ms=summarise(self.age_ms) if frames else None,
            age_trend=age_trend(self.delivered_s, self.age_ms),
            flicker_percent=flicker_percent,
            counts=counts,
        )


def age_trend(when_s: Sequence[float], age_ms: Sequence[float]) -> AgeTrend | None:
    """The line through the ages at these times, ascending; None for less than two in a block.

    It goes through the means of blocks, and its uncertainty comes from how these lie around it.
    """
    if len(age_ms) < 2 * BLOCKS or when_s[-1] <= when_s[0]:
        return None
    minutes = _block_means(when_s) / 60
    ages = _block_means(age_ms)
    minutes -= minutes.mean()
    spread = float(minutes @ minutes)
    slope = float(minutes @ ages) / spread
    residuals = ages - ages.mean() - slope * minutes
    error = STUDENT * float(np.sqrt(residuals @ residuals / (BLOCKS - 2) / spread))
    rise_ms = slope * (when_s[-1] - when_s[0]) / 60
    interval_ms = 1e3 * (when_s[-1] - when_s[0]) / (len(when_s) - 1)
    return AgeTrend(
        ms_per_minute=slope,
        error_ms_per_minute=error,
        grows=slope > error and rise_ms >= NOTICED * interval_ms,
    )


def _block_means(values: Sequence[float]) -> Array:
    whole: Array = np.asarray(values, np.float64)
    return np.array([block.mean() for block in np.array_split(whole, BLOCKS)])


def _per_second(count: int, times_s: Sequence[float]) -> float | None:
    """`count` - 1 intervals over the time from the first to the last; None where there is none."""
    if len(times_s) < 2 or times_s[-1] <= times_s[0]:
        return None
    return (count - 1) / (times_s[-1] - times_s[0])
