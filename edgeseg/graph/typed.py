"""The typed dialect: opset 19, FP16 outside Q/DQ, each precision spelt out by a Cast.

Strongly typed TensorRT runs exactly what such a graph says. The quantisation is that of the wide
graph: positions, scales and integers are the same, and so is their hash.
"""

import json
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgeseg.errors import BuildError, UsageError
from edgeseg.graph.nodes import attribute, constants, initializer, prune, replace_nodes
from edgeseg.graph.typed_opset import TYPED_OPSET, at_typed_opset
from edgeseg.graph.typed_precision import (
    AS_IT_COMES,
    FP16_MAX,
    element_types,
    follows,
    fp32_reasons,
    key,
)
from edgeseg.types import Array

FP32, FP16 = TensorProto.FLOAT, TensorProto.FLOAT16
KEPT = "edgeseg.fp32"
"""The metadata of a typed graph in which its FP32 nodes are named, with reasons, as JSON."""


def typed(model: ModelProto, *, keep_fp32: Collection[str] = ()) -> ModelProto:
    """`model` (a frame graph or a core, float32 outside Q/DQ) in the typed dialect.

    `keep_fp32` names nodes that stay FP32; a mapping gives a reason for each. Inputs, outputs and
    the names of all nodes and tensors stay what they are.

    Raises:
        UsageError: `keep_fp32` names a node that is not there.
        BuildError: the graph has a newer opset, control flow, or types that do not fit together.
    """
    raised = at_typed_opset(model)
    if unknown := sorted(set(keep_fp32) - {key(node) for node in raised.graph.node}):
        raise UsageError(
            f"the graph has no node {unknown[0]!r} to keep in FP32",
            fix="name nodes as `edgeseg inspect` lists them",
        )
    floats = _float_tensors(raised)
    reasons = fp32_reasons(raised, floats, keep_fp32)
    result = _Casting(raised, floats, reasons).model()
    helper.set_model_props(result, {**_properties(model), KEPT: json.dumps(reasons)})
    check_typed(result)
    return result


def fp32_nodes_of(model: ModelProto) -> dict[str, str]:
    """The nodes of a typed graph that compute in FP32, in its order, each with its reason."""
    found: dict[str, str] = json.loads(_properties(model).get(KEPT, "{}"))
    return found


