"""edgeseg.video.sinks.statistics."""

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import OutputError
from edgeseg.frames import FrameTime, SourceCounts
from edgeseg.types import Labels
from edgeseg.video.sinks import FrameView
from edgeseg.video.sinks.statistics import JsonLines


def view(index: int = 7) -> FrameView:
    labels = np.zeros((10, 20), np.uint8)
    labels[:3], labels[3, :4] = 2, 255
    return FrameView(
        index=index,
        picture=np.empty((0, 0, 3), np.uint8),
        labels=labels,
        time=FrameTime(index, time.monotonic() - 60, 3.5, 1),
        age_ms=41.23456,
        camera=1,
        stages_ms={"infer": 11.5},
        counts=SourceCounts(captured=9, dropped=2),
        fps=29.97,
    )


def test_a_line_says_everything_about_a_frame_at_once(tmp_path: Path, three_labels: Labels) -> None:
    path = tmp_path / "new" / "stats.jsonl"
    lines = JsonLines(str(path), three_labels, ("front", "rear"))
    frame = view()
    lines.write(frame)
    got = json.loads(path.read_text())
    assert frame.time is not None
    assert abs(got.pop("captured_unix_s") - (time.time() - 60)) < 5
    assert got.pop("captured_monotonic_s") == pytest.approx(frame.time.captured_s, abs=1e-5)
    assert got == {
        "schema": 1,
        "index": 7,
        "camera": "rear",
        "pts_s": 3.5,
        "epoch": 1,
        "age_ms": 41.235,
        "stages_ms": {"infer": 11.5},
        "fps": 29.97,
        "counts": {
            "captured": 9, "dropped": 2, "late": 0, "reconnects": 0,
            "damaged": 0, "converted": 0, "resized": 0,
        },
        "classes": {"Road": 0.68, "Car": 0.0, "Tree": 0.3},
    }  # fmt: skip
    lines.close()


def test_a_frame_each_is_a_line_each_and_a_run_begins_anew(
    tmp_path: Path, three_labels: Labels
) -> None:
    path = tmp_path / "stats.jsonl"
    path.write_text("of a run before\n")
    lines = JsonLines(str(path), three_labels, ("a", "b"))
    for index in range(5):
        lines.write(view(index))
    lines.close()
    lines.close()
    assert [json.loads(line)["index"] for line in path.read_text().splitlines()] == [*range(5)]
    with pytest.raises(OutputError, match="closed"):
        lines.write(view())


def test_a_minus_is_the_standard_output(
    capfd: pytest.CaptureFixture[str], three_labels: Labels
) -> None:
    lines = JsonLines("-", three_labels, ("a", "b"))
    lines.write(view())
    lines.close()
    print("still open")  # noqa: T201 - closing must leave it alone
    line, after = capfd.readouterr().out.splitlines()
    assert json.loads(line)["camera"] == "b"
    assert after == "still open"


def test_a_reader_that_goes_away_is_told(
    monkeypatch: pytest.MonkeyPatch, three_labels: Labels
) -> None:
    out, into = os.pipe()
    with os.fdopen(into, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        lines = JsonLines("-", three_labels, ("a", "b"))
        os.close(out)
        with pytest.raises(OutputError, match="nobody reads the statistics") as refused:
            lines.write(view())
    assert "--seconds" in refused.value.fix


def test_a_full_disk_is_told_and_leaves_whole_lines(tmp_path: Path, three_labels: Labels) -> None:
    path = tmp_path / "stats.jsonl"
    lines = JsonLines(str(path), three_labels, ("a", "b"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match="any more: File too large"):  # noqa: PT012
            for index in range(20):
                lines.write(view(index))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    lines.close()
    text = path.read_text()
    assert text.endswith("\n")
    got = [json.loads(line)["index"] for line in text.splitlines()]
    assert got == [*range(len(got))]
    assert 0 < len(got) < 10


def test_targets_that_cannot_be_written_are_refused(tmp_path: Path, three_labels: Labels) -> None:
    with pytest.raises(OutputError, match="Is a directory"):
        JsonLines(str(tmp_path), three_labels)
    lines = JsonLines("/dev/full", three_labels, ("a", "b"))
    with pytest.raises(OutputError, match="No space left on device"):
        lines.write(view())
