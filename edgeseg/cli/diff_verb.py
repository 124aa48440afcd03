"""edgeseg diff."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.show import Count, Json, Map, Root, points, print_json, print_table, progress

if TYPE_CHECKING:
    from edgeseg.diff import Difference


def command(
    engine_a: Annotated[
        str,
        typer.Argument(
            help='An engine folder, or "float": the float graph in the folder of ENGINE_B.'
        ),
    ],
    engine_b: Annotated[str, typer.Argument(help="The engine folder to compare it with.")],
    data: Annotated[str, typer.Option(help="DATA[:SPLIT], such as camvid:test.")],
    root: Root = None,
    count: Count = None,
    class_map: Map = None,
    band: Annotated[
        int, typer.Option(min=1, help="Pixels on each side of a border that count as near it.")
    ] = 5,
    sheet: Annotated[
        Path | None, typer.Option("-o", "--out", help="Draw it all on this PNG.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how two engines differ: IoU, mistakes, borders, and the worst pictures."""
    from edgeseg.diff import diff
    from edgeseg.evaluate import read_class_map

    mapped = read_class_map(class_map) if class_map else None
    with progress() as report:
        found = diff(
            engine_a, engine_b, data,
            root=root, count=count, class_map=mapped, band_px=band, sheet=sheet, on_progress=report,
        )  # fmt: skip
    if as_json:
        print_json(found)
        return
    _print(found)


def _print(found: "Difference") -> None:
    a, b, drops = found.a, found.b, found.class_drop
    summary = [("A", a.engine), ("B", b.engine), ("same label", f"{found.agreement:.2f} %")]
    if a.iou and b.iou and drops and found.drop_interval:
        rows = [
            (name, points(a.iou[name]), points(b.iou[name]), points(drop))
            for name, drop in drops.items()
        ]
        near = f"within {found.band_px} px of a border"
        rows.append(("mean", points(a.miou), points(b.miou), points(found.drop)))
        means = (points(a.boundary_miou), points(b.boundary_miou), points(found.boundary_drop))
        rows.append((near, *means))
        title = f"IoU on {found.data}, {found.frames} pictures"
        print_table(title, ("class", "A", "B", "drop"), rows)
        low, high = found.drop_interval
        summary.append(
            ("drop in mIoU", f"{points(found.drop)} points, 95 % within [{low:.2f}, {high:.2f}]")
        )
    summary += [
        (f"{moved.truth} called {moved.label}", f"{moved.change:+,} pixels")
        for moved in found.moved or []
    ]
    summary += [(f"worst: {each.name}", f"{each.agreement:.2f} %") for each in found.worst]
    summary += [("unreadable", ", ".join(found.skipped))] if found.skipped else []
    summary += [("sheet", str(found.sheet))] if found.sheet else []
    print_table("", ("", ""), summary)
