"""edgeseg demo."""

from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.show import Json, points, print_json, print_table, progress


def command(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for what is made.")] = Path(
        "demo"
    ),
    seconds: Annotated[int, typer.Option(min=1, help="Length of the clip.")] = 10,
    as_json: Json = False,
) -> None:
    """The whole job on the synthetic street: build in INT8, score, time, run on a video."""
    from edgeseg.demo import demo

    with progress() as report:
        made = demo(out, seconds=seconds, on_progress=report)
    if as_json:
        print_json(made)
        return
    score, timed = made.evaluation, made.benchmark
    rival = next(value for name, value in timed.versus.items() if name != "paper")
    rows = [
        ("network", f"{timed.network} in {timed.precision}, {timed.size}, on {timed.backend}"),
        ("mIoU on synthetic:test", f"{points(score.miou)} (float {points(score.reference.miou)})"
         if score.reference else "-"),
        ("pixels as in float", f"{score.agreement:.2f} %"),
        ("network alone", f"{timed.fps:.1f} fps, p50 {timed.latency_ms.p50:.1f} ms"),
        ("float on the same backend", f"{rival['ratio']:.2f} x slower"),  # type: ignore[index]
        ("decode, infer, draw, encode", f"{made.run.fps:.1f} fps"),
        ("the papers", "8 fps (DeepLab v1 at 306x306, Titan)"),
        ("engine", str(made.engine)),
        ("overlay video", str(made.video)),
        ("contact sheet", f"{made.sheet} (frame, float mask, INT8 mask, difference)"),
    ]  # fmt: skip
    print_table("edgeseg demo", ("", ""), rows)
    if timed.foreign_load["dirty"]:
        typer.echo("other programs kept this machine busy meanwhile: the fps are too low")
