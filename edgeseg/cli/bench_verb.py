"""edgeseg bench."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from edgeseg.cli.bench_report import print_memory, print_report
from edgeseg.cli.gpu_options import Sync, runtime_from
from edgeseg.cli.run_report import fraction
from edgeseg.cli.show import Json, print_json, progress
from edgeseg.errors import UsageError


def command(
    engine: Annotated[Path, typer.Argument(help="An engine folder.")],
    source: Annotated[
        str | None, typer.Argument(help="A camera, a video, synthetic://: times the loop too.")
    ] = None,
    sinks: Annotated[list[str] | None, typer.Argument(help="Where the loop writes to.")] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--source", help="A source, repeated for more; what is not one is a sink."),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Frames per second that each source is to offer.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of the loop; 20 for what has no end.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames of the network alone.")] = 100,
    versus: Annotated[
        list[Path] | None, typer.Option(help="Another engine folder, timed in turn; repeatable.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Frames at once in the loop.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the network.")] = None,
    memory: Annotated[
        Literal["auto", "mapped", "managed", "copy", "all"] | None,
        typer.Option(help="How frames reach a GPU; all: time each of them."),
    ] = None,
    sync: Sync = None,
    codec: Annotated[str | None, typer.Option(help="Of a written video.")] = None,
    scale: Annotated[
        bool, typer.Option("--scale", help="Let the decoder resize to the engine's frame.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure the network alone and the whole loop, with the machine and its foreign load."""
    if memory == "all":
        if any((source, more, rate, seconds is not None, versus, workers, threads, codec, scale)):
            raise UsageError(
                "--memory all times one engine alone", fix="leave out all but --frames and --sync"
            )
        _compare_memory(engine, frames, sync or "blocking", as_json=as_json)
        return
    from edgeseg.benchmark import benchmark
    from edgeseg.sources import Timing

    sources = [*(more or []), *([source] if source and not more else [])]
    outputs = [*([source] if source and more else []), *(sinks or [])]
    timing = Timing(rate=fraction(rate, "--rate"), seconds=seconds)
    with progress() as report:
        found = benchmark(
            engine,
            sources,
            tuple(outputs),
            timing=None if rate is None and seconds is None else timing,
            frames=frames,
            rivals=tuple(versus or ()),
            workers=workers,
            threads=threads,
            runtime=runtime_from(memory, sync),
            codec=codec,
            scale=scale,
            on_progress=report,
        )
    print_json(found) if as_json else print_report(found)


def _compare_memory(
    engine: Path, frames: int, sync: Literal["blocking", "spin"], *, as_json: bool
) -> None:
    from edgeseg.memory_bench import compare_memory

    with progress() as report:
        found = compare_memory(engine, frames, sync=sync, on_progress=report)
    print_json(found) if as_json else print_memory(found)
