"""Whose names a file of weights has; where nobody's, what it is closest to."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from edgeseg.tables import pick
from edgeseg.zoo.checkpoints import LAYOUTS
from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes

CLASSIFIERS = {
    "a ResNet": r"(?:conv1|bn1|layer[1-4]|fc)\..+",
    "a VGG or a MobileNet": r"(?:features\.\d+|classifier(?:\.\d+)?)\..+",
}
"""Networks that name a whole picture, by regular expressions for all their keys."""

SHOWN = 3
"""Keys of each kind that an error lists."""


class Recognised(NamedTuple):
    """Whose layout a file has, and what it says."""

    layout: Layout
    found: Found


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How the keys of a file differ from those of one layout."""

    whose: str
    matched: int
    """Keys of the file that the layout has a name or no use for."""
    unknown: tuple[str, ...]
    """Keys of the file that it has not."""
    missing: tuple[str, ...]
    """Our keys that nothing in the file becomes."""

    def __str__(self) -> str:
        parts = [f"closest is {self.whose}, which has {self.matched} of its names"]
        for told, keys in (("unknown", self.unknown), ("missing", self.missing)):
            if keys:
                more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
                parts.append(f"{told}: {', '.join(keys[:SHOWN])}{more}")
        return "; ".join(parts)


def shapes_of(tensors: Mapping[str, Tensor] | Shapes) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor by its name; shapes are taken as they are."""
    return {key: tuple(getattr(value, "shape", value)) for key, value in tensors.items()}


def recognised(
    held: Mapping[str, Tensor] | Shapes, *, table: Mapping[str, str] = LAYOUTS
) -> Recognised | None:
    """The public layout of these tensors or shapes, and the network in them; None for no known."""
    shapes = shapes_of(held)
    for layout in _layouts(table):
        try:
            found = layout.recognise(shapes)
        except IndexError:  # a tensor of this name, but with fewer axes than the author's
            continue
        if found is not None:
            return Recognised(layout, found)
    return None


def classifier_in(shapes: Shapes) -> str | None:
    """What the file holds where it is a network that names whole pictures, by its keys alone."""
    for name, pattern in CLASSIFIERS.items():
        if all(re.fullmatch(pattern, key) for key in shapes):
            return name
    return None


def closest(
    shapes: Shapes, own: Mapping[str, Shapes], *, table: Mapping[str, str] = LAYOUTS
) -> Difference | None:
    """The layout that has most of these keys; None where none has half of them.

    `own` are the shapes of our networks that the file may be meant for, by their names.
    """
    wanted = frozenset(key for network in own.values() for key in network)
    differences = [_from_own(shapes, name, network) for name, network in own.items()]
    differences += [_from_public(shapes, layout, wanted) for layout in _layouts(table)]
    best = max(differences, key=lambda each: (each.matched, -len(each.missing)), default=None)
    return best if best and 2 * best.matched >= len(shapes) else None


def _layouts(table: Mapping[str, str]) -> Iterator[Layout]:
    for author in table:
        yield from pick(table, author, kind="layout of weights")


def _from_own(shapes: Shapes, name: str, network: Shapes) -> Difference:
    return Difference(
        whose=f"edgeseg's own layout of {name}",
        matched=len(shapes.keys() & network.keys()),
        unknown=tuple(key for key in shapes if key not in network),
        missing=tuple(key for key in network if key not in shapes),
    )


def _from_public(shapes: Shapes, layout: Layout, wanted: frozenset[str]) -> Difference:
    unknown, ours = [], set()
    for key in shapes:
        try:
            ours.add(layout.renamed(key))
        except KeyError:
            unknown.append(key)
    # Nothing is missing from a network of which the file has nothing.
    missing = sorted(wanted - ours) if wanted & ours else []
    return Difference(
        whose=f"the layout of {layout.author}",
        matched=len(shapes) - len(unknown),
        unknown=tuple(unknown),
        missing=tuple(missing),
    )
