"""Summaries of latencies."""

import pytest

from edgeseg.errors import UsageError
from edgeseg.metrics.latency import summarise


def test_quantiles_of_a_hundred_and_one_steps_are_the_steps() -> None:
    summary = summarise([float(value) for value in reversed(range(101))])
    assert (summary.p50, summary.p95, summary.p99) == (50.0, 95.0, 99.0)
    assert (summary.mean, summary.count) == (50.0, 101)


def test_one_latency_is_all_its_quantiles() -> None:
    summary = summarise([7.5])
    assert {summary.p50, summary.p95, summary.p99, summary.mean} == {7.5}


def test_nothing_measured_is_refused() -> None:
    with pytest.raises(UsageError, match="no latency"):
        summarise([])
