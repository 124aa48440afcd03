"""The layers of a plan: what each computes in, which stayed float, which only reformat."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.backends import EXTRAS, backend
from edgeseg.backends.chosen import chosen
from edgeseg.engine import GRAPH
from edgeseg.errors import UsageError
from edgeseg.manifest import check_files, check_fingerprint, read_manifest
from edgeseg.tables import needs, pick

if TYPE_CHECKING:
    from onnx import NodeProto

    from edgeseg.backends.layers import Layer

LAYERS = {
    "tensorrt": "edgeseg.backends.tensorrt.layers:layers",
    "openvino": "edgeseg.backends.openvino_layers:layers",
}
"""The backends whose plans say what is in them."""
WEIGHTED = frozenset({"Conv", "ConvTranspose"})
IN_GRAPH, IN_PLAN = "in the graph", "in the plan"


@dataclass(frozen=True, kw_only=True)
class LayerTable:
    """The layers of one plan, in the order in which they run."""

    backend: str
    layers: "list[Layer]"
    precisions: dict[str, int]
    """How many layers that compute something there are of each precision."""
    reformats: int
    """How many layers only change a tensor's layout or type."""
    reformat_percent: float
    """Of all layers."""
    convolutions: dict[str, int]
    """How many of the graph's convolutions run in each precision."""
    stayed_float: dict[str, str]
    """The convolutions that do not run in INT8 in an INT8 engine, and where that was decided:
    in the graph, which has no Q/DQ for them, or in the plan."""


def layer_table(folder: Path, backend_name: str = "auto") -> LayerTable:
    """The layers of the plan that `backend_name` chooses in an engine folder.

    Raises:
        UsageError: no such backend, or one whose plans do not say what is in them.
        EngineMismatch: no such plan, an altered one, or one of another machine.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    name = chosen(manifest, backend_name, folder)
    if name not in LAYERS:
        raise UsageError(
            f"a plan of {name} does not say what is in it",
            fix=f"ask for the layers of another plan: --backend {' or '.join(LAYERS)}",
        )
    plan = manifest.plans[name]
    check_fingerprint(plan.fingerprint, backend(name).fingerprint(), folder, name)
    with needs(EXTRAS[name]):
        layers_of: Callable[[bytes], list[Layer]] = pick(LAYERS, name, kind="backend")
    return table_of(name, layers_of((folder / plan.file).read_bytes()), folder / GRAPH)


def table_of(name: str, layers: "list[Layer]", graph: Path) -> LayerTable:
    """The table of `layers`, which backend `name` made of `graph`."""
    with needs("graph"):
        from edgeseg.graph.load import load_model
    model = load_model(graph)
    nodes = {node.name: node for node in model.graph.node}
    integer = {n.output[0] for n in nodes.values() if n.op_type == "DequantizeLinear"}
    layers = [_with_known_nodes(layer, nodes) for layer in layers]
    computing = [layer for layer in layers if not layer.reformats]
    found = {
        node: layer.precision or "unknown"
        for layer in computing
        for node in layer.nodes
        if node in nodes and nodes[node].op_type in WEIGHTED
    }
    reformats = len(layers) - len(computing)
    return LayerTable(
        backend=name,
        layers=layers,
        precisions=dict(Counter(layer.precision or "unknown" for layer in computing)),
        reformats=reformats,
        reformat_percent=100 * reformats / len(layers) if layers else 0.0,
        convolutions=dict(Counter(found.values())),
        stayed_float={
            node: IN_PLAN if integer.issuperset(nodes[node].input[:2]) else IN_GRAPH
            for node, precision in found.items()
            if integer and precision not in {"int8", "unknown"}
        },
    )


def _with_known_nodes(layer: "Layer", nodes: "dict[str, NodeProto]") -> "Layer":
    """`layer` without the names that its backend made up, where it has one that it did not."""
    known = tuple(name for name in layer.nodes if name in nodes)
    return replace(layer, nodes=known) if known else layer
