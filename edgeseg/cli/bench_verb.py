"""edgeseg bench."""

from pathlib import Path
from typing import Annotated, Any

import typer

from edgeseg.cli.show import Json, points, print_json, print_table, progress


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
    codec: Annotated[str | None, typer.Option(help="Of a written video.")] = None,
    as_json: Json = False,
) -> None:
    """Measure the network alone and the whole loop, with the machine and its foreign load."""
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
            codec=codec,
            on_progress=report,
        )
    if as_json:
        print_json(found)
        return
    print_report(found)


def print_report(found: Any) -> None:
    """The benchmark as tables."""
    alone = found.latency_ms
    rows = [
        (
            "network alone",
            f"{found.fps:.1f}",
            f"{alone.p50:.2f}",
            f"{alone.p95:.2f}",
            f"{alone.p99:.2f}",
        )
    ]
    if found.end_to_end:
        age = found.end_to_end.age_ms
        rows.append(
            (
                f"end to end, {found.end_to_end.workers} workers (age of a result)",
                f"{found.end_to_end.fps:.1f}",
                f"{age.p50:.2f}",
                f"{age.p95:.2f}",
                f"{age.p99:.2f}",
            )
        )
    title = f"{found.network} {found.precision} {found.size} on {found.backend}"
    print_table(title, ("", "fps", "p50 ms", "p95 ms", "p99 ms"), rows)
    if found.stages_ms:
        print_table(
            "Per frame in one worker",
            tuple(found.stages_ms),
            [[*map(points, found.stages_ms.values())]],
        )
    paper = found.versus["paper"]
    lines = [
        (
            f"{paper['network']} on a {paper['gpu']}, {paper['fps']:.0f} fps",
            f"{paper['ratio_fps']:.1f} x fps; {paper['ratio_gmac_per_s']:.2f} x GMAC/s",
        )
    ]
    lines += [
        (f"{rival['name']} on {rival['backend']}", f"{rival['ratio']:.2f} x")
        for name, rival in found.versus.items()
        if name != "paper"
    ]
    print_table("Versus", ("rival", "this engine"), lines)
    foreign = found.foreign_load
    said = "unknown" if foreign["cpus"] is None else f"{foreign['cpus']:.2f} CPUs"
    note = " - DIRTY: do not quote these figures" if foreign["dirty"] else ""
    typer.echo(f"{found.machine['cpu']}, {found.machine['cores']} cores; foreign load {said}{note}")
