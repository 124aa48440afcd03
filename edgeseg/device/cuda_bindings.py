"""The GPU by NVIDIA's cuda-bindings, of CUDA 12 or 13 as the driver is."""

import ctypes
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from cuda import bindings
from cuda.bindings import driver

from edgeseg.device.active import ActiveBlocks
from edgeseg.device.capture import BindingsRecorder, CapturedGraph, called
from edgeseg.device.memory import Block, Event, GpuFacts, Graph, Kind, Stream
from edgeseg.device.refusals import closed, no_such_gpu, out_of_memory, too_old
from edgeseg.errors import DeviceError
from edgeseg.types import Array


class BindingsDevice:
    """A Device by cuda-bindings."""

    def __init__(self, index: int) -> None:
        self.package = f"cuda-bindings {bindings.__version__}"
        called(driver.cuInit, 0)
        count = int(called(driver.cuDeviceGetCount))
        if not 0 <= index < count:
            raise no_such_gpu(index, count)
        self._device = called(driver.cuDeviceGet, index)
        self.facts = _facts(self._device)
        _check_fits(self.package, bindings.__version__, self.facts.driver)
        self._context = called(driver.cuDevicePrimaryCtxRetain, self._device)
        self._active = ActiveBlocks(self._push, self._pop, self.close)

    def active(self) -> AbstractContextManager[None]:
        """A block in which the primary context is the current one of this thread."""
        return self._active

    def allocate(self, kind: Kind, nbytes: int) -> Block:
        """`nbytes` of memory, zeroed where the CPU reaches it."""
        try:
            memory = self._memory(kind, nbytes)
        except DeviceError as error:
            if "OUT_OF_MEMORY" not in error.problem:
                raise
            raise out_of_memory(kind, nbytes, self.free_memory_mib(), self.facts) from error
        block = BindingsBlock(kind, nbytes, memory, moves=not self.facts.concurrent_managed)
        if kind is not Kind.DEVICE:
            block.host[:] = 0
        return block

    def stream(self) -> Stream:
        """A stream that does not wait for the default one."""
        return BindingsStream()

    def event(self, *, blocking: bool) -> Event:
        """An event that takes times."""
        return BindingsEvent(blocking)

    def copy(self, target: Block, source: Block, stream: Stream) -> None:
        """Put a copy of all of `source` into `stream`: pinned to device, or device to pinned."""
        assert isinstance(target, BindingsBlock)
        assert isinstance(source, BindingsBlock)
        assert isinstance(stream, BindingsStream)
        if target.nbytes < source.nbytes:
            raise ValueError(f"{source.nbytes} bytes do not go into {target.nbytes}")
        down = source.kind is Kind.DEVICE
        host = (target if down else source).host.ctypes.data
        if down:
            called(driver.cuMemcpyDtoHAsync, host, source.memory, source.nbytes, stream.stream)
        else:
            called(driver.cuMemcpyHtoDAsync, target.memory, host, source.nbytes, stream.stream)

    def begin_capture(self, stream: Stream) -> None:
        """Record what this thread puts into `stream` from now on, and run nothing of it."""
        BindingsRecorder(driver).begin(stream.handle)

    def end_capture(self, stream: Stream) -> Graph:
        """What was recorded."""
        by = BindingsRecorder(driver)
        return CapturedGraph(by, by.end(stream.handle))

    def free_memory_mib(self) -> int:
        """What the driver says is free; on a Tegra less than could be had."""
        return int(called(driver.cuMemGetInfo)[0]) >> 20

    def close(self) -> None:
        """Release the primary context, at the end of the outermost block of this thread."""
        if self._context is None or self._active.will_close():
            return
        self._context = None
        called(driver.cuDevicePrimaryCtxRelease, self._device)

    def _push(self) -> None:
        if self._context is None:
            raise closed()
        called(driver.cuCtxPushCurrent, self._context)

    def _pop(self) -> None:
        called(driver.cuCtxPopCurrent)

    def _memory(self, kind: Kind, nbytes: int) -> Any:
        """A CUdeviceptr, or the address of pinned memory."""
        if kind is Kind.DEVICE:
            return called(driver.cuMemAlloc, nbytes)
        if kind is Kind.MANAGED:
            flags = driver.CUmemAttach_flags
            concurrent = self.facts.concurrent_managed
            flag = flags.CU_MEM_ATTACH_GLOBAL if concurrent else flags.CU_MEM_ATTACH_HOST
            return called(driver.cuMemAllocManaged, nbytes, flag.value)
        mapped = driver.CU_MEMHOSTALLOC_DEVICEMAP if kind is Kind.MAPPED else 0
        return called(driver.cuMemHostAlloc, nbytes, mapped)


