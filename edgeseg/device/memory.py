"""The memory, streams, events and graphs of one GPU, whatever package drives it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from edgeseg.types import Array

MemoryMode = Literal["mapped", "managed", "copy"]
"""How frames reach the GPU and labels come back.

`mapped`: pinned memory that the GPU reads where it lies. `managed`: memory that the driver moves,
attached to one stream. `copy`: pinned memory, and asynchronous copies to the GPU's own.
"""


class Kind(str, Enum):
    """Where an allocation lies, and who can reach it."""

    PINNED = "pinned"
    """Page-locked host memory: only the CPU, and copies, reach it."""
    MAPPED = "mapped"
    """Page-locked host memory that the GPU reaches as well, at an address of its own."""
    MANAGED = "managed"
    """Both reach it at one address, in turn where the GPU has no concurrent managed access."""
    DEVICE = "device"
    """Only the GPU reaches it."""


@dataclass(frozen=True, kw_only=True)
class GpuFacts:
    """What a GPU says of itself; memory kinds are chosen by this and never by a name."""

    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    integrated: bool
    """Shares its DRAM with the CPU, as on every Jetson."""
    can_map_host: bool
    concurrent_managed: bool
    """CPU and GPU may touch managed memory at the same time."""
    pageable_access: bool
    total_memory_mib: int
    driver: tuple[int, int]
    """The CUDA version that the driver supports."""


class Stream(Protocol):
    """Work in order."""

    handle: int
    """The CUstream, as TensorRT takes it."""

    def synchronize(self) -> None:
        """Wait until all of its work is done."""

    def close(self) -> None:
        """Free it; closing twice is fine."""


class Event(Protocol):
    """A mark in a stream."""

    def record(self, stream: Stream) -> None:
        """Put the mark behind what `stream` holds now."""

    def synchronize(self) -> None:
        """Wait until the stream passed the mark, spinning or blocked as it was made to."""

    def ms_since(self, earlier: "Event") -> float:
        """Milliseconds on the GPU between two marks that were passed."""

    def close(self) -> None:
        """Free it; closing twice is fine."""


class Graph(Protocol):
    """Captured work, to be launched as one."""

    def launch(self, stream: Stream) -> None:
        """Put all of it into `stream`."""

    def close(self) -> None:
        """Free it; closing twice is fine."""


class Block(Protocol):
    """One allocation. Whoever made it frees it, after the last work on it was waited for."""

    kind: Kind
    nbytes: int
    pointer: int
    """What the GPU reaches it by; 0 for `PINNED`."""

    @property
    def host(self) -> Array:
        """uint8 (nbytes,), the memory itself; it starts on a 64-byte border.

        Raises:
            DeviceError: memory that the CPU cannot reach, or that was freed.
        """

    def attach(self, stream: Stream | None) -> None:
        """Hand managed memory to the work that is put into `stream` from now on.

        None detaches it and waits for the whole stream that had it. Where GPU and CPU have
        concurrent managed access, and for other kinds of memory, nothing is to be handed over and
        nothing is done or waited for.
        """

    def detach(self) -> None:
        """Hand managed memory back to the CPU, behind what is in the stream that has it.

        It may touch it once that stream, or an event that is recorded in it afterwards, was waited
        for. Not inside a capture. Nothing is done where `attach` does nothing.
        """

    def free(self) -> None:
        """Give it back; freeing twice is fine, `host` must not be used afterwards."""


class Device(Protocol):
    """One GPU with its primary context, by one package.

    Every method but `active` is to be called in a block of `active`, in any thread.
    """

    package: str
    """"pycuda" or "cuda-bindings", with its version."""
    facts: GpuFacts

    def active(self) -> AbstractContextManager[None]:
        """A block in which the primary context is the current one of this thread."""

    def allocate(self, kind: Kind, nbytes: int) -> Block:
        """`nbytes` of memory, zeroed where the CPU reaches it.

        Raises:
            DeviceError: there is not so much, with what is free.
        """

    def stream(self) -> Stream:
        """A stream that does not wait for the default one."""

    def event(self, *, blocking: bool) -> Event:
        """An event that takes times; with `blocking`, who waits for it sleeps and does not spin."""

    def copy(self, target: Block, source: Block, stream: Stream) -> None:
        """Put a copy of all of `source` into `stream`: pinned to device, or device to pinned."""

    def begin_capture(self, stream: Stream) -> None:
        """Record what this thread puts into `stream` from now on, and run nothing of it.

        Raises:
            DeviceError: the driver refuses.
        """

    def end_capture(self, stream: Stream) -> Graph:
        """What was recorded. `stream` can be used again, also after an error.

        Raises:
            DeviceError: something in between cannot be captured.
        """

    def free_memory_mib(self) -> int:
        """What the driver says is free; on a Tegra less than could be had."""

    def close(self) -> None:
        """Release the primary context; closing twice is fine."""
