"""edgeseg sensitivity."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.show import Count, Json, Map, Root, points, print_json, print_table, progress
from edgeseg.types import size_from_text

if TYPE_CHECKING:
    from edgeseg.sensitivity_report import Effect, PartCost, Sensitivity

MOST_ROWS = 20


def command(
    source: Annotated[
        str, typer.Argument(help="NAME, FILE.onnx, an INT8 RECIPE.toml or engine FOLDER.")
    ],
    data: Annotated[str, typer.Option(help="DATA[:SPLIT] to measure on.", metavar="DATA[:SPLIT]")],
    root: Root = None,
    count: Count = None,
    class_map: Map = None,
    calibrate: Annotated[
        str | None, typer.Option(help="DATA[:SPLIT] to calibrate with.", metavar="DATA[:SPLIT]")
    ] = None,
    calibrate_count: Annotated[int | None, typer.Option(min=1, help="Pictures of it.")] = None,
    method: Annotated[str | None, typer.Option(help="Calibration method.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Own weights of a network.")] = None,
    size: Annotated[str | None, typer.Option(help="Network input.", metavar="WxH")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Pattern of nodes, modules or blocks; repeatable.")
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Layers to evaluate on all pictures.")] = 8,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for the files.")] = None,
    as_json: Json = False,
) -> None:
    """Show what each layer costs in INT8: in SQNR and mIoU, alone and left in float."""
    from edgeseg.evaluate import read_class_map
    from edgeseg.sensitivity import sensitivity

    with progress() as report:
        found = sensitivity(
            source, data, root=root, count=count,
            class_map=read_class_map(class_map) if class_map else None,
            calibrate=calibrate, calibrate_count=calibrate_count, method=method, weights=weights,
            size=size_from_text(size) if size else None, only=only or (), top=top, out=out,
            on_progress=report,
        )  # fmt: skip
    if as_json:
        print_json(found)
    else:
        _print_tables(found)


def _print_tables(found: "Sensitivity") -> None:
    costs = ("MACs", "SQNR alone", "gain left float")
    print_table(
        f"{found.name}: {len(found.layers)} layers, worst first; SQNR of the logits in dB",
        ("layer", "block", *costs),
        [(layer.name, layer.block, *_costs(layer)) for layer in found.layers[:MOST_ROWS]],
    )
    blocks = [(block.name, str(len(block.layers)), *_costs(block)) for block in found.blocks]
    print_table(f"{len(blocks)} blocks", ("block", "layers", *costs), blocks[:MOST_ROWS])
    both = {part.layers: part for part in (*found.blocks, *found.layers)}.values()
    print_table(
        f"{found.unit}, on {found.pictures} pictures of {found.data}",
        ("quantised alone, or left in float", "loss alone", "gain left float"),
        [
            ("all", _change(found.int8), "-"),
            *((p.name, _change(p.alone), _change(p.left_float)) for p in both if p.alone),
        ],
    )
    rows = [
        ("all quantised", f"SQNR {points(found.int8_sqnr_db)} dB"),
        ("pixels as in float", f"{found.int8.agreement:.2f} %"),
        ("unreadable", ", ".join(found.skipped) or "none"),
        ("all of it", f"{found.folder}/sensitivity.json, .png, .svg"),
    ]
    print_table("", ("", ""), rows)


def _costs(part: "PartCost") -> tuple[str, ...]:
    return (f"{part.macs_percent:.1f} %", points(part.sqnr_alone_db), points(part.sqnr_gain_db))


def _change(effect: "Effect | None") -> str:
    if effect is None:
        return "-"
    low, high = effect.interval
    return f"{effect.change:.2f} [{low:.2f}, {high:.2f}]"
