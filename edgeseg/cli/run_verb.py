"""edgeseg run."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from edgeseg.cli.gpu_options import Memory, Sync, runtime_from
from edgeseg.cli.run_report import fraction, print_run, run_document
from edgeseg.cli.show import Json, print_json, progress
from edgeseg.errors import UsageError


def command(
    engine: Annotated[Path, typer.Argument(help="An engine folder.")],
    source: Annotated[
        str | None, typer.Argument(help="A camera, a stream, a video, a folder, synthetic://")
    ] = None,
    sinks: Annotated[
        list[str] | None, typer.Argument(help="A video to write, a folder, http://127.0.0.1:8080")
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--source", help="A source, repeated for more; what is not one is a sink."),
    ] = None,
    visualize: Annotated[
        Literal["overlay", "mask", "side-by-side"], typer.Option(help="What the sinks show.")
    ] = "overlay",
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Weight of the classes.")] = 0.5,
    legend: Annotated[bool, typer.Option(help="Draw the class names.")] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Frames at once.")] = None,
    codec: Annotated[str | None, typer.Option(help="Of a written video.")] = None,
    rate: Annotated[
        str | None, typer.Option(help="Frames per second: of a camera, or to play at like one.")
    ] = None,
    fps: Annotated[str | None, typer.Option(help="What a folder of pictures stands for.")] = None,
    max_age: Annotated[
        float | None, typer.Option(help="Milliseconds; older live results are left out.")
    ] = None,
    patience: Annotated[
        float | None, typer.Option(help="Seconds that a lost camera is waited for.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="End after that long.")] = None,
    stats: Annotated[
        str | None, typer.Option(help="A file of JSON lines, one for each result; - prints them.")
    ] = None,
    scale: Annotated[
        bool, typer.Option("--scale", help="Let the decoder resize to the engine's frame.")
    ] = False,
    memory: Memory = None,
    sync: Sync = None,
    as_json: Json = False,
) -> None:
    """Run an engine on cameras, streams, videos or folders, into any number of sinks."""
    from edgeseg.run import RunSummary, run
    from edgeseg.sources import Timing
    from edgeseg.stream import Show

    named = [source] if source else []
    if stats == "-" and as_json:
        raise UsageError("--stats - and --json write to one place", fix="give --stats a file")
    sources, outputs = (more, [*named, *(sinks or [])]) if more else (named, sinks)
    ended: list[RunSummary] = []
    try:
        with progress() as report:
            done = run(
                engine,
                sources,
                outputs or ["null://"],
                workers=workers,
                show=Show(visualize=visualize, alpha=alpha, legend=legend),
                codec=codec,
                timing=Timing(
                    rate=fraction(rate, "--rate"),
                    fps=fraction(fps, "--fps"),
                    max_age_ms=max_age,
                    patience_s=patience,
                    seconds=seconds,
                ),
                scale=scale,
                statistics=stats,
                runtime=runtime_from(memory, sync),
                on_progress=report,
                on_interrupt=ended.append,
            )
            ended.append(done)
    finally:  # behind the bars, which stand where the table is to be
        for done in ended:
            if as_json:
                print_json(run_document(done))
            elif stats != "-":  # whoever reads the lines expects nothing else there
                print_run(done, sync)
