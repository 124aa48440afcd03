"""What a list of latencies comes down to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeseg.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class LatencySummary:
    """Quantiles and mean in milliseconds; quantiles lie between neighbours linearly."""

    p50: float
    p95: float
    p99: float
    mean: float
    count: int


def summarise(values_ms: Sequence[float]) -> LatencySummary:
    """The summary of latencies in milliseconds.

    Raises:
        UsageError: there is none.
    """
    if not len(values_ms):
        raise UsageError("there is no latency to summarise", fix="measure at least one frame")
    p50, p95, p99 = map(float, np.quantile(values_ms, [0.5, 0.95, 0.99]))
    return LatencySummary(
        p50=p50, p95=p95, p99=p99, mean=float(np.mean(values_ms)), count=len(values_ms)
    )
