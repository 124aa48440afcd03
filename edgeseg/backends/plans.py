"""Plans that carry a line of JSON before their bytes: what the runner has to know to load them."""

import json
from typing import Any

import numpy as np

from edgeseg.errors import EngineMismatch
from edgeseg.types import TensorSpec


def packed(header: dict[str, Any], body: bytes) -> bytes:
    """One line of JSON and `body`."""
    return json.dumps(header, sort_keys=True).encode() + b"\n" + body


def unpacked(plan: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the body that `packed` joined.

    Raises:
        EngineMismatch: the bytes are no such plan.
    """
    line, _, body = plan.partition(b"\n")
    try:
        header: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise EngineMismatch(
            "the plan is not one that edgeseg wrote", fix="build the engine again"
        ) from error
    return header, body


def spec(name: str, shape: list[int]) -> TensorSpec:
    """A uint8 tensor, which is what every engine takes and gives."""
    return TensorSpec(name=name, shape=tuple(shape), dtype=np.dtype(np.uint8))
