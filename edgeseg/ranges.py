"""Calibrated ranges: what they are, what they were measured on, and when they still hold."""

import hashlib
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


class Ranges(Document):
    """The ranges of one graph; the hashes say what they depend on."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    method: str
    graph: str
    """SHA-256 of the core."""
    preprocessing: str
    """SHA-256 of what becomes of a picture before the core."""
    images: str
    """SHA-256 of the list of pictures and their contents."""
    count: int
    tensors: dict[str, Range]

    def differences(self, other: "Ranges") -> list[str]:
        """What `other` depends on that these ranges do not: empty where they may be reused."""
        return [
            what
            for what in ("graph", "preprocessing", "images", "method")
            if getattr(self, what) != getattr(other, what)
        ]


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
