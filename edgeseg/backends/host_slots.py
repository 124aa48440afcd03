"""Slots in ordinary memory, and states, for every backend that computes on a CPU."""

import os
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgeseg.types import STATE, STATE_OUT, Array, Runner, Slot, TensorSpec

ALIGNMENT = 64
"""Bytes; what vector loads like."""


def host_slot(runner: Runner) -> Slot:
    """Memory for one frame and what `runner` makes of it.

    Where it smooths, the state in the slot is that of a frame alone: zeros that nobody writes to.
    """
    inputs = {name: aligned(spec.shape, spec.dtype) for name, spec in runner.inputs.items()}
    outputs = {name: aligned(spec.shape, spec.dtype) for name, spec in runner.outputs.items()}
    return Slot(
        inputs=inputs,
        outputs=outputs,
        pixels=inputs["frame"][0],
        labels=outputs["labels"][0],
    )


class HostState:
    """The state of one camera: the buffers that its frames read from and write to in turn."""

    def __init__(self, spec: TensorSpec) -> None:
        self.buffers = (aligned(spec.shape, spec.dtype), aligned(spec.shape, spec.dtype))
        self.turn = 0
        """Which of them the next frame reads; it writes to the other one."""
        self.bound: object = None
        """What the backend keeps to the buffers."""

    def swap(self) -> None:
        """After a frame: what it wrote is what the next one reads."""
        self.turn = 1 - self.turn

    def reset(self) -> None:
        """Forget everything: the next frame is labelled as one alone."""
        self.buffers[self.turn].fill(0)


def state_arrays(slot: Slot) -> tuple[Array, Array]:
    """What a slot without a state reads in its place, and where it writes to."""
    return slot.inputs[STATE], slot.outputs[STATE_OUT]


def state_for(inputs: Mapping[str, TensorSpec]) -> HostState | None:
    """The state of one more camera; None where a plan with these `inputs` smooths nothing."""
    return HostState(inputs[STATE]) if STATE in inputs else None


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> Array:
    """Zeroed memory of `shape`, on a 64-byte border."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes].view(dtype).reshape(shape)


def workers_on_a_cpu() -> int:
    """Two more than the cores that this process may use."""
    return len(os.sched_getaffinity(0)) + 2 if hasattr(os, "sched_getaffinity") else 3


def computed_at_once(workers: int, *, smooth: float | None) -> int:
    """How many frames of `workers` are in the network at the same time, and share its threads.

    Where the frames of a camera wait for each other, one worker draws while another computes.
    """
    return workers if smooth is None else max(1, workers - 1)
