"""Puts a fake package for the GPU where the real one would be, for the length of a block."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import NamedTuple

import edgeseg.device
from edgeseg.device.memory import Device
from tests.device import fake_cuda, fake_pycuda
from tests.device.fake_libcuda import FakeLibcuda
from tests.device.simulated_gpu import SimulatedGpu, install, uninstall

PACKAGES = ("pycuda", "cuda")
OURS = ("pycuda", "cuda_bindings", "capture", "choice")


class Opened(NamedTuple):
    """A simulated GPU, and edgeseg's device over it."""

    gpu: SimulatedGpu
    device: Device


@contextmanager
def fake_gpu(package: str = "pycuda", **facts: object) -> Iterator[SimulatedGpu]:
    """A simulated GPU of these facts (see SimulatedGpu) that only `package` drives, or "both".

    A package that does not drive it cannot be imported inside the block.
    """
    assert package in {*PACKAGES, "both"}
    hidden = {name: sys.modules.pop(name) for name in _loaded()}
    gpu = SimulatedGpu(**facts)
    install(gpu)
    _purge()
    for name, fake in zip(PACKAGES, (fake_pycuda, fake_cuda), strict=True):
        sys.modules.update(fake.modules() if package in {name, "both"} else {name: None})
    try:
        from edgeseg.device import capture

        capture.libcuda = FakeLibcuda
        yield gpu
    finally:
        uninstall()
        for name in _loaded():
            del sys.modules[name]
        sys.modules.update(hidden)
        _purge()


def _loaded() -> list[str]:
    """The modules of the real or fake packages that are loaded."""
    return [name for name in sys.modules if name.partition(".")[0] in PACKAGES]


def _purge() -> None:
    """Forget edgeseg's modules that hold on to a package of the GPU."""
    for name in OURS:
        sys.modules.pop(f"edgeseg.device.{name}", None)
        if isinstance(getattr(edgeseg.device, name, None), ModuleType):
            delattr(edgeseg.device, name)
