"""A signal after OpenVINO interrupts, and does not kill."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere handlers stay as they are: unverified there"
)

FREED = """
import ctypes, mmap, os, signal
from edgeseg.device.signals import handle_on_own_stack

class Stack(ctypes.Structure):
    _fields_ = (("p", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

got = []
signal.signal(signal.SIGTERM, lambda *_: got.append(1))
PLACE
memory = mmap.mmap(-1, 1 << 16)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
stack = Stack(address, 0, 1 << 16)
library = ctypes.CDLL(None)
assert library.sigaltstack(ctypes.byref(stack), None) == 0
library.munmap(ctypes.c_void_p(address), ctypes.c_size_t(1 << 16))
os.kill(os.getpid(), signal.SIGTERM)
print(got, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(
    ("call", "code", "said"), [("handle_on_own_stack()", 0, "[1]\n"), ("", -11, "")]
)
def test_a_signal_survives_a_stack_that_was_freed(
    root: Path, call: str, code: int, said: str
) -> None:
    """In a process of its own, since it ends where nothing is done against it."""
    done = subprocess.run(
        [sys.executable, "-c", FREED.replace("PLACE", call)],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, said), done.stderr
