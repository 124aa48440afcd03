"""Which package drives the GPU, and which kind of memory the frames lie in on it."""

import logging

from edgeseg.device.memory import Device, GpuFacts, MemoryMode
from edgeseg.device.refusals import pycuda_not_loaded
from edgeseg.errors import MissingPackage
from edgeseg.tables import known

PACKAGES = {
    "pycuda": "built from source on the machine: the default on a Jetson",
    "cuda-bindings": "wheels, of the driver's CUDA version",
}
COHERENT = (7, 2)
"""Since this compute capability an integrated GPU sees the CPU's caches (Xavier, Orin, Thor);
before it, pinned memory is uncached and slow for the CPU."""

log = logging.getLogger(__name__)


def open_device(index: int = 0, package: str | None = None) -> Device:
    """GPU `index`, by `package` (of PACKAGES); None takes pycuda where it is, else cuda-bindings.

    Raises:
        MissingPackage: neither is installed, or not the one that was asked for.
        DeviceError: no driver, one that is too old, or no such GPU.
    """
    if package is not None:
        return (_pycuda if known(PACKAGES, package, kind="package") == "pycuda" else _bindings)(
            index
        )
    try:
        return _pycuda(index)
    except MissingPackage as no_pycuda:
        try:
            found = _bindings(index)
        except MissingPackage:
            raise _neither(no_pycuda) from no_pycuda
        log.debug("cuda-bindings drives the GPU: %s", no_pycuda.problem)
        return found


def mode_for(facts: GpuFacts) -> MemoryMode:
    """How frames should reach a GPU of these facts, before anything was measured on it."""
    if not facts.integrated:
        return "copy"
    coherent = facts.can_map_host and facts.compute_capability >= COHERENT
    return "mapped" if coherent else "managed"


def _pycuda(index: int) -> Device:
    try:
        from edgeseg.device.pycuda import PycudaDevice
    except ImportError as error:
        raise pycuda_not_loaded(error) from error
    return PycudaDevice(index)


def _bindings(index: int) -> Device:
    try:
        from edgeseg.device.cuda_bindings import BindingsDevice
    except ImportError as error:
        raise MissingPackage(
            f"this needs the package 'cuda-bindings', which cannot be imported: {error}",
            fix="pip install 'edgeseg[cuda13]', or 'edgeseg[cuda12]' where the driver has CUDA 12",
        ) from error
    return BindingsDevice(index)


def _neither(no_pycuda: MissingPackage) -> MissingPackage:
    """The error where no package drives the GPU: it tells a broken pycuda from a missing one."""
    if "not installed" not in no_pycuda.problem:
        return no_pycuda
    return MissingPackage(
        "a GPU needs the package 'pycuda' or 'cuda-bindings', and neither is installed",
        fix="on a Jetson pip install 'edgeseg[jetson]', elsewhere 'edgeseg[cuda13]', or "
        "'edgeseg[cuda12]' where the driver has CUDA 12",
    )
