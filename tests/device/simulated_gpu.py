"""A GPU that is strict and does its work late, behind the fake packages and the fake TensorRT.

Host memory is real memory at real addresses. What the GPU reaches it by is that address plus
`OFFSET`, so that a mixed-up pointer is a fault. Managed memory has one address and two contents:
what the CPU writes before an attachment travels with the attachment, what it writes later is lost.
"""

import numpy as np

from tests.device.cuda_results import CudaFault, GpuFault
from tests.device.gpu_parts import FREED, Memory, page_aligned
from tests.device.gpu_streams import Streams

MIB = 1 << 20

_installed: "list[SimulatedGpu]" = []


def current() -> "SimulatedGpu":
    """The GPU that is installed now."""
    assert _installed, "no simulated GPU is installed; use tests.device.fakes.fake_gpu"
    return _installed[-1]


def install(gpu: "SimulatedGpu") -> None:
    _installed.append(gpu)


def uninstall() -> None:
    _installed.pop()


class SimulatedGpu(Streams):
    """One GPU with its driver; calls raise CudaFault where CUDA would refuse.

    `copies` fills when copies are done, not when they are asked for.
    """

    def __init__(
        self,
        name: str = "Orin",
        compute_capability: tuple[int, int] = (8, 7),
        multiprocessors: int = 16,
        integrated: bool = True,
        can_map_host: bool = True,
        concurrent_managed: bool = False,
        pageable_access: bool = False,
        memory_mib: int = 15_389,
        driver: tuple[int, int] = (12, 6),
        devices: int = 1,
        init_result: int = 0,
        capture_result: int = 0,
    ) -> None:
        super().__init__(capture_result)
        self.name, self.compute_capability, self.driver = name, compute_capability, driver
        self.multiprocessors, self.integrated = multiprocessors, integrated
        self.can_map_host, self.concurrent_managed = can_map_host, concurrent_managed
        self.pageable_access, self.memory_mib, self.devices = pageable_access, memory_mib, devices
        self.init_result = init_result
        """What cuInit answers; 0 is success."""
        self.copies: list[tuple[str, int]] = []
        """("HtoD" or "DtoH", bytes), in the order in which they happened."""
        self._memory: list[Memory] = []
        self._graveyard: list[Memory] = []

    def initialise(self) -> None:
        if self.init_result or not self.devices:
            raise CudaFault(self.init_result or 100)
        self.initialised = True

    def require_device(self, ordinal: int) -> None:
        self.require_initialised()
        if not 0 <= ordinal < self.devices:
            raise CudaFault(101)

    def attribute(self, number: int) -> int:
        """The value of a CUdevice_attribute."""
        major, minor = self.compute_capability
        values = {
            16: self.multiprocessors, 18: self.integrated, 19: self.can_map_host, 41: 1,
            75: major, 76: minor, 83: 1, 88: self.pageable_access, 89: self.concurrent_managed,
        }  # fmt: skip
        return int(values[number])

    def leaks(self) -> list[str]:
        """What was made and not given back, one line each."""
        return [
            *(f"{memory.kind} memory of {memory.cpu.size} bytes" for memory in self._memory),
            *super().leaks(),
        ]

    # Memory.

    def allocate(self, kind: str, nbytes: int) -> Memory:
        """`nbytes` that hold no zeros, on a page of their own; managed memory is the host's."""
        self._unsafe_in_capture()
        if nbytes <= 0:
            raise CudaFault(1)
        if kind == "mapped" and not self.can_map_host:
            raise CudaFault(801)
        if nbytes > self.free_bytes():
            raise CudaFault(2)
        cpu = page_aligned(nbytes)
        split = kind == "managed" and not self.concurrent_managed
        memory = Memory(kind, cpu, page_aligned(nbytes) if split else cpu)
        self._memory.append(memory)
        return memory

    def free(self, memory: Memory) -> None:
        self._unsafe_in_capture()
        if memory not in self._memory:
            raise GpuFault(f"{memory.kind} memory of {memory.cpu.size} bytes is freed twice")
        self._memory.remove(memory)
        self._graveyard.append(memory)
        memory.cpu[:] = memory.gpu[:] = FREED

    def free_bytes(self) -> int:
        kinds = {"pinned", "mapped", "managed", "device"} if self.integrated else {"device"}
        return self.memory_mib * MIB - sum(m.cpu.size for m in self._memory if m.kind in kinds)

    def at_host(self, address: int, nbytes: int = 1) -> Memory:
        """The live allocation in which the CPU's `address` and `nbytes` from there lie."""
        for memory in self._memory:
            first = memory.host_address
            if memory.kind != "device" and first <= address < first + memory.cpu.size:
                if address + nbytes > first + memory.cpu.size:
                    raise GpuFault(f"{nbytes} bytes at {address:#x} run over the end")
                return memory
        raise GpuFault(f"{address:#x} is not host memory that CUDA allocated, or was freed")

    def at(self, address: int, nbytes: int = 1) -> Memory:
        """The live allocation in which the GPU's `address` and `nbytes` from there lie."""
        for memory in self._memory:
            first = memory.address
            if memory.kind != "pinned" and first <= address < first + memory.cpu.size:
                if address + nbytes > first + memory.cpu.size:
                    raise GpuFault(f"{nbytes} bytes at {address:#x} run over the end")
                return memory
        raise GpuFault(f"{address:#x} is no address of the GPU: host-only, freed, or made up")

    def view(self, address: int, nbytes: int) -> np.ndarray:
        """uint8 (nbytes,) as the work that is running now sees it."""
        memory = self.at(address, nbytes)
        shared = self.concurrent_managed or memory.kind != "managed"
        if not shared and (self._running is None or memory.attached != self._running):
            raise GpuFault(
                f"managed memory attached to {memory.attached!r}, used by stream {self._running!r}"
            )
        start = address - memory.address
        return memory.gpu[start : start + nbytes]

    def attach(self, memory: Memory, stream: int, owner: object) -> None:
        """Put into `stream`: from there on `owner` ("host", "global" or the stream) has it."""
        self.require_context()
        if memory.kind != "managed" or memory not in self._memory:
            raise CudaFault(1)
        queue = self._queue(stream)
        if queue.capture:
            self._refuse_in(queue.capture)
        gives = memory.asked == "host" and owner != "host"
        sent = memory.cpu.copy() if gives else None
        memory.asked = owner

        def arrive() -> None:
            if self.concurrent_managed:
                return
            if sent is not None:
                memory.gpu[:] = sent
            elif owner == "host" and memory.attached != "host":
                memory.cpu[:] = memory.gpu
            memory.attached = owner

        self.enqueue(stream, arrive)

    def copy(self, direction: str, address: int, host: int, nbytes: int, stream: int) -> None:
        """Put into `stream` a copy between the GPU's `address` and pinned memory at `host`."""
        self.require_context()
        if (
            self.at_host(host, nbytes).kind == "managed"
            or self.at(address, nbytes).kind != "device"
        ):
            raise GpuFault("copies go between pinned memory and device memory")

        def move() -> None:
            pinned = self.at_host(host, nbytes)
            start = host - pinned.host_address
            near, far = pinned.cpu[start : start + nbytes], self.view(address, nbytes)
            if direction == "HtoD":
                far[:] = near
            else:
                near[:] = far
            self.copies.append((direction, nbytes))

        self.enqueue(stream, move)
