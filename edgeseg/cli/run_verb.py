"""edgeseg run."""

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import typer

from edgeseg.cli.gpu_options import Memory, Sync, runtime_from
from edgeseg.cli.show import Json, print_json, print_table, progress
from edgeseg.errors import UsageError


def command(
    engine: Annotated[Path, typer.Argument(help="An engine folder.")],
    source: Annotated[str, typer.Argument(help="A video, a folder, synthetic://")],
    sinks: Annotated[
        list[str] | None, typer.Argument(help="A video to write, a folder, null://")
    ] = None,
    visualize: Annotated[
        Literal["overlay", "mask", "side-by-side"], typer.Option(help="What the sinks show.")
    ] = "overlay",
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Weight of the classes.")] = 0.5,
    legend: Annotated[bool, typer.Option(help="Draw the class names.")] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Frames at once.")] = None,
    codec: Annotated[str | None, typer.Option(help="Of a written video: libx264, mpeg4.")] = None,
    rate: Annotated[str | None, typer.Option(help="Frames per second of a folder.")] = None,
    scale: Annotated[
        bool, typer.Option("--scale", help="Let the decoder resize to the engine's frame.")
    ] = False,
    memory: Memory = None,
    sync: Sync = None,
    as_json: Json = False,
) -> None:
    """Run an engine on a video, a folder or the synthetic street, into any number of sinks."""
    from edgeseg.metrics.latency import summarise
    from edgeseg.stream import Show, run

    with progress() as report:
        done = run(
            engine,
            source,
            sinks or ["null://"],
            workers=workers,
            show=Show(visualize=visualize, alpha=alpha, legend=legend),
            codec=codec,
            rate=_fraction(rate),
            scale=scale,
            runtime=runtime_from(memory, sync),
            on_progress=report,
        )
    age = summarise(done.age_ms)
    if as_json:
        print_json(
            {
                "frames": done.frames,
                "fps": done.fps,
                "seconds": done.seconds,
                "age_ms": age,
                "stages_ms": done.stages_ms,
                "damaged": done.damaged,
                "skipped": done.skipped,
                "outputs": done.outputs,
                "memory": done.memory,
            }
        )
        return
    rows = [
        ("frames", f"{done.frames} in {done.seconds:.1f} s: {done.fps:.1f} fps"),
        ("age of a result", f"p50 {age.p50:.1f} ms, p99 {age.p99:.1f} ms"),
        ("written", ", ".join(done.outputs)),
    ]
    if done.memory:
        rows.append(("on the GPU", f"{done.memory} memory, {sync or 'blocking'} wait"))
    if done.damaged:
        rows.append(("damaged frames", str(done.damaged)))
    if done.skipped:
        rows.append(("unreadable pictures", ", ".join(done.skipped)))
    print_table("Run", ("", ""), rows)


def _fraction(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"--rate {text!r} is no number", fix="--rate 30 or 30000/1001") from error
