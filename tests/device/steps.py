"""What the tests of the device do again and again."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from edgeseg.device.memory import Block, Device, Kind, Stream
from edgeseg.errors import DeviceError
from tests.device.fakes import Opened

SIZE = 1000


@contextlib.contextmanager
def given_back(*things: object) -> Iterator[None]:
    """Free or close `things` behind the block."""
    try:
        yield
    finally:
        for thing in things:
            thing.free() if hasattr(thing, "free") else thing.close()


def blocks(device: Device, *kinds: Kind) -> list[Block]:
    return [device.allocate(kind, SIZE) for kind in kinds]


def add_one(opened: Opened, block: Block, stream: Stream) -> None:
    """A kernel: one more in each byte of `block`."""

    def kernel() -> None:
        opened.gpu.view(block.pointer, SIZE)[:] += 1

    opened.gpu.enqueue(stream.handle, kernel)


def in_thread(call: Callable[[], object]) -> object:
    """What `call` returns or raises in a thread of its own."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(call())
        except DeviceError as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]
