"""Keeps signals deliverable beside OpenVINO, whose CPU plugin moves the thread's signal stack."""

import ctypes
import signal
import sys

SA_ONSTACK = 0x08000000


class _Action(ctypes.Structure):
    """`struct sigaction` of the C libraries of Linux, see sigaction(2)."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


def handle_on_own_stack() -> None:
    """Let the handlers that Python has now run on the stack of the thread that a signal meets.

    Python asks for the alternate stack of the thread. A compiled model of OpenVINO sets one in
    memory of its own, which is sometimes freed while it is still set: the next Ctrl-C then ends the
    process with SIGSEGV.
    """
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return
    library = ctypes.CDLL(None)
    for number in signal.valid_signals():
        action = _Action()
        if not callable(signal.getsignal(number)):
            continue
        if library.sigaction(int(number), None, ctypes.byref(action)) == 0:
            action.flags &= ~SA_ONSTACK
            library.sigaction(int(number), ctypes.byref(action), None)
