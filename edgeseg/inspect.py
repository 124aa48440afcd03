"""Look into an engine folder or an ONNX file: what it is, what it computes in, what it costs."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgeseg.backends import why_not
from edgeseg.engine import GRAPH
from edgeseg.errors import EngineMismatch
from edgeseg.manifest import Manifest, check_files, check_fingerprint, read_manifest
from edgeseg.tables import needs


@dataclass(frozen=True, kw_only=True)
class GraphReport:
    """One ONNX graph."""

    file: str
    opset: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    operators: dict[str, int]
    macs: int | None
    """None where a size is open."""
    macs_int8: int | None
    """Of the layers whose both inputs are quantised."""
    findings: list[str]
    """What breaks TensorRT's rules."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What there is to know."""

    manifest: Manifest | None
    usable: dict[str, str]
    """For each plan: "yes", or why not."""
    graph: GraphReport


def inspect(path: str | Path) -> Inspection:
    """What the engine folder or the ONNX file at `path` holds.

    Raises:
        InputFileError: unreadable.
        EngineMismatch: an engine folder that was altered.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        return Inspection(manifest=None, usable={}, graph=graph_report(path))
    manifest = read_manifest(path)
    check_files(path, manifest)
    usable = {name: _usable(path, name) for name in manifest.plans}
    return Inspection(manifest=manifest, usable=usable, graph=graph_report(path / GRAPH))


def graph_report(path: Path) -> GraphReport:
    """What the ONNX file at `path` holds."""
    with needs("graph"):
        from onnx.shape_inference import InferenceError

        from edgeseg.graph.cost import cost_of
        from edgeseg.graph.lint import lint
        from edgeseg.graph.load import described, load_model
        from edgeseg.graph.simplify import opset_of

    model = load_model(path)
    dequantized = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    macs, macs_int8 = None, None
    try:
        by_node = cost_of(model).macs_by_node
        macs = sum(by_node.values())
        macs_int8 = sum(
            by_node[node.name]
            for node in model.graph.node
            if node.name in by_node and set(node.input[:2]) <= dequantized
        )
    except (KeyError, InferenceError):
        pass  # an open size: there is no number to give
    held = {item.name for item in model.graph.initializer}
    return GraphReport(
        file=str(path),
        opset=opset_of(model),
        inputs=dict(described(value) for value in model.graph.input if value.name not in held),
        outputs=dict(described(value) for value in model.graph.output),
        operators=dict(Counter(node.op_type for node in model.graph.node).most_common()),
        macs=macs,
        macs_int8=macs_int8,
        findings=[f"{item.node}: {item.rule} ({item.cost})" for item in lint(model)],
    )


def _usable(folder: Path, name: str) -> str:
    from edgeseg.backends import backend

    reason = why_not(name)
    if reason is not None:
        return reason
    try:
        plan = read_manifest(folder).plans[name]
        check_fingerprint(plan.fingerprint, backend(name).fingerprint(), folder, name)
    except EngineMismatch as error:
        return str(error)
    return "yes"
