"""The layers of a plan: what a compiler made of the nodes of the graph, and what it computes in."""

import json
import re
from dataclasses import dataclass
from typing import Any

from edgeseg.errors import EngineMismatch

TYPES = {
    "bfloat16": "bf16", "bf16": "bf16", "fp4": "fp4", "fp8": "fp8", "fp16": "fp16", "half": "fp16",
    "fp32": "fp32", "float": "fp32", "uint8": "uint8", "int4": "int4", "int8": "int8",
    "int32": "int32", "int64": "int64", "bool": "bool",
}  # fmt: skip
"""How TensorRT writes a type, in the texts of all its versions, and how this table does."""
TYPE = re.compile(rf"\b({'|'.join(TYPES)})\b", re.IGNORECASE)
NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=[\x1e\x1f+,\s]|\[|$)")
WAITING = frozenset({"signal", "wait", "shape_call"})
"""What TensorRT lists beside layers: streams that wait for each other."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a plan."""

    name: str
    kind: str
    """What the backend calls it, such as CaskConvolution; "" where the plan keeps names alone."""
    precision: str | None
    """What it computes in; None where the plan does not say."""
    output: str
    """The layout and type of its output, in the backend's words."""
    nodes: tuple[str, ...]
    """Of the graph, that were fused into it."""
    reformats: bool
    """It changes a tensor's layout or type and computes nothing."""


def layers_from_inspector(text: str) -> list[Layer]:
    """The layers in what TensorRT's engine inspector says as JSON, whichever its version.

    Raises:
        EngineMismatch: the text is none that a known version writes.
    """
    try:
        found = json.loads(text, strict=False)  # names hold control characters, unescaped
    except ValueError as error:
        raise EngineMismatch(
            f"what TensorRT says of the plan's layers cannot be read: {error}",
            fix="please report the version of TensorRT",
        ) from error
    rows = found.get("Layers", []) if isinstance(found, dict) else found
    if not isinstance(rows, list):
        rows = []
    layers = [_layer(row if isinstance(row, dict) else {"Name": str(row)}) for row in rows]
    return [layer for layer in layers if layer.kind not in WAITING]


def _layer(row: dict[str, Any]) -> Layer:
    name, kind = str(row.get("Name", "")), str(row.get("LayerType", ""))
    reads, writes = _tensors(row, "Inputs"), _tensors(row, "Outputs")
    weights = row.get("Weights")
    typed = str(weights.get("Type", "")) if isinstance(weights, dict) else ""
    candidates = [typed, *reads[:1], *writes[:1]]
    return Layer(
        name=_printable(name),
        kind=kind,
        precision=next((found for text in candidates if (found := _type_in(text))), None),
        output=writes[0] if writes else "",
        nodes=_nodes(str(row.get("Metadata") or ""), name),
        reformats=_is_reformat(row, name, kind),
    )


def _tensors(row: dict[str, Any], side: str) -> list[str]:
    """The format and type of each tensor on one side of a layer, as it is written there."""
    items = row.get(side)
    keys = ("Format/Datatype", "Format", "Datatype", "DataType")
    return [
        " ".join(str(item[key]) for key in keys if item.get(key)).strip(" .")
        for item in (items if isinstance(items, list) else [])
        if isinstance(item, dict)
    ]


def _type_in(text: str) -> str | None:
    found = TYPE.search(text)
    return TYPES[found[1].lower()] if found else None


def _nodes(metadata: str, name: str) -> tuple[str, ...]:
    """The nodes of the graph: from the metadata, or from the names that make up the layer's."""
    named = NODE.findall(metadata)
    if not named and not name.startswith(("Reformatting CopyNode", "__myl_")):
        named = [part.strip() for part in name.split(" + ")]
    return tuple(dict.fromkeys(_printable(each) for each in named))


def _is_reformat(row: dict[str, Any], name: str, kind: str) -> bool:
    if kind == "NoOp":
        return False  # it was to be one, and costs nothing
    kinds = {kind.lower(), str(row.get("ParameterType", "")).lower()}
    return "reformat" in kinds or name.startswith("Reformatting CopyNode")


def _printable(text: str) -> str:
    return re.sub(r"[\x00-\x1f]+", " + ", text)
