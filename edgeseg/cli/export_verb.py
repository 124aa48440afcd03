"""edgeseg export."""

from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.show import Json, print_json


def command(
    name: Annotated[str, typer.Argument(help="A network of the zoo.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The ONNX file to write.")],
    weights: Annotated[
        Path | None, typer.Option(help="Own weights: safetensors or a plain state_dict.")
    ] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Class count of the weights.")] = None,
    as_json: Json = False,
) -> None:
    """Write a network's float core as ONNX: pixels in, logits out, any height and width."""
    from edgeseg.export import export

    path = export(name, out, weights=weights, classes=classes)
    if as_json:
        print_json({"network": name, "file": path, "bytes": path.stat().st_size})
    else:
        typer.echo(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
