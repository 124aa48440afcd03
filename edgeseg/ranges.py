"""Calibrated ranges: what they are, what they were measured on, and when they still hold."""

import hashlib
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import Field

from edgeseg.documents import Document, read_json, write_json


class Range(Document):
    """Of one activation tensor of the folded core."""

    min: float
    max: float
    amax: float
    """The magnitude that INT8 127 stands for."""
    method: str | None = None
    """What gave `amax`: for `auto`, the method that it chose for this tensor."""
    settled_after: int | None = None
    """After how many pictures it stayed within 1 %; of the tensors that INT8 reads."""


class Ranges(Document):
    """The ranges of one graph; the hashes say what they depend on."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    method: str
    graph: str
    """SHA-256 of the core."""
    preprocessing: str
    """SHA-256 of what becomes of a picture before the core."""
    images: str
    """SHA-256 of the contents of the pictures, in their order."""
    count: int
    tensors: dict[str, Range]
    pixels: dict[str, str] = Field(default_factory=dict)
    """What `preprocessing` is made of, to be read: size, order, mean, std, scale."""
    pictures: list[str] = Field(default_factory=list)
    """What `images` is made of: the start of the hash of each picture, unreadable ones too."""
    settled_after: int | None = None
    """After how many pictures 95 % of the ranges stayed within 1 %; None where they did not."""
    moving: list[str] = Field(default_factory=list)
    """The tensors whose range still changed over the last tenth of the pictures."""

    def differences(self, other: "Ranges") -> list[str]:
        """What `other` depends on that these ranges do not, in words: empty where they hold."""
        graph = self.graph_difference(other.graph, other.tensors)
        found = [f"graph changed ({graph})"] if graph else []
        if self.preprocessing != other.preprocessing:
            found.append("preprocessing changed" + self._other_pixels(other))
        if self.images != other.images:
            found.append("images changed" + self._other_pictures(other))
        if self.method != other.method:
            found.append(f"method changed ({self.method} -> {other.method})")
        return found

    def graph_difference(self, graph: str, activations: Collection[str]) -> str:
        """How these ranges miss the graph with that hash and those activations; "" for a fit."""
        lacking = [name for name in activations if name not in self.tensors]
        gone = [name for name in self.tensors if name not in activations]
        found = []
        if lacking:
            found.append(
                f"{len(lacking)} of its {len(activations)} activations have no range, such as "
                f"{lacking[0]!r}"
            )
        if gone and activations:
            found.append(f"{len(gone)} ranges are of no activation, such as {gone[0]!r}")
        if not found and graph != self.graph:
            found.append("the activations have the same names, but other weights or nodes")
        return "; ".join(found)

    def _other_pixels(self, other: "Ranges") -> str:
        changed = [
            f"{key} {self.pixels.get(key, 'unknown')} -> {value}"
            for key, value in other.pixels.items()
            if self.pixels.get(key) != value
        ]
        return f" ({', '.join(changed)})" if self.pixels and changed else ""

    def _other_pictures(self, other: "Ranges") -> str:
        if not self.pictures or not other.pictures:
            return ""
        before, after = Counter(self.pictures), Counter(other.pictures)
        new, gone = (after - before).total(), (before - after).total()
        if not new and not gone:
            return " (the same pictures in another order)"
        counts = f"{len(self.pictures)} -> {len(other.pictures)} pictures"
        return f" ({counts}, {new} new, {gone} gone)"


def read_ranges(path: Path) -> Ranges:
    """The ranges at `path`.

    Raises:
        InputFileError: unreadable, or not ranges.
    """
    fix = "remove it; the next build calibrates again"
    ranges: Ranges = read_json(Ranges, path, fix=fix)
    return ranges


def write_ranges(ranges: Ranges, path: Path) -> None:
    """Write `ranges` as JSON to `path`, all or nothing."""
    write_json(ranges, path)


def sha256(*parts: bytes | str) -> str:
    """The SHA-256 of `parts`, one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()


def tensorrt_number(major: int, minor: int, patch: int) -> int:
    """NV_TENSORRT_VERSION, with which a calibration cache begins: 8602 for 8.6.2."""
    return major * (1000 if major < 10 else 10000) + minor * 100 + patch
