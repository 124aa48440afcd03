"""edgeseg inspect."""

from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.show import Json, print_json, print_table


def command(
    path: Annotated[Path, typer.Argument(help="An engine folder or an ONNX file.")],
    as_json: Json = False,
) -> None:
    """Look into an engine folder or an ONNX file."""
    from edgeseg.inspect import inspect

    found = inspect(path)
    if as_json:
        print_json(found)
        return
    graph, manifest = found.graph, found.manifest
    if manifest:
        rows = [
            ("network", f"{manifest.network}, {manifest.parameters / 1e6:.2f} M parameters"),
            ("precision", manifest.precision.value),
            ("network input", manifest.size),
            ("frames", f"{manifest.frame} {manifest.frame_format.value}, fit {manifest.fit}"),
            ("classes", ", ".join(manifest.labels)),
            ("quantisation", (manifest.quantization or "none")[:16]),
        ]
        rows += [(f"plan {name}", usable) for name, usable in found.usable.items()]
        print_table(str(path), ("", ""), rows)
    rows = [
        ("opset", str(graph.opset)),
        *((f"input {name}", what) for name, what in graph.inputs.items()),
        *((f"output {name}", what) for name, what in graph.outputs.items()),
        ("operators", ", ".join(f"{count} {op}" for op, count in graph.operators.items())),
    ]
    if graph.macs:
        share = 100 * (graph.macs_int8 or 0) / graph.macs
        rows.append(("MACs", f"{graph.macs / 1e9:.2f} G, {share:.1f} % of them INT8"))
    rows += [("breaks a rule of TensorRT", finding) for finding in graph.findings[:20]]
    print_table(graph.file, ("", ""), rows)
