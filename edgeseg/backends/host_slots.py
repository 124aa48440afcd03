"""Slots in ordinary memory, for every backend that computes on a CPU."""

import numpy as np

from edgeseg.types import Pixels, Runner, Slot

ALIGNMENT = 64
"""Bytes; what vector loads like."""


def host_slot(runner: Runner) -> Slot:
    """Memory for one frame and what `runner` makes of it."""
    inputs = {name: aligned(spec.shape) for name, spec in runner.inputs.items()}
    outputs = {name: aligned(spec.shape) for name, spec in runner.outputs.items()}
    return Slot(
        inputs=inputs,
        outputs=outputs,
        pixels=inputs["frame"][0],
        labels=outputs["labels"][0],
    )


def aligned(shape: tuple[int, ...]) -> Pixels:
    """Zeroed uint8 memory of `shape`, on a 64-byte border."""
    count = int(np.prod(shape))
    raw = np.zeros(count + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count].reshape(shape)
