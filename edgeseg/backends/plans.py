"""Plans that carry a line of JSON before their bytes: what the runner has to know to load them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from edgeseg.errors import EngineMismatch, UsageError
from edgeseg.types import STATE, STATE_OUT, RuntimeOptions, TensorSpec

FLAGS = {"memory": "--memory", "sync": "--sync", "cuda_graph": "--no-cuda-graph"}
"""How a user writes the fields of RuntimeOptions."""


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
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise EngineMismatch("the plan is not one that edgeseg wrote", fix="build the engine again")
    return header, body


def spec(name: str, shape: Sequence[int]) -> TensorSpec:
    """What every engine takes and gives: uint8, but for the state of one that smooths."""
    kind = np.float32 if name in {STATE, STATE_OUT} else np.uint8
    return TensorSpec(name=name, shape=tuple(shape), dtype=np.dtype(kind))


def refuse_gpu_options(runtime: RuntimeOptions | None, backend: str) -> None:
    """Refuse what `backend`, on a CPU, cannot heed; None and the defaults ask for nothing.

    Raises:
        UsageError: an option that only an engine on a GPU takes.
    """
    asked = [
        option
        for option, default in asdict(RuntimeOptions()).items()
        if runtime is not None and getattr(runtime, option) != default
    ]
    if asked:
        flags = " and ".join(FLAGS[option] for option in asked)
        raise UsageError(
            f"{flags} {'is' if len(asked) == 1 else 'are'} for engines on a GPU, and this one runs "
            f"on {backend}",
            fix="leave it out, or build the engine with --backend tensorrt",
        )
