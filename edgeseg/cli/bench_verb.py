"""edgeseg bench."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from edgeseg.cli.bench_report import print_memory, print_report
from edgeseg.cli.gpu_options import Sync, runtime_from
from edgeseg.cli.show import Json, print_json, progress
from edgeseg.errors import UsageError


def command(
    engine: Annotated[Path, typer.Argument(help="An engine folder.")],
    source: Annotated[
        str | None, typer.Argument(help="A video or synthetic://: times the whole loop too.")
    ] = None,
    sinks: Annotated[list[str] | None, typer.Argument(help="Where the loop writes to.")] = None,
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
        if any((source, versus, workers, threads, codec, scale)):
            raise UsageError(
                "--memory all times one engine alone", fix="leave out all but --frames and --sync"
            )
        _compare_memory(engine, frames, sync or "blocking", as_json=as_json)
        return
    from edgeseg.benchmark import benchmark

    with progress() as report:
        found = benchmark(
            engine,
            source,
            tuple(sinks or ()),
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
