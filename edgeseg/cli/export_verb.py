"""edgeseg export."""

from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.show import Json, print_json
from edgeseg.cli.zoo_options import (
    Flip,
    Fusion,
    Scales,
    Variants,
    Weights,
    scales_from,
    variant_from,
)
from edgeseg.types import size_from_text


def command(
    name: Annotated[str, typer.Argument(help="A network of the zoo.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The ONNX file to write.")],
    weights: Weights = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Class count of the weights.")] = None,
    size: Annotated[str | None, typer.Option(help="Network input.", metavar="WxH")] = None,
    variant: Variants = None,
    scales: Scales = None,
    flip: Flip = False,
    fusion: Fusion = None,
    as_json: Json = False,
) -> None:
    """Write a network's float core as ONNX: normalised pixels in, logits out."""
    from edgeseg.export import export

    path = export(
        name,
        out,
        weights=weights,
        classes=classes,
        variant=variant_from(variant),
        size=size_from_text(size) if size else None,
        scales=scales_from(scales) or (1.0,),
        flip=flip,
        fusion=fusion or "mean",
    )
    if as_json:
        print_json({"network": name, "file": path, "bytes": path.stat().st_size})
    else:
        typer.echo(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
