"""edgeseg ranges."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.show import Json, print_json, print_table


def command(
    engine: Annotated[Path, typer.Argument(help="An INT8 engine folder.")],
    form: Annotated[
        str | None, typer.Option("--format", help="tensorrt-cache: a calibration cache, for DLA.")
    ] = None,
    tensorrt_version: Annotated[
        str | None, typer.Option(help="The TensorRT that reads it.", metavar="X.Y.Z")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The file to write instead of stdout.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the calibrated ranges of an engine, or write them as a calibration cache."""
    from edgeseg.ranges_export import export_ranges

    found = export_ranges(engine, form=form, tensorrt_version=tensorrt_version, out=out)
    if as_json:
        print_json(found)
    elif found.file is not None:
        print_table("", ("", ""), [(f"{len(found.tensors)} scales", str(found.file))])
    elif found.text is not None:
        sys.stdout.write(found.text)
    else:
        print_table(
            f"{found.engine}: {found.method} over {found.pictures} pictures",
            ("tensor", "min", "max", "amax", "scale", "method"),
            [
                (
                    name,
                    *(f"{value:.6g}" for value in (at.min, at.max, at.amax, at.scale)),
                    at.method,
                )
                for name, at in found.tensors.items()
            ],
        )
