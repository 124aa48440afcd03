"""Which layers of a network belong together: by the names of its modules, or by its joins."""

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

from edgeseg.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Path: TypeAlias = tuple[str, ...]

MOST_LAYERS = 4
"""Of a block by names, where its module has parts: a residual block with its projection."""
WORTH_IT = 0.67
"""Blocks by names count where there are at most this many for each layer."""
ENDS = frozenset({"Add", "Concat", "MaxPool", "AveragePool", "Resize", "DepthToSpace"})
"""What ends a block of a network whose names tell nothing."""


def module_of(node: "NodeProto") -> str | None:
    """The module that the exporter named in the node (`a/b/Conv`) or in its weight (`a.b.weight`).

    None where neither holds a path.
    """
    return _text(_path_of(node)) or None


def parts_of(
    core: "ModelProto", names: Collection[str], only: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """The nodes `names` by block; of `only` those whose node, module or block a pattern matches.

    Raises:
        UsageError: a pattern that matches nothing.
    """
    nodes = {node.name: node for node in core.graph.node}
    parts: dict[str, list[str]] = {}
    unused = set(only)
    for name, block in blocks_of(core, names).items():
        known = (name, block, module_of(nodes[name]) or name)
        matched = {each for each in only if any(fnmatchcase(one, each) for one in known)}
        unused -= matched
        if matched or not only:
            parts.setdefault(block, []).append(name)
    if unused:
        raise UsageError(
            f"no layer that is quantised is called {', '.join(sorted(unused))}",
            fix=f"the blocks are: {', '.join(dict.fromkeys(blocks_of(core, names).values()))}",
        )
    return {block: tuple(members) for block, members in parts.items()}


def blocks_of(core: "ModelProto", names: Collection[str]) -> dict[str, str]:
    """The name of the block of each of the nodes `names`, in the order of the graph."""
    nodes = [node for node in core.graph.node if node.name in names]
    paths = {node.name: _path_of(node) for node in nodes}
    named = {name: path for name, path in paths.items() if path}
    if 2 * len(named) >= len(nodes) - sum(node.op_type == "Add" for node in nodes):
        found = _by_path(list(named.items()), 1)
        if len(set(found.values())) <= max(1, WORTH_IT * len(named)):
            return _filled(nodes, found)
    return _by_joins(core, names)


def _path_of(node: "NodeProto") -> Path:
    own = tuple(part for part in node.name.split("/") if part)
    if len(own) > 1:
        return own[:-1]
    weight = node.input[1] if len(node.input) > 1 and node.op_type != "Add" else ""
    return tuple(weight.split(".")[:-1])


def _by_path(members: Sequence[tuple[str, Path]], depth: int) -> dict[str, str]:
    """The largest modules of at most `MOST_LAYERS` layers; smaller ones only where none is left."""
    groups: dict[Path, list[tuple[str, Path]]] = {}
    for name, path in members:
        groups.setdefault(path[:depth], []).append((name, path))
    found: dict[str, str] = {}
    for group in groups.values():
        if len(group) > MOST_LAYERS and any(len(path) > depth for _, path in group):
            found.update(_by_path(group, depth + 1))
        else:
            label = _text(_common(group))
            found.update({name: label for name, _ in group})
    return found


def _common(group: Sequence[tuple[str, Path]]) -> Path:
    shared = group[0][1]
    for _, path in group:
        same = [a == b for a, b in zip(shared, path, strict=False)]
        shared = shared[: same.index(False) if False in same else len(same)]
    return shared


def _filled(nodes: Sequence["NodeProto"], found: Mapping[str, str]) -> dict[str, str]:
    """`found` for every node: an Add belongs to what it follows, others to what they lead to."""
    known = [found.get(node.name) for node in nodes]
    for index, node in enumerate(nodes):
        before = next((name for name in reversed(known[:index]) if name), None)
        after = next((name for name in known[index + 1 :] if name), None)
        if known[index] is None:
            known[index] = (before or after) if node.op_type == "Add" else (after or before)
    return {node.name: str(label) for node, label in zip(nodes, known, strict=True)}


def _by_joins(core: "ModelProto", names: Collection[str]) -> dict[str, str]:
    runs: list[list[NodeProto]] = [[]]
    for node in core.graph.node:
        if node.name in names:
            runs[-1].append(node)
        if node.op_type in ENDS and runs[-1]:
            runs.append([])
    return {node.name: _label(run) for run in runs for node in run}


def _label(run: Sequence["NodeProto"]) -> str:
    weighted = [node.name for node in run if node.op_type != "Add"] or [run[0].name]
    return weighted[0] if len(weighted) == 1 else f"{weighted[0]} ... {weighted[-1]}"


def _text(path: Path) -> str:
    return ".".join(path)
