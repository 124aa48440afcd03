"""The GPU by pycuda, which is built on the machine and so fits every CUDA."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import numpy as np
import pycuda
import pycuda.driver as cuda

from edgeseg.device.active import ActiveBlocks
from edgeseg.device.capture import CapturedGraph, recorder, same_context
from edgeseg.device.memory import Block, Event, GpuFacts, Graph, Kind, Stream
from edgeseg.device.refusals import closed, no_such_gpu, out_of_memory, refused
from edgeseg.errors import DeviceError
from edgeseg.types import Array

NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING, for which pycuda has no name."""


class _Errors:
    """Turns what pycuda raises inside the block into a DeviceError with CUDA's text.

    One object for all blocks, since a frame goes through a dozen of them.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, cuda.Error):
            raise refused(str(error)) from error


ERRORS = _Errors()


class PycudaDevice:
    """A Device by pycuda.

    Its streams and events go with their last reference. Outside a block of `active` pycuda frees
    them in the thread that opened the device, and warns and leaks them in any other.
    """

    def __init__(self, index: int) -> None:
        self.package = f"pycuda {getattr(pycuda, 'VERSION_TEXT', '')}"
        with ERRORS:
            cuda.init()
            count = cuda.Device.count()
            if not 0 <= index < count:
                raise no_such_gpu(index, count)
            device = cuda.Device(index)
            self.facts = _facts(device)
            self._context: Any = device.retain_primary_context()
        self._active = ActiveBlocks(self._push, cuda.Context.pop, self.close)

    def active(self) -> AbstractContextManager[None]:
        """A block in which the primary context is the current one of this thread."""
        return self._active

    def allocate(self, kind: Kind, nbytes: int) -> Block:
        """`nbytes` of memory, zeroed where the CPU reaches it."""
        try:
            memory = self._memory(kind, nbytes)
        except cuda.MemoryError as error:
            raise out_of_memory(kind, nbytes, self.free_memory_mib(), self.facts) from error
        except cuda.Error as error:
            raise refused(str(error)) from error
        if kind is not Kind.DEVICE:
            memory[:] = 0
        return PycudaBlock(kind, nbytes, memory, moves=not self.facts.concurrent_managed)

    def stream(self) -> Stream:
        """A stream that does not wait for the default one."""
        return PycudaStream()

    def event(self, *, blocking: bool) -> Event:
        """An event that takes times."""
        return PycudaEvent(blocking)

    def copy(self, target: Block, source: Block, stream: Stream) -> None:
        """Put a copy of all of `source` into `stream`: pinned to device, or device to pinned."""
        assert isinstance(target, PycudaBlock)
        assert isinstance(source, PycudaBlock)
        assert isinstance(stream, PycudaStream)
        if target.nbytes < source.nbytes:
            raise ValueError(f"{source.nbytes} bytes do not go into {target.nbytes}")
        with ERRORS:
            if source.kind is Kind.DEVICE:
                host = target.host[: source.nbytes]
                cuda.memcpy_dtoh_async(host, source.memory, stream.stream)
            else:
                cuda.memcpy_htod_async(target.memory, source.host, stream.stream)

    def begin_capture(self, stream: Stream) -> None:
        """Record what this thread puts into `stream` from now on, and run nothing of it."""
        recorder().begin(stream.handle)

    def end_capture(self, stream: Stream) -> Graph:
        """What was recorded."""
        by = recorder()
        return CapturedGraph(by, by.end(stream.handle))

    def free_memory_mib(self) -> int:
        """What the driver says is free; on a Tegra less than could be had."""
        with ERRORS:
            return int(cuda.mem_get_info()[0]) >> 20

    def close(self) -> None:
        """Release the primary context, at the end of the outermost block of this thread."""
        if self._context is None or self._active.will_close():
            return
        context, self._context = self._context, None
        with ERRORS, same_context():
            # pycuda releases it in the thread where it is current, and takes it off its own
            # stack of contexts, but not off the driver's.
            context.push()
            context.detach()

    def _push(self) -> None:
        if self._context is None:
            raise closed()
        with ERRORS:
            self._context.push()

    def _memory(self, kind: Kind, nbytes: int) -> Any:
        """A DeviceAllocation, or a uint8 array whose base is the allocation."""
        if kind is Kind.DEVICE:
            return cuda.mem_alloc(nbytes)
        if kind is Kind.MANAGED:
            attached = cuda.mem_attach_flags
            flag = attached.GLOBAL if self.facts.concurrent_managed else attached.HOST
            return cuda.managed_empty(nbytes, np.uint8, mem_flags=flag)
        flag = cuda.host_alloc_flags.DEVICEMAP if kind is Kind.MAPPED else 0
        return cuda.pagelocked_empty(nbytes, np.uint8, mem_flags=flag)


class PycudaBlock:
    """A Block; `memory` is pycuda's allocation (device), or the array over it (the rest)."""

    def __init__(self, kind: Kind, nbytes: int, memory: Any, *, moves: bool) -> None:
        self.kind, self.nbytes, self.memory = kind, nbytes, memory
        self._allocation = memory if kind is Kind.DEVICE else memory.base
        self._moves = moves and kind is Kind.MANAGED
        self._owner: PycudaStream | None = None
        self.pointer = self._address()

    @property
    def host(self) -> Array:
        """uint8 (nbytes,), the memory itself."""
        if self.memory is None or self.kind is Kind.DEVICE:
            state = "was freed" if self.memory is None else "is out of the CPU's reach"
            raise DeviceError(f"this {self.kind.value} memory {state}")
        array: Array = self.memory
        return array

    def attach(self, stream: Stream | None) -> None:
        """Hand managed memory to the work of `stream`; None detaches it and waits."""
        if stream is None:
            owner = self._owner
            self.detach()
            if owner is not None:
                owner.synchronize()
        elif self._moves and stream is not self._owner:
            assert isinstance(stream, PycudaStream)
            with ERRORS:
                self._allocation.attach(cuda.mem_attach_flags.SINGLE, stream.stream)
            self._owner = stream

    def detach(self) -> None:
        """Hand managed memory back to the CPU, behind what is in the stream that has it."""
        owner, self._owner = self._owner, None
        if owner is not None:
            with ERRORS:
                self._allocation.attach(cuda.mem_attach_flags.HOST, owner.stream)

    def free(self) -> None:
        """Give it back; freeing twice is fine."""
        allocation, self._allocation, self.memory = self._allocation, None, None
        if allocation is not None:
            with ERRORS:
                allocation.free()

    def _address(self) -> int:
        with ERRORS:
            if self.kind is Kind.PINNED:
                return 0
            if self.kind is Kind.DEVICE:
                return int(self._allocation)
            return int(self._allocation.get_device_pointer())


