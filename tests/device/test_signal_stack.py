"""A signal after OpenVINO interrupts, and does not kill."""

import ctypes
import os
import signal
import sys

import pytest

from edgeseg.device.signal_stack import own_signal_stack

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere nothing is put back: unverified there"
)
DISABLED = 2


class Stack(ctypes.Structure):
    _fields_ = (
        ("pointer", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


def current() -> Stack:
    found = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
    return found


def test_a_stack_that_is_set_inside_is_gone_afterwards() -> None:
    before, memory = current(), ctypes.create_string_buffer(1 << 16)
    with own_signal_stack():
        given = Stack(ctypes.addressof(memory), 0, len(memory))
        assert ctypes.CDLL(None).sigaltstack(ctypes.byref(given), None) == 0
        assert current().pointer == ctypes.addressof(memory)
    after = current()
    assert (after.pointer, after.flags, after.size) == (before.pointer, before.flags, before.size)


def test_it_is_put_back_after_an_error_too() -> None:
    before, memory = current(), ctypes.create_string_buffer(1 << 16)
    with pytest.raises(RuntimeError):
        _fail_with(Stack(ctypes.addressof(memory), 0, len(memory)))
    assert current().pointer == before.pointer


def _fail_with(stack: Stack) -> None:
    with own_signal_stack():
        ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None)
        raise RuntimeError


@pytest.mark.needs("onnx", "openvino")
def test_a_signal_is_survived_after_runners_that_went_in_any_order() -> None:
    import numpy as np

    from edgeseg.backends.floats import float_runner
    from tests.networks import picture, pixels_of, tiny_core

    core, got = tiny_core().SerializeToString(), []
    before = signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
    try:
        first, second = float_runner(core), float_runner(core)
        feeds = {"pixels": pixels_of(picture())}
        expected = first(feeds)["logits"].copy()
        del first
        assert np.array_equal(second(feeds)["logits"], expected)
        del second
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert got == [1]