def check_typed(model: ModelProto) -> None:
    """Check that FP32 flows only between nodes that are declared to stay FP32, without idle Casts.

    Raises:
        BuildError: not a valid graph of opset 19, or a node breaks the rule.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
        types = element_types(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise _broken(f"is no valid ONNX: {error}") from error
    if any(e.version != TYPED_OPSET for e in model.opset_import if e.domain in {"", "ai.onnx"}):
        raise _broken(f"is not in opset {TYPED_OPSET}")
    declared = fp32_nodes_of(model)
    floats = {name for name, kind in types.items() if kind == FP32}
    constant = {name for name, value in constants(model).items() if value.dtype == np.float32}
    for node in model.graph.node:
        read = [n for i, n in enumerate(node.input) if n in floats | constant and follows(node, i)]
        given = [name for name in node.output if name in floats]
        free = node.op_type in {"Cast", "Shape", "Size"} or key(node) in declared
        if (read or given) and not free:
            raise _broken(f"has {(read + given)[0]} in FP32 at {key(node)}, undeclared")
    _check_casts(model.graph.node, types)


def _check_casts(nodes: Iterable[NodeProto], types: Mapping[str, int]) -> None:
    """Raise where a Cast between floats undoes another, does nothing, or is made twice."""
    made: dict[str, str] = {}
    for node in nodes:
        source = node.input[0] if node.input else ""
        to = attribute(node, "to")
        if node.op_type != "Cast" or not {types.get(source), to} <= {FP32, FP16}:
            continue
        if source in made or source in made.values() or types[source] == to:
            raise _broken(f"has an idle Cast: {key(node)} of {source}")
        made[node.output[0]] = source


def _broken(what: str) -> BuildError:
    return BuildError(f"the typed graph {what}", fix="please report this network")


def _properties(model: ModelProto) -> dict[str, str]:
    return {item.key: item.value for item in model.metadata_props}


def _float_tensors(model: ModelProto) -> set[str]:
    try:
        return {name for name, kind in element_types(model).items() if kind == FP32}
    except onnx.shape_inference.InferenceError as error:
        raise BuildError(
            f"the graph's types do not fit together: {error}", fix="export the network again"
        ) from error


class _Casting:
    """The graph in the making, node by node, with a Cast where the precision changes."""

    def __init__(
        self, model: ModelProto, floats: Collection[str], reasons: Mapping[str, str]
    ) -> None:
        self._model, self._floats, self._reasons = model, floats, reasons
        self._values = constants(model)
        self._suffixes = _free_suffixes(model)
        self._wanted = self._readings()
        self._names = self._named_precisions()
        self._new_constants: dict[str, TensorProto] = {}

    def model(self) -> ModelProto:
        """The finished graph; the one given is used up."""
        graph = self._model.graph
        nodes: list[NodeProto] = []
        for value in graph.input:
            if value.name in self._floats:
                nodes.extend(self._casts(value.name, FP32))
        for node in list(graph.node):
            nodes.extend(self._converted(node))
        replace_nodes(self._model, nodes)
        graph.initializer.extend(self._new_constants.values())
        prune(self._model)
        return self._model

    def _precision(self, node: NodeProto) -> int:
        return FP32 if key(node) in self._reasons else FP16

    def _readings(self) -> dict[str, set[int]]:
        """The precisions in which each float tensor is read."""
        wanted: dict[str, set[int]] = {value.name: {FP32} for value in self._model.graph.output}
        for node in self._model.graph.node:
            if node.op_type in AS_IT_COMES - {"QuantizeLinear"}:
                continue
            for index, name in enumerate(node.input):
                precision = self._precision(node) if follows(node, index) else FP32
                wanted.setdefault(name, set()).add(precision)
        return wanted

    def _named_precisions(self) -> dict[str, int]:
        """In which precision a tensor has its own name: the hash of a Q goes by what it reads."""
        names = {
            name: self._precision(node)
            for node in self._model.graph.node
            for name in node.output
            if name in self._floats
        }
        for node in self._model.graph.node:
            if node.op_type == "QuantizeLinear":
                names[node.input[0]] = self._precision(node)
        borders = (*self._model.graph.input, *self._model.graph.output)
        names.update({value.name: FP32 for value in borders if value.name in self._floats})
        return names

    def _name(self, tensor: str, precision: int) -> str:
        same = self._names.get(tensor, precision) == precision
        return tensor if same else f"{tensor}{self._suffixes[precision]}"

    def _converted(self, node: NodeProto) -> list[NodeProto]:
        """`node` in its precision, and the Casts of what it gives."""
        precision = self._precision(node)
        for index, name in enumerate(list(node.input)):
            reads = precision if follows(node, index) else FP32
            if name in self._values:
                if self._values[name].dtype == np.float32:
                    node.input[index] = self._constant(node, index, reads)
            elif name in self._floats and node.op_type not in AS_IT_COMES - {"QuantizeLinear"}:
                node.input[index] = self._name(name, reads)
        if node.op_type == "Cast" and attribute(node, "to") == FP32:
            node.attribute[0].i = precision
        given = [name for name in node.output if name in self._floats]
        node.output[:] = [self._name(n, precision) if n in given else n for n in node.output]
        return [node, *(cast for name in given for cast in self._casts(name, precision))]

    def _casts(self, tensor: str, given: int) -> list[NodeProto]:
        """The Cast of `tensor`, which comes in precision `given`, to the other, if it is read."""
        other = FP16 if given == FP32 else FP32
        if other not in self._wanted.get(tensor, ()):
            return []
        source, target = self._name(tensor, given), self._name(tensor, other)
        name = f"{tensor}_to{self._suffixes[other]}"
        return [helper.make_node("Cast", [source], [target], name=name, to=other)]

    def _constant(self, node: NodeProto, index: int, precision: int) -> str:
        """The name of a float constant in `precision`; made the first time that it is asked for."""
        name = str(node.input[index])
        if precision == FP32:
            return name
        is_bound = node.op_type == "Clip"
        half = f"{name}{'_bound' if is_bound else ''}{self._suffixes[FP16]}"
        if half not in self._new_constants:
            self._new_constants[half] = initializer(half, _half(self._values[name], is_bound))
        return half


def _free_suffixes(model: ModelProto) -> dict[int, str]:
    """What a tensor's other precision is called by: no name of the graph ends with it."""
    names = {name for node in model.graph.node for name in (*node.input, *node.output)}
    suffixes: dict[int, str] = {FP32: "_fp32", FP16: "_fp16"}
    while any(name.endswith(tuple(suffixes.values())) for name in names):
        suffixes = {kind: f"{suffix}_" for kind, suffix in suffixes.items()}
    return suffixes


def _half(value: Array, is_bound: bool) -> Array:
    """`value` in FP16; a bound beyond its range ends where FP16 does."""
    finite = np.clip(value, -FP16_MAX, FP16_MAX) if is_bound else value
    return finite.astype(np.float16)
