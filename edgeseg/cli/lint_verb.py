"""edgeseg lint."""

from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.show import Json, print_json, print_table
from edgeseg.errors import BuildError


def command(
    file: Annotated[Path, typer.Argument(help="An ONNX file.", show_default=False)],
    tensorrt: Annotated[
        str | None,
        typer.Option(
            help="Check for this version, such as 10.3; else for the oldest that takes the graph: "
            "8.6, or 10.0 where FP16 is in it.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 5 for anything found, not only what is refused.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Name the nodes of an ONNX file that TensorRT refuses, or runs slower than it could."""
    from edgeseg.lint import lint

    found = lint(file, tensorrt=tensorrt)
    if as_json:
        print_json(found)
    else:
        if found.findings:
            rows = [(item.node, item.rule, item.cost) for item in found.findings]
            print_table("", ("node", "should be so", "what TensorRT does"), rows)
        typer.echo(f"{found.file}: {found.verdict}")
    if found.refused or (strict and found.findings):
        raise typer.Exit(BuildError.exit_code)