class PycudaStream:
    """A Stream."""

    def __init__(self) -> None:
        with ERRORS:
            self.stream: Any = cuda.Stream(NON_BLOCKING)
        self.handle = int(self.stream.handle)

    def synchronize(self) -> None:
        """Wait until all of its work is done."""
        with ERRORS:
            self.stream.synchronize()

    def close(self) -> None:
        """Free it: pycuda does with the last reference."""
        self.stream = None


class PycudaEvent:
    """An Event."""

    def __init__(self, blocking: bool) -> None:
        flags = cuda.event_flags
        with ERRORS:
            self._event: Any = cuda.Event(flags.BLOCKING_SYNC if blocking else flags.DEFAULT)

    def record(self, stream: Stream) -> None:
        """Put the mark behind what `stream` holds now."""
        assert isinstance(stream, PycudaStream)
        with ERRORS:
            self._event.record(stream.stream)

    def synchronize(self) -> None:
        """Wait until the stream passed the mark."""
        with ERRORS:
            self._event.synchronize()

    def ms_since(self, earlier: Event) -> float:
        """Milliseconds on the GPU between two marks that were passed."""
        assert isinstance(earlier, PycudaEvent)
        with ERRORS:
            return float(self._event.time_since(earlier._event))

    def close(self) -> None:
        """Free it: pycuda does with the last reference."""
        self._event = None


def _facts(device: Any) -> GpuFacts:
    def attribute(name: str) -> int:
        # Older releases of pycuda lack names; what is not known to be there is not relied on.
        known = getattr(cuda.device_attribute, name, None)
        return 0 if known is None else int(device.get_attribute(known))

    major, minor = device.compute_capability()
    driver = int(cuda.get_driver_version())
    return GpuFacts(
        name=str(device.name()),
        compute_capability=(int(major), int(minor)),
        multiprocessors=attribute("MULTIPROCESSOR_COUNT"),
        integrated=bool(attribute("INTEGRATED")),
        can_map_host=bool(attribute("CAN_MAP_HOST_MEMORY")),
        concurrent_managed=bool(attribute("CONCURRENT_MANAGED_ACCESS")),
        pageable_access=bool(attribute("PAGEABLE_MEMORY_ACCESS")),
        total_memory_mib=int(device.total_memory()) >> 20,
        driver=(driver // 1000, driver % 1000 // 10),
    )
