"""What a run came to, as a table and as JSON."""

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from edgeseg.cli.show import print_table
from edgeseg.errors import UsageError

if TYPE_CHECKING:
    from edgeseg.run import CameraSummary, RunSummary


def run_document(done: "RunSummary") -> dict[str, Any]:
    """`done` as JSON has it."""
    from edgeseg.metrics.latency import summarise

    return {
        "frames": done.frames,
        "fps": done.fps,
        "seconds": done.seconds,
        "age_ms": summarise(done.age_ms),
        "stages_ms": done.stages_ms,
        "damaged": done.damaged,
        "skipped": done.skipped,
        "outputs": done.outputs,
        "memory": done.memory,
        "cameras": [_camera_document(camera) for camera in done.cameras],
    }


def print_run(done: "RunSummary", sync: str | None) -> None:
    """The table that a user reads."""
    from edgeseg.metrics.latency import summarise

    age = summarise(done.age_ms)
    rows = [
        ("frames", f"{done.frames} in {done.seconds:.1f} s: {done.fps:.1f} fps"),
        ("age of a result", f"p50 {age.p50:.1f} ms, p99 {age.p99:.1f} ms"),
        ("written", ", ".join(done.outputs)),
    ]
    if done.memory:
        rows.append(("on the GPU", f"{done.memory} memory, {sync or 'blocking'} wait"))
    rows.extend(
        (camera.name, _camera_text(camera))
        for camera in done.cameras
        if camera.live or len(done.cameras) > 1
    )
    if done.damaged:
        rows.append(("damaged frames", str(done.damaged)))
    if done.skipped:
        rows.append(("unreadable pictures", ", ".join(done.skipped)))
    print_table("Run", ("", ""), rows)


def fraction(text: str | None, option: str) -> Fraction | None:
    """The number that an option gives: 30, 29.97 or 30000/1001.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(
            f"{option} {text!r} is no number", fix=f"{option} 30 or 30000/1001"
        ) from error


def _camera_document(camera: "CameraSummary") -> dict[str, Any]:
    from dataclasses import asdict

    from edgeseg.metrics.latency import summarise

    return {
        "name": camera.name,
        "live": camera.live,
        "frames": camera.frames,
        "fps": camera.fps if camera.frames > 1 else None,
        "age_ms": summarise(list(camera.age_ms)) if camera.age_ms else None,
        **asdict(camera.counts),
    }


def _camera_text(camera: "CameraSummary") -> str:
    """Frames, and what became of those that gave no result."""
    counts = camera.counts
    parts = [f"{camera.frames} frames"]
    if camera.frames > 1:
        parts.append(f"{camera.fps:.1f} fps")
    if camera.live:
        parts.append(f"{counts.dropped} of {counts.captured} dropped")
    parts.extend(
        f"{value} {name}"
        for name in ("late", "reconnects", "resized", "converted")
        if (value := getattr(counts, name))
    )
    return ", ".join(parts)
