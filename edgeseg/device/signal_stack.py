"""Keeps signals deliverable beside OpenVINO, whose CPU plugin moves the thread's signal stack."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """`stack_t` of Linux, see sigaltstack(2)."""

    _fields_ = (
        ("pointer", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


@contextmanager
def own_signal_stack() -> Iterator[None]:
    """Inside, a library may set the thread's alternate signal stack; afterwards it is as before.

    A compiled model of OpenVINO sets one in its own memory and puts back what it found when it
    goes. Where two of them go in another order than they came, the thread is left with a stack
    that was freed, and the next Ctrl-C kills the process with SIGSEGV.
    """
    if sys.platform != "linux":
        yield
        return
    library, before = ctypes.CDLL(None), _Stack()
    known = library.sigaltstack(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            library.sigaltstack(ctypes.byref(before), None)
