"""edgeseg eval."""

from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.show import Count, Json, Map, Root, points, print_json, print_table, progress


def command(
    engine: Annotated[Path, typer.Argument(help="An engine folder.")],
    data: Annotated[str, typer.Option(help="DATA[:SPLIT], such as camvid:test.")],
    root: Root = None,
    count: Count = None,
    class_map: Map = None,
    clip: Annotated[
        bool, typer.Option("--clip", help="The pictures are a video: carry the state along.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score an engine: IoU per class, mIoU, agreement and drop against its float graph."""
    from edgeseg.evaluate import evaluate, read_class_map

    mapped = read_class_map(class_map) if class_map else None
    with progress() as report:
        found = evaluate(
            engine,
            data,
            root=root,
            count=count,
            class_map=mapped,
            clip=clip,
            on_progress=report,
        )
    if as_json:
        print_json(found)
        return
    if found.iou and found.reference:
        rows = [
            (name, points(found.reference.iou[name]), points(value))
            for name, value in found.iou.items()
        ]
        rows.append(("mean", points(found.reference.miou), points(found.miou)))
        print_table(
            f"IoU on {found.data}, {found.frames} pictures",
            ("class", "float", f"{found.precision} on {found.backend}"),
            rows,
        )
    summary = [("pixels as in float", f"{found.agreement:.2f} %")]
    if found.drop is not None and found.drop_interval:
        low, high = found.drop_interval
        summary.append(
            ("drop in mIoU", f"{found.drop:.2f} points, 95 % within [{low:.2f}, {high:.2f}]")
        )
        summary.append(("pixel accuracy", f"{points(found.pixel_accuracy)} %"))
    if found.flicker is not None:
        steady, single = points(found.flicker.engine), points(found.flicker.reference)
        summary.append(("still pixels that change label", f"{steady} % (float, alone: {single} %)"))
    summary.append(("worst picture", f"{found.worst} ({found.worst_agreement:.2f} % as in float)"))
    if found.skipped:
        summary.append(("unreadable", ", ".join(found.skipped)))
    print_table("", ("", ""), summary)
