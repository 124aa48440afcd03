"""`pycuda.driver` in the part that edgeseg may use, over the simulated GPU, as strict as it is."""

from types import ModuleType

import numpy as np

from tests.device import pycuda_types
from tests.device.cuda_results import CudaFault, GpuFault
from tests.device.gpu_parts import Mark, Memory, Queue
from tests.device.pycuda_contexts import Context, Warded, routine
from tests.device.pycuda_types import (
    LogicError,
    device_attribute,
    host_alloc_flags,
)
from tests.device.simulated_gpu import current

VERSION_TEXT = "2026.1"


def init(flags: int = 0) -> None:
    assert flags == 0
    with routine("cuInit"):
        current().initialise()


def get_driver_version() -> int:
    major, minor = current().driver
    return major * 1000 + minor * 10


def mem_get_info() -> tuple[int, int]:
    with routine("cuMemGetInfo"):
        current().require_context()
    return current().free_bytes(), current().memory_mib << 20


class Device:
    def __init__(self, ordinal: int) -> None:
        with routine("cuDeviceGet"):
            current().require_device(ordinal)

    @staticmethod
    def count() -> int:
        with routine("cuDeviceGetCount"):
            current().require_initialised()
        return current().devices

    def name(self) -> str:
        return current().name

    def compute_capability(self) -> tuple[int, int]:
        return current().compute_capability

    def total_memory(self) -> int:
        return current().memory_mib << 20

    def get_attribute(self, attribute: device_attribute) -> int:
        assert isinstance(attribute, device_attribute)
        return current().attribute(int(attribute))

    def retain_primary_context(self) -> "Context":
        with routine("cuDevicePrimaryCtxRetain"):
            current().retain()
        return Context._make()


class _Owned(Warded):
    """Something with a handle."""

    def __init__(self, thing: object) -> None:
        super().__init__()
        self.handle = current().create(thing)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._clean_up(lambda: self._gpu.destroy(self.handle))


class Stream(_Owned):
    def __init__(self, flags: int = 0) -> None:
        assert flags in {0, 1}
        super().__init__(Queue(blocking=flags == 0))

    def synchronize(self) -> None:
        with routine("cuStreamSynchronize"):
            current().synchronize(self.handle)


class Event(_Owned):
    def __init__(self, flags: int = 0) -> None:
        super().__init__(Mark(int(flags)))

    def record(self, stream: Stream | None = None) -> "Event":
        with routine("cuEventRecord"):
            current().record(self.handle, _handle(stream))
        return self

    def synchronize(self) -> "Event":
        with routine("cuEventSynchronize"):
            current().wait_event(self.handle)
        return self

    def time_since(self, event: "Event") -> float:
        with routine("cuEventElapsedTime"):
            return current().elapsed_ms(event.handle, self.handle)


class _Allocation(Warded):
    def __init__(self, kind: str, nbytes: int, call: str) -> None:
        super().__init__()
        self._free = False
        with routine(call):
            self._memory: Memory = current().allocate(kind, nbytes)

    def free(self) -> None:
        if self._free:
            raise LogicError("free failed: invalid resource handle")
        with routine("cuMemFree"):
            self._gpu.free(self._memory)
        self._free = True

    def __del__(self) -> None:
        if hasattr(self, "_memory") and not self._free:
            self._clean_up(lambda: self._gpu.free(self._memory))


class DeviceAllocation(_Allocation):
    def __int__(self) -> int:
        return self._memory.address

    __index__ = __int__


class ManagedAllocation(DeviceAllocation):
    def get_device_pointer(self) -> int:
        return self._memory.address

    def attach(self, mem_flags: int, stream: Stream | None = None) -> None:
        owner = {1: "global", 2: "host", 4: _handle(stream)}[int(mem_flags)]
        with routine("cuStreamAttachMemAsync"):
            current().attach(self._memory, _handle(stream), owner)


class PagelockedHostAllocation(_Allocation):
    def get_device_pointer(self) -> int:
        with routine("cuMemHostGetDevicePointer"):
            current().require_context()
            if self._memory.kind != "mapped":
                raise CudaFault(1)
        return self._memory.address


def mem_alloc(nbytes: int) -> DeviceAllocation:
    return DeviceAllocation("device", nbytes, "cuMemAlloc")


def pagelocked_empty(
    shape: object, dtype: object, order: str = "C", mem_flags: int = 0
) -> np.ndarray:
    kind = "mapped" if mem_flags & host_alloc_flags.DEVICEMAP else "pinned"
    made = PagelockedHostAllocation(kind, _nbytes(shape, dtype), "cuMemHostAlloc")
    return _array(made, shape, dtype, order)


def managed_empty(shape: object, dtype: object, order: str = "C", mem_flags: int = 0) -> np.ndarray:
    if mem_flags not in {1, 2}:
        raise LogicError("cuMemAllocManaged failed: invalid argument")
    made = ManagedAllocation("managed", _nbytes(shape, dtype), "cuMemAllocManaged")
    made._memory.attached = made._memory.asked = {1: "global", 2: "host"}[int(mem_flags)]
    return _array(made, shape, dtype, order)


def memcpy_htod_async(dest: object, src: object, stream: Stream | None = None) -> None:
    address, nbytes = _contiguous(src)
    with routine("cuMemcpyHtoDAsync"):
        current().copy("HtoD", int(dest), address, nbytes, _handle(stream))


def memcpy_dtoh_async(dest: object, src: object, stream: Stream | None = None) -> None:
    address, nbytes = _contiguous(dest)
    with routine("cuMemcpyDtoHAsync"):
        current().copy("DtoH", int(src), address, nbytes, _handle(stream))


def _handle(stream: Stream | None) -> int:
    if stream is None:
        raise GpuFault("work on the default stream, which waits for every other")
    return stream.handle


def _nbytes(shape: object, dtype: object) -> int:
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def _contiguous(array: object) -> tuple[int, int]:
    view = np.asarray(memoryview(array))
    assert view.flags.c_contiguous
    return view.ctypes.data, view.nbytes


def _array(made: _Allocation, shape: object, dtype: object, order: str) -> np.ndarray:
    """An array whose `base` is the allocation, as pycuda makes it."""
    assert order == "C"
    made.__array_interface__ = {
        "data": (made._memory.host_address, False),
        "shape": (shape,) if isinstance(shape, int) else tuple(shape),
        "typestr": np.dtype(dtype).str,
        "version": 3,
    }
    return np.asarray(made)


PUBLIC = [
    "Context", "Device", "DeviceAllocation", "Error", "Event", "LaunchError", "LogicError",
    "ManagedAllocation", "MemoryError", "PagelockedHostAllocation", "RuntimeError", "Stream",
    "device_attribute", "event_flags", "get_driver_version", "host_alloc_flags", "init",
    "managed_empty", "mem_alloc", "mem_attach_flags", "mem_get_info", "memcpy_dtoh_async",
    "memcpy_htod_async", "pagelocked_empty",
]  # fmt: skip
"""What the fake has; each of them is in the real module."""


def modules() -> dict[str, ModuleType]:
    package, driver = ModuleType("pycuda"), ModuleType("pycuda.driver")
    package.VERSION_TEXT, package.driver = VERSION_TEXT, driver
    known = {**vars(pycuda_types), **globals()}
    vars(driver).update({name: known[name] for name in PUBLIC})
    return {"pycuda": package, "pycuda.driver": driver}
