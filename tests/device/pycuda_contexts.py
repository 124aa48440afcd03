"""The contexts of the fake pycuda, its errors, and what keeps to the context it was made in."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.device.cuda_results import RESULTS, CudaFault
from tests.device.pycuda_types import Error, LogicError, MemoryError, RuntimeError
from tests.device.simulated_gpu import current


class _Stack(threading.local):
    """pycuda's own stack of contexts in each thread, beside the driver's."""

    contexts: "tuple[Context, ...]" = ()


_stack = _Stack()


@contextmanager
def routine(name: str, hint: str = "") -> Iterator[None]:
    """pycuda's error for what CUDA refuses inside the block."""
    try:
        yield
    except CudaFault as fault:
        kinds = {2: MemoryError, 100: RuntimeError, 600: RuntimeError, 999: Error}
        text = f"{name} failed: {RESULTS[fault.code][1]}{hint}"
        raise kinds.get(fault.code, LogicError)(text) from None


def depends_on_context() -> None:
    with routine("explicit_context_dependent", " - no currently active context?"):
        current().require_context()


class Context:
    """Contexts are made by `Device.retain_primary_context`."""

    def __init__(self) -> None:
        raise RuntimeError("This class cannot be instantiated from Python")

    @classmethod
    def _make(cls) -> "Context":
        made = cls.__new__(cls)
        made._valid, made._thread = True, threading.get_ident()
        return made

    def push(self) -> None:
        with routine("cuCtxPushCurrent"):
            if not self._valid:
                raise CudaFault(201)
            current().push()
        _stack.contexts = (*_stack.contexts, self)

    @staticmethod
    def pop() -> None:
        if not current().pushed():
            raise LogicError(
                "context::pop failed: invalid device context - cannot pop non-current context"
            )
        current().pop()
        _stack.contexts = _stack.contexts[:-1]

    @staticmethod
    def synchronize() -> None:
        with routine("cuCtxSynchronize"):
            current().require_context()

    def detach(self) -> None:
        """Like the real one, it leaves the primary context on CUDA's stack, not on pycuda's."""
        if not self._valid:
            raise LogicError("context::detach failed: invalid device context")
        self._valid = False
        if current().pushed() or self._thread == threading.get_ident():
            current().strand()
            current().release()
        _stack.contexts = ()


class Warded:
    """Freed with its last reference, where its context is current or was made in this thread.

    Elsewhere the real one warns and leaks it.
    """

    def __init__(self) -> None:
        depends_on_context()
        self._gpu, self._ward = current(), _stack.contexts[-1]

    def _clean_up(self, free: Callable[[], None]) -> None:
        if self._gpu.has_context():
            free()
        elif self._ward._valid and self._ward._thread == threading.get_ident():
            self._gpu.push()
            free()
            self._gpu.pop()
