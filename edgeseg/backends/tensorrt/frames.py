"""The memory of one input or output in one slot: what the CPU touches and what the GPU reaches."""

from collections.abc import Callable

import numpy as np

from edgeseg.backends.host_slots import aligned
from edgeseg.backends.tensorrt.borders import Border
from edgeseg.device.memory import Block, Device, Kind, MemoryMode, Stream
from edgeseg.types import Array, Pixels

Allocate = Callable[[Kind, int], Block]
"""Makes a block that its owner frees when the engine is closed."""

SHARED = {"mapped": Kind.MAPPED, "managed": Kind.MANAGED}
"""The kind of the one block that CPU and GPU have between them."""


class Frame:
    """One border in one slot; `array` is uint8, and is the GPU's own memory where the plan's is."""

    def __init__(self, border: Border, mode: MemoryMode, allocate: Allocate) -> None:
        self.border = border
        copied = mode == "copy"
        self._host = allocate(Kind.PINNED if copied else SHARED[mode], border.nbytes)
        self._gpu = allocate(Kind.DEVICE, border.nbytes) if copied else self._host
        memory = self._host.host[: border.nbytes]
        self._bound: Array = memory.view(border.dtype).reshape(border.shape)
        self._direct = border.dtype == np.uint8
        self.array: Pixels = self._bound if self._direct else aligned(border.shape)

    @property
    def address(self) -> int:
        """Where the GPU reads or writes it."""
        return self._gpu.pointer

    def attach(self, stream: Stream) -> None:
        """Hand managed memory to the work of `stream`; other memory needs no handing."""
        if self._host.kind is Kind.MANAGED:
            self._host.attach(stream)

    def detach(self) -> None:
        """Hand managed memory back to the CPU, behind that work."""
        if self._host.kind is Kind.MANAGED:
            self._host.detach()

    def upload(self, device: Device, stream: Stream) -> None:
        """Put the copy of an input to the GPU into `stream`, where there is one to be made."""
        if self.border.is_input and self._gpu is not self._host:
            device.copy(self._gpu, self._host, stream)

    def download(self, device: Device, stream: Stream) -> None:
        """Put the copy of an output from the GPU into `stream`, where there is one to be made."""
        if not self.border.is_input and self._gpu is not self._host:
            device.copy(self._host, self._gpu, stream)

    def to_plan(self) -> None:
        """Convert an input for a plan that takes no bytes."""
        if self.border.is_input and not self._direct:
            np.copyto(self._bound, self.array, casting="unsafe")

    def from_plan(self) -> None:
        """Convert an output of a plan that gives no bytes; ids are whole and below 256."""
        if not self.border.is_input and not self._direct:
            np.copyto(self.array, self._bound, casting="unsafe")
