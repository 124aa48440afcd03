"""edgeseg inspect."""

from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.show import Json, print_json


def command(
    path: Annotated[Path, typer.Argument(help="An engine folder or an ONNX file.")],
    layers: Annotated[
        bool, typer.Option("--layers", help="List the layers of the plan and their precision.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="BACKEND[,...]",
            help="Compare the plan's labels with these plans'; onnxruntime is the graph itself.",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="Which plan; the best one here unless told."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look into an engine folder or an ONNX file."""
    from edgeseg.cli.inspect_report import print_comparison, print_graph, print_layers
    from edgeseg.inspect import inspect

    others = [name.strip() for name in (compare or "").split(",") if name.strip()]
    found = inspect(path, layers=layers, compare=others, backend=backend)
    if as_json:
        print_json(found)
        return
    print_graph(path, found)
    if found.plan is not None:
        print_layers(found.plan)
    if found.comparison is not None:
        print_comparison(found.comparison)
