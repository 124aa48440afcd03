"""Look into an engine folder or an ONNX file: what it is, what it computes in, what it costs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeseg.backends import why_not
from edgeseg.compare_plans import PlanComparison, compare_plans
from edgeseg.engine import GRAPH
from edgeseg.errors import EngineMismatch, UsageError
from edgeseg.inspect_layers import LayerTable, layer_table
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
    plan: LayerTable | None = None
    """The layers of one plan, where they were asked for."""
    comparison: PlanComparison | None = None
    """Of one plan with others, where that was asked for."""


def inspect(
    path: str | Path,
    *,
    layers: bool = False,
    compare: Sequence[str] = (),
    backend: str | None = None,
) -> Inspection:
    """What the engine folder or the ONNX file at `path` holds.

    Of an engine also the `layers` of its plan, and how many pixels that plan labels as the plans
    `compare` do (`onnxruntime` is the graph itself); `backend` says which plan, None the best here.

    Raises:
        UsageError: layers or plans of an ONNX file, or of a backend that has none.
        InputFileError: unreadable.
        EngineMismatch: an engine folder that was altered, or a plan that does not fit this machine.
        MissingPackage: to compare plans, Polygraphy is not installed.
    """
    path = Path(path)
    if backend is not None and not layers and not compare:
        raise UsageError(
            f"--backend {backend} chooses a plan, and nothing of a plan was asked for",
            fix="add --layers, or --compare onnxruntime",
        )
    if path.suffix == ".onnx":
        if layers or compare:
            raise UsageError(
                f"{path.name} is a graph: layers are those of a plan",
                fix="build an engine of it, and inspect that folder",
            )
        return Inspection(manifest=None, usable={}, graph=graph_report(path))
    manifest = read_manifest(path)
    check_files(path, manifest)
    name = backend or "auto"
    return Inspection(
        manifest=manifest,
        usable={plan: _usable(path, plan) for plan in manifest.plans},
        graph=graph_report(path / GRAPH),
        plan=layer_table(path, name) if layers else None,
        comparison=compare_plans(path, compare, backend_name=name) if compare else None,
    )


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