class BindingsBlock:
    """A Block; `memory` is a CUdeviceptr (device, managed) or an address (pinned, mapped)."""

    def __init__(self, kind: Kind, nbytes: int, memory: Any, *, moves: bool) -> None:
        self.kind, self.nbytes, self.memory = kind, nbytes, memory
        self._moves = moves and kind is Kind.MANAGED
        self._owner: BindingsStream | None = None
        self._host = None if kind is Kind.DEVICE else _array(int(memory), nbytes)
        self.pointer = self._address()

    @property
    def host(self) -> Array:
        """uint8 (nbytes,), the memory itself."""
        if self._host is None:
            state = "was freed" if self.memory is None else "is out of the CPU's reach"
            raise DeviceError(f"this {self.kind.value} memory {state}")
        return self._host

    def attach(self, stream: Stream | None) -> None:
        """Hand managed memory to the work of `stream`; None detaches it and waits."""
        if stream is None:
            owner = self._owner
            self.detach()
            if owner is not None:
                owner.synchronize()
        elif self._moves and stream is not self._owner:
            assert isinstance(stream, BindingsStream)
            self._attach(stream, driver.CUmemAttach_flags.CU_MEM_ATTACH_SINGLE.value)
            self._owner = stream

    def detach(self) -> None:
        """Hand managed memory back to the CPU, behind what is in the stream that has it."""
        owner, self._owner = self._owner, None
        if owner is not None:
            self._attach(owner, driver.CUmemAttach_flags.CU_MEM_ATTACH_HOST.value)

    def free(self) -> None:
        """Give it back; freeing twice is fine."""
        memory, self.memory, self._host = self.memory, None, None
        if memory is not None:
            pinned = self.kind in {Kind.PINNED, Kind.MAPPED}
            called(driver.cuMemFreeHost if pinned else driver.cuMemFree, memory)

    def _attach(self, stream: "BindingsStream", flag: int) -> None:
        called(driver.cuStreamAttachMemAsync, stream.stream, self.memory, 0, flag)

    def _address(self) -> int:
        if self.kind is Kind.PINNED:
            return 0
        if self.kind is Kind.MAPPED:
            return int(called(driver.cuMemHostGetDevicePointer, self.memory, 0))
        return int(self.memory)


class BindingsStream:
    """A Stream."""

    def __init__(self) -> None:
        flags = driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        self.stream: Any = called(driver.cuStreamCreate, flags.value)
        self.handle = int(self.stream)

    def synchronize(self) -> None:
        """Wait until all of its work is done."""
        called(driver.cuStreamSynchronize, self.stream)

    def close(self) -> None:
        """Free it; closing twice is fine."""
        stream, self.stream = self.stream, None
        if stream is not None:
            called(driver.cuStreamDestroy, stream)


class BindingsEvent:
    """An Event."""

    def __init__(self, blocking: bool) -> None:
        flags = driver.CUevent_flags
        flag = flags.CU_EVENT_BLOCKING_SYNC if blocking else flags.CU_EVENT_DEFAULT
        self._event: Any = called(driver.cuEventCreate, flag.value)

    def record(self, stream: Stream) -> None:
        """Put the mark behind what `stream` holds now."""
        assert isinstance(stream, BindingsStream)
        called(driver.cuEventRecord, self._event, stream.stream)

    def synchronize(self) -> None:
        """Wait until the stream passed the mark."""
        called(driver.cuEventSynchronize, self._event)

    def ms_since(self, earlier: Event) -> float:
        """Milliseconds on the GPU between two marks that were passed."""
        assert isinstance(earlier, BindingsEvent)
        return float(called(driver.cuEventElapsedTime, earlier._event, self._event))

    def close(self) -> None:
        """Free it; closing twice is fine."""
        event, self._event = self._event, None
        if event is not None:
            called(driver.cuEventDestroy, event)


def _array(address: int, nbytes: int) -> Array:
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))


def _facts(device: Any) -> GpuFacts:
    def attribute(name: str) -> int:
        number = getattr(driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(called(driver.cuDeviceGetAttribute, number, device))

    version = int(called(driver.cuDriverGetVersion))
    name: bytes = called(driver.cuDeviceGetName, 256, device)
    return GpuFacts(
        name=name.partition(b"\0")[0].decode().strip(),
        compute_capability=(
            attribute("COMPUTE_CAPABILITY_MAJOR"),
            attribute("COMPUTE_CAPABILITY_MINOR"),
        ),
        multiprocessors=attribute("MULTIPROCESSOR_COUNT"),
        integrated=bool(attribute("INTEGRATED")),
        can_map_host=bool(attribute("CAN_MAP_HOST_MEMORY")),
        concurrent_managed=bool(attribute("CONCURRENT_MANAGED_ACCESS")),
        pageable_access=bool(attribute("PAGEABLE_MEMORY_ACCESS")),
        total_memory_mib=int(called(driver.cuDeviceTotalMem, device)) >> 20,
        driver=(version // 1000, version % 1000 // 10),
    )


def _check_fits(package: str, version: str, supported: tuple[int, int]) -> None:
    """Refuse bindings of a later CUDA than the driver's; those of an earlier one work."""
    major = version.partition(".")[0]
    if major.isdigit() and int(major) > supported[0]:
        raise too_old(f"it supports CUDA {supported[0]}.{supported[1]}, {package} needs {major}")
