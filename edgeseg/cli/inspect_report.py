"""The tables of edgeseg inspect."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgeseg.cli.show import points, print_table

if TYPE_CHECKING:
    from edgeseg.compare_plans import PlanComparison
    from edgeseg.inspect import Inspection
    from edgeseg.inspect_layers import LayerTable


GRAPH = "graph.onnx"
"""As which the graph itself stands in a comparison."""
LISTED = 20
"""Findings that are shown; edgeseg lint shows all."""


def print_graph(path: Path, found: "Inspection") -> None:
    """What the engine is, and what its graph computes."""
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
        if manifest.smooth is not None:
            rows.append(("smoothed", f"{manifest.smooth:g} of the frame before where it is still"))
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
    rows += [("breaks a rule of TensorRT", finding) for finding in graph.findings[:LISTED]]
    if len(graph.findings) > LISTED:
        rows.append(("", f"{len(graph.findings) - LISTED} more: edgeseg lint {graph.file}"))
    print_table(graph.file, ("", ""), rows)


def print_layers(table: "LayerTable") -> None:
    """Every layer, and what they come to; a layer's own name only where it has no nodes."""
    rows = [
        (", ".join(layer.nodes) or layer.name, layer.kind, layer.precision or "-", layer.output)
        for layer in table.layers
    ]
    print_table(
        f"{len(rows)} layers of the {table.backend} plan",
        ("nodes of the graph", "type", "precision", "output"),
        rows,
    )
    summary = [
        ("convolutions", _counts(table.convolutions) or "the plan does not say"),
        ("layers that compute", _counts(table.precisions)),
        ("layers that only reformat", f"{table.reformats}, {table.reformat_percent:.1f} % of all"),
    ]
    for where in dict.fromkeys(table.stayed_float.values()):
        nodes = [node for node, decided in table.stayed_float.items() if decided == where]
        summary.append((f"float {where}", ", ".join(nodes)))
    print_table("", ("", ""), summary)


def print_comparison(found: "PlanComparison") -> None:
    """How many pixels each plan labels alike."""
    rows = [
        (
            each.other,
            each.output,
            f"{points(each.agreement)} %",
            f"{each.different:,}",
            f"{each.worst} ({points(each.worst_agreement)} %)",
        )
        for each in found.against
    ]
    print_table(
        f"the {found.backend} plan on {found.frames} frames of {found.data}",
        ("against", "output", "same pixels", "other pixels", "worst frame"),
        rows,
    )
    typer.echo("same pixels have the same class in both; neither of the two is the truth")
    if any(each.other == GRAPH for each in found.against):
        typer.echo(f"{GRAPH} is the graph in the arithmetic that it spells out, in ONNX Runtime")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
