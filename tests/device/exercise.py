"""Goes through everything that edgeseg does with a GPU, by a package; prints what drove it.

`python -m tests.device.exercise pycuda` (or cuda-bindings), in the root of the repository. It runs
on a GPU as well as on the host driver of stub_libcuda.c, which also counts what is not given back.
"""

import ctypes
import sys
import threading

import numpy as np

from edgeseg.device.choice import open_device
from edgeseg.device.memory import Block, Device, Kind, Stream
from edgeseg.errors import DeviceError

SIZE = 100_000


def main(package: str) -> None:
    device = open_device(package=package)
    with device.active():
        stream = device.stream()
        memory = {kind: device.allocate(kind, SIZE) for kind in Kind}
        copies(device, memory, stream)
        capture(device, memory, stream)
        spoiled_capture(device, memory, stream)
        managed(memory[Kind.MANAGED], stream)
        times(device, memory, stream)
        too_much(device)
        threads(device)
        for block in memory.values():
            block.free()
            block.free()
        stream.close()
        device.close()
    device.close()
    close_elsewhere(package)
    live = getattr(ctypes.CDLL("libcuda.so.1"), "edgeseg_stub_live", lambda: 0)()
    assert live == 0, f"{live} things were not given back"
    sys.stdout.write(f"{device.package}: {device.facts}\n")


def copies(device: Device, memory: dict[Kind, Block], stream: Stream) -> None:
    pinned, mapped, far = memory[Kind.PINNED], memory[Kind.MAPPED], memory[Kind.DEVICE]
    assert pinned.pointer == 0
    assert mapped.pointer
    assert not pinned.host.any()
    assert not mapped.host.any()
    pinned.host[:] = np.arange(SIZE) % 251
    device.copy(far, pinned, stream)
    device.copy(mapped, far, stream)
    stream.synchronize()
    assert np.array_equal(mapped.host, pinned.host)
    assert pinned.host.ctypes.data % 64 == 0


def capture(device: Device, memory: dict[Kind, Block], stream: Stream) -> None:
    source, target, far = memory[Kind.PINNED], memory[Kind.MAPPED], memory[Kind.DEVICE]
    target.host[:] = 0
    device.begin_capture(stream)
    device.copy(far, source, stream)
    device.copy(target, far, stream)
    graph = device.end_capture(stream)
    stream.synchronize()
    assert not target.host.any(), "a capture ran"
    for value in (3, 4):
        source.host[:] = value
        graph.launch(stream)
        stream.synchronize()
        assert (target.host == value).all()
    graph.close()
    graph.close()


def spoiled_capture(device: Device, memory: dict[Kind, Block], stream: Stream) -> None:
    device.begin_capture(stream)
    refused(lambda: device.allocate(Kind.DEVICE, SIZE), "capturing")
    refused(lambda: device.end_capture(stream), "capture")
    memory[Kind.PINNED].host[:] = 9
    device.copy(memory[Kind.DEVICE], memory[Kind.PINNED], stream)
    device.copy(memory[Kind.MAPPED], memory[Kind.DEVICE], stream)
    stream.synchronize()
    assert (memory[Kind.MAPPED].host == 9).all(), "the stream is of no use after a failed capture"


def managed(block: Block, stream: Stream) -> None:
    assert block.pointer == block.host.ctypes.data
    block.host[:] = 5
    block.attach(stream)
    block.attach(stream)
    block.attach(None)
    assert (block.host == 5).all()
    block.attach(stream)
    block.detach()
    block.detach()
    stream.synchronize()
    assert (block.host == 5).all()


def times(device: Device, memory: dict[Kind, Block], stream: Stream) -> None:
    first, last = device.event(blocking=True), device.event(blocking=False)
    first.record(stream)
    device.copy(memory[Kind.DEVICE], memory[Kind.PINNED], stream)
    last.record(stream)
    last.synchronize()
    first.synchronize()
    assert last.ms_since(first) > 0
    for event in (first, last, last):
        event.close()


def too_much(device: Device) -> None:
    refused(lambda: device.allocate(Kind.DEVICE, 1 << 50), "MiB are free")
    assert device.free_memory_mib() > 0


def threads(device: Device) -> None:
    """A thread has no context of its own; with one, what it makes it gives back itself."""
    done: list[bool] = []

    def work() -> None:
        refused(lambda: device.allocate(Kind.DEVICE, SIZE), "context")
        with device.active(), device.active():
            stream, block = device.stream(), device.allocate(Kind.MAPPED, SIZE)
            stream.synchronize()
            block.free()
            stream.close()
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def close_elsewhere(package: str) -> None:
    """A device may be closed in another thread than it was opened and used in."""
    device = open_device(package=package)
    with device.active():
        device.event(blocking=True).close()
    thread = threading.Thread(target=device.close)
    thread.start()
    thread.join()


def refused(call: object, part: str) -> None:
    try:
        call()
    except DeviceError as error:
        assert part in str(error), error  # noqa: PT017 it runs without pytest
    else:
        raise AssertionError(f"nothing was refused with {part!r}")


if __name__ == "__main__":
    main(sys.argv[1])
