"""What the simulated GPU is made of: its contexts, and the things that a driver hands out."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tests.device.cuda_results import CudaFault

OFFSET = 1 << 48
"""What the GPU's address of a page is above the CPU's."""
FRESH, FREED = 0xCD, 0xDD
"""What memory holds when it is new, and when it was given back."""
Work = Callable[[], None]


@dataclass(eq=False)
class Memory:
    """One allocation; `kind` is pinned, mapped, managed or device."""

    kind: str
    cpu: np.ndarray
    gpu: np.ndarray
    attached: object = "host"
    """For managed memory, what the GPU's work sees: "host", "global" or the handle of a stream."""
    asked: object = "host"
    """The same, as the last call asked for it."""

    @property
    def host_address(self) -> int:
        return int(self.cpu.ctypes.data)

    @property
    def address(self) -> int:
        """What the GPU reaches it by."""
        return self.host_address if self.kind == "managed" else self.host_address + OFFSET


@dataclass(eq=False)
class Capture:
    thread: int
    mode: int
    works: list[Work] = field(default_factory=list)
    valid: bool = True


@dataclass(eq=False)
class Queue:
    """A stream."""

    blocking: bool
    works: list[Work] = field(default_factory=list)
    capture: Capture | None = None


@dataclass(eq=False)
class Mark:
    """An event."""

    flags: int
    queue: Queue | None = None
    place: Work | None = None
    captured: bool = False
    time_ms: float | None = None


@dataclass(eq=False)
class Graph:
    works: tuple[Work, ...]


@dataclass(eq=False)
class GraphExec:
    works: tuple[Work, ...]


class Contexts:
    """The primary context: how often it is retained, and in which threads it is the current one."""

    def __init__(self) -> None:
        self.initialised = False
        self.retained = 0
        self._pushed: dict[int, int] = {}
        self._stranded: dict[int, int] = {}

    def retain(self) -> None:
        self.require_initialised()
        self.retained += 1

    def release(self) -> None:
        if not self.retained:
            raise CudaFault(201)
        self.retained -= 1

    def push(self) -> None:
        if not self.retained:
            raise CudaFault(201)
        thread = threading.get_ident()
        self._pushed[thread] = self._pushed.get(thread, 0) + 1

    def pop(self) -> None:
        """The driver's own pop: what pycuda left behind goes first."""
        thread = threading.get_ident()
        for depths in (self._stranded, self._pushed):
            if depths.get(thread):
                depths[thread] -= 1
                return
        raise CudaFault(201)

    def strand(self) -> None:
        """Forget the pushes of this thread, and leave one context on the driver's stack."""
        thread = threading.get_ident()
        self._pushed[thread] = 0
        self._stranded[thread] = self._stranded.get(thread, 0) + 1

    def pushed(self) -> int:
        """How often this thread has pushed it."""
        return self._pushed.get(threading.get_ident(), 0)

    def on_stack(self) -> bool:
        """Whether the driver has a context current in this thread, also one that was left."""
        return bool(self.pushed() or self._stranded.get(threading.get_ident()))

    def has_context(self) -> bool:
        return bool(self.retained and self.pushed())

    def require_initialised(self) -> None:
        if not self.initialised:
            raise CudaFault(3)

    def require_context(self) -> None:
        """Raise CUDA_ERROR_INVALID_CONTEXT where this thread has no context pushed."""
        self.require_initialised()
        if not self.has_context():
            raise CudaFault(201)

    def leaks(self) -> list[str]:
        left = [*self._pushed.items(), *self._stranded.items()]
        return [
            *(f"{n} contexts left pushed in thread {thread}" for thread, n in left if n),
            *([f"primary context retained {self.retained} times"] if self.retained else []),
        ]


def page_aligned(nbytes: int) -> np.ndarray:
    raw = np.full(nbytes + 4096, FRESH, np.uint8)
    start = -raw.ctypes.data % 4096
    return raw[start : start + nbytes]
