"""What a Q/DQ graph goes through before one backend compiles it; one row each, in this order.

A backend names the rows that it needs (`NEEDS`); the graph of an engine folder stays as it is.
"""

from collections.abc import Iterable

from onnx import ModelProto

from edgeseg.graph.narrow import narrowed
from edgeseg.graph.seams import pooled_as_integers, whole_concats
from edgeseg.graph.unsigned import unsigned_where_never_negative

PREPARATIONS = {
    "pools": pooled_as_integers,
    "unsigned": unsigned_where_never_negative,
    "narrow": narrowed,
    "concats": whole_concats,
}


def prepared(model: ModelProto, needs: Iterable[str]) -> ModelProto:
    """What the rows `needs` make of a Q/DQ graph; others pass unchanged."""
    wanted = frozenset(needs)
    for name, prepare in PREPARATIONS.items():
        if name in wanted:
            model = prepare(model)
    return model


def prepared_bytes(graph: bytes, needs: Iterable[str]) -> bytes:
    """`prepared` of a serialised graph, serialised."""
    return bytes(prepared(ModelProto.FromString(graph), needs).SerializeToString())
