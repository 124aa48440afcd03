# ruff: noqa: ARG001, F401, N802 - the names are CUDA's
"""`cuda.bindings.driver` in the part that edgeseg may use, over the simulated GPU.

Every function answers a tuple that starts with a CUresult; nothing raises but a wrong type.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import wraps
from types import ModuleType

import numpy as np

from tests.device.cuda_results import RESULTS, CudaFault, GpuFault
from tests.device.cuda_types import (
    CU_MEMHOSTALLOC_DEVICEMAP,
    CU_MEMHOSTALLOC_PORTABLE,
    CUcontext,
    CUdevice,
    CUdevice_attribute,
    CUdeviceptr,
    CUevent,
    CUevent_flags,
    CUgraph,
    CUgraphExec,
    CUmemAttach_flags,
    CUresult,
    CUstream,
    CUstream_flags,
    CUstreamCaptureMode,
)
from tests.device.gpu_parts import Graph, GraphExec, Mark, Queue
from tests.device.simulated_gpu import current

VERSION = "12.9.4"


def _answers(empty: int = 0) -> Callable[[Callable[..., object]], Callable[..., tuple]]:
    """Turn results into tuples, and faults into their codes followed by `empty` times None."""

    def wrapped(function: Callable[..., object]) -> Callable[..., tuple]:
        @wraps(function)
        def answer(*args: object) -> tuple:
            try:
                result = function(*args)
            except CudaFault as fault:
                return (CUresult(fault.code), *([None] * empty))
            if empty == 0:
                return (CUresult(0),)
            return (CUresult(0), *(result if isinstance(result, tuple) else (result,)))

        return answer

    return wrapped


def _stream(stream: object) -> int:
    if stream is None or not int(stream):
        raise GpuFault("work on the default stream, which waits for every other")
    return int(stream)


@_answers()
def cuInit(flags: int) -> None:
    assert flags == 0
    current().initialise()


@_answers(1)
def cuDriverGetVersion() -> int:
    major, minor = current().driver
    return major * 1000 + minor * 10


@_answers(1)
def cuDeviceGetCount() -> int:
    current().require_initialised()
    return current().devices


@_answers(1)
def cuDeviceGet(ordinal: int) -> CUdevice:
    current().require_device(ordinal)
    return CUdevice(ordinal)


@_answers(1)
def cuDeviceGetName(length: int, dev: CUdevice) -> bytes:
    return current().name.encode().ljust(length, b"\0")


@_answers(1)
def cuDeviceGetAttribute(attrib: CUdevice_attribute, dev: CUdevice) -> int:
    assert isinstance(attrib, CUdevice_attribute)
    return current().attribute(attrib.value)


@_answers(1)
def cuDeviceTotalMem(dev: CUdevice) -> int:
    return current().memory_mib << 20


@_answers(1)
def cuDevicePrimaryCtxRetain(dev: CUdevice) -> CUcontext:
    current().retain()
    return CUcontext(0xC0)


@_answers()
def cuDevicePrimaryCtxRelease(dev: CUdevice) -> None:
    current().release()


@_answers()
def cuCtxPushCurrent(ctx: CUcontext) -> None:
    assert int(ctx) == 0xC0
    current().push()


@_answers(1)
def cuCtxPopCurrent() -> CUcontext:
    current().pop()
    return CUcontext(0xC0)


@_answers(2)
def cuMemGetInfo() -> tuple[int, int]:
    current().require_context()
    return current().free_bytes(), current().memory_mib << 20


@_answers(1)
def cuMemHostAlloc(bytesize: int, flags: int) -> int:
    kind = "mapped" if flags & CU_MEMHOSTALLOC_DEVICEMAP else "pinned"
    return current().allocate(kind, bytesize).host_address


@_answers(1)
def cuMemHostGetDevicePointer(p: int, flags: int) -> CUdeviceptr:
    current().require_context()
    memory = current().at_host(p)
    if memory.kind != "mapped" or flags:
        raise CudaFault(1)
    return CUdeviceptr(memory.address)


@_answers()
def cuMemFreeHost(p: int) -> None:
    memory = current().at_host(p)
    assert memory.kind in {"pinned", "mapped"}
    current().free(memory)


@_answers(1)
def cuMemAllocManaged(bytesize: int, flags: int) -> CUdeviceptr:
    if flags not in {1, 2}:
        raise CudaFault(1)
    memory = current().allocate("managed", bytesize)
    memory.attached = memory.asked = {1: "global", 2: "host"}[flags]
    return CUdeviceptr(memory.address)


@_answers(1)
def cuMemAlloc(bytesize: int) -> CUdeviceptr:
    return CUdeviceptr(current().allocate("device", bytesize).address)


@_answers()
def cuMemFree(dptr: CUdeviceptr) -> None:
    memory = current().at(int(dptr))
    assert memory.kind in {"managed", "device"}
    current().free(memory)


@_answers()
def cuMemcpyHtoDAsync(dst: CUdeviceptr, src: object, nbytes: int, stream: CUstream) -> None:
    current().copy("HtoD", int(dst), _host(src), nbytes, _stream(stream))


@_answers()
def cuMemcpyDtoHAsync(dst: object, src: CUdeviceptr, nbytes: int, stream: CUstream) -> None:
    current().copy("DtoH", int(src), _host(dst), nbytes, _stream(stream))


@_answers()
def cuStreamAttachMemAsync(stream: CUstream, dptr: CUdeviceptr, length: int, flags: int) -> None:
    assert length == 0
    owner = {1: "global", 2: "host", 4: _stream(stream)}[flags]
    current().attach(current().at(int(dptr)), _stream(stream), owner)


@_answers(1)
def cuStreamCreate(flags: int) -> CUstream:
    return CUstream(current().create(Queue(blocking=flags == 0)))


@_answers()
def cuStreamSynchronize(stream: CUstream) -> None:
    current().synchronize(_stream(stream))


@_answers()
def cuStreamDestroy(stream: CUstream) -> None:
    current().destroy(_stream(stream))


@_answers()
def cuStreamBeginCapture(stream: CUstream, mode: CUstreamCaptureMode) -> None:
    assert isinstance(mode, CUstreamCaptureMode)
    current().begin_capture(_stream(stream), mode.value)


@_answers(1)
def cuStreamEndCapture(stream: CUstream) -> CUgraph:
    return CUgraph(current().end_capture(_stream(stream)))


@_answers(1)
def cuGraphInstantiate(graph: CUgraph, flags: int) -> CUgraphExec:
    assert flags == 0
    return CUgraphExec(current().instantiate(int(graph)))


@_answers()
def cuGraphLaunch(executable: CUgraphExec, stream: CUstream) -> None:
    current().launch(int(executable), _stream(stream))


@_answers()
def cuGraphExecDestroy(executable: CUgraphExec) -> None:
    assert isinstance(current().thing(int(executable)), GraphExec)
    current().destroy(int(executable))


@_answers()
def cuGraphDestroy(graph: CUgraph) -> None:
    assert isinstance(current().thing(int(graph)), Graph)
    current().destroy(int(graph))


@_answers(1)
def cuEventCreate(flags: int) -> CUevent:
    return CUevent(current().create(Mark(flags)))


@_answers()
def cuEventRecord(event: CUevent, stream: CUstream) -> None:
    current().record(int(event), _stream(stream))


@_answers()
def cuEventSynchronize(event: CUevent) -> None:
    current().wait_event(int(event))


@_answers(1)
def cuEventElapsedTime(start: CUevent, end: CUevent) -> float:
    return current().elapsed_ms(int(start), int(end))


@_answers()
def cuEventDestroy(event: CUevent) -> None:
    current().destroy(int(event))


@_answers(1)
def cuGetErrorName(error: IntEnum) -> bytes:
    return RESULTS[int(error)][0].encode()


@_answers(1)
def cuGetErrorString(error: IntEnum) -> bytes:
    return RESULTS[int(error)][1].encode()


def _host(memory: object) -> int:
    """An address, or the start of what has the buffer protocol."""
    return memory if isinstance(memory, int) else np.asarray(memoryview(memory)).ctypes.data


PUBLIC = sorted(name for name in globals() if name.startswith(("cu", "CU")) and name != "current")
"""What the fake has; each of them is in the real module."""


def modules() -> dict[str, ModuleType]:
    package, bindings = ModuleType("cuda"), ModuleType("cuda.bindings")
    driver = ModuleType("cuda.bindings.driver")
    package.bindings, bindings.driver, bindings.__version__ = bindings, driver, VERSION
    vars(driver).update({name: globals()[name] for name in PUBLIC})
    return {"cuda": package, "cuda.bindings": bindings, "cuda.bindings.driver": driver}
