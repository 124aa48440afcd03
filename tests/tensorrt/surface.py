"""The recorded surfaces: what NVIDIA's Python bindings of six versions have, read from JSON."""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "surface"
VERSIONS = ("8.6.1", "10.3.0", "10.7.0", "10.13.0.35", "10.16.1.11", "11.4.0.106")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    name: str
    kind: str
    default: str | None
    """As the bindings write it; None where the caller must give it."""


@dataclass(frozen=True, kw_only=True)
class Class:
    bases: tuple[str, ...]
    methods: dict[str, tuple[str, ...]]
    """Name to signatures; `__init__` without one is a class that only TensorRT makes."""
    properties: dict[str, str]
    """Name to "TYPE r" or "TYPE rw"."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    version: str
    classes: dict[str, Class]
    enums: dict[str, dict[str, int]]
    """`Severity` is the nested `ILogger.Severity`."""
    functions: dict[str, tuple[str, ...]]
    constants: tuple[str, ...]
    names: frozenset[str] = field(repr=False)
    """Every public name, dotted: `Builder`, `Builder.num_DLA_cores`, `DataType.HALF`."""

    def has(self, name: str) -> bool:
        """Whether `name` is there; what a class inherits counts."""
        owner, _, attribute = name.rpartition(".")
        bases = self.classes[owner].bases if owner in self.classes else ()
        return name in self.names or any(self.has(f"{base}.{attribute}") for base in bases)


@cache
def surface(version: str) -> Surface:
    """The surface of `version`, as record_surface.py wrote it."""
    read = json.loads((FOLDER / f"{version}.json").read_text())
    classes = {
        name: Class(
            bases=tuple(item["bases"]),
            methods={key: tuple(value) for key, value in item["methods"].items()},
            properties=item["properties"],
        )
        for name, item in read["classes"].items()
    }
    return Surface(
        version=read["version"],
        classes=classes,
        enums=read["enums"],
        functions={name: tuple(value) for name, value in read["functions"].items()},
        constants=tuple(read["constants"]),
        names=frozenset(_names(read)),
    )


def parameters(signature: str) -> tuple[Parameter, ...]:
    """What a call takes: "(name: str, memory: int = 0) -> bool" without the object itself."""
    inside = signature[1 : _closing(signature)]
    return tuple(_parameter(part) for part in _split(inside))


def _names(read: dict[str, dict[str, dict[str, object]]]) -> list[str]:
    members = [
        f"{name}.{member}"
        for name, item in read["classes"].items()
        for member in (*item["methods"], *item["properties"])
    ]
    values = [f"{name}.{value}" for name, item in read["enums"].items() for value in item]
    severities = [
        f"{name}.{value}"
        for name in ("ILogger", "Logger")
        for value in ("Severity", *read["enums"]["ILogger.Severity"])
    ]
    top = [*read["classes"], *read["enums"], *read["functions"], *read["constants"]]
    return ["__version__", *top, *members, *values, *severities]


def _parameter(text: str) -> Parameter:
    named, _, default = text.partition(" = ")
    name, _, kind = named.partition(": ")
    return Parameter(name=name, kind=kind or "object", default=default or None)


def _closing(signature: str) -> int:
    depth = 0
    for place, letter in enumerate(signature):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if not depth:
            return place
    raise ValueError(signature)


def _split(inside: str) -> list[str]:
    """At the commas that no bracket encloses."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(inside):
        depth += {"(": 1, "[": 1, "<": 1, ")": -1, "]": -1, ">": -1}.get(letter, 0)
        if letter == "," and not depth:
            parts.append(inside[start:place])
            start = place + 1
    return [part.strip() for part in (*parts, inside[start:]) if part.strip()]
