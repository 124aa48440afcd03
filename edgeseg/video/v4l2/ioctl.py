"""The thin layer between this package and the kernel; tests put one of their own in its place."""

import ctypes
import fcntl
import mmap
import os
import select
from pathlib import Path
from typing import Protocol

import numpy as np

from edgeseg.types import Pixels


class Node(Protocol):
    """An open /dev/videoN. What the kernel refuses is an OSError with its errno."""

    path: Path

    def ioctl(self, request: int, argument: ctypes.Structure) -> None:
        """Ask the driver; its answer is written into `argument`."""

    def map(self, length: int, offset: int) -> Pixels:
        """The driver's memory, flat; it is unmapped when the last view of it is gone."""

    def wait(self, timeout_s: float) -> bool:
        """Whether something happened within the time: a buffer is filled, or the camera is lost."""

    def close(self) -> None:
        """Close it; closing twice is fine."""


class KernelNode:
    """A Node of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN | select.POLLERR)

    def ioctl(self, request: int, argument: ctypes.Structure) -> None:
        """Ask the driver; a signal does not end the question."""
        while True:
            try:
                fcntl.ioctl(self._descriptor, request, argument, True)
            except InterruptedError:
                continue
            return

    def map(self, length: int, offset: int) -> Pixels:
        """Shared memory; the mapping holds a descriptor of its own until its last view is gone."""
        memory = mmap.mmap(
            self._descriptor,
            length,
            flags=mmap.MAP_SHARED,
            prot=mmap.PROT_READ | mmap.PROT_WRITE,
            offset=offset,
        )
        return np.frombuffer(memory, np.uint8)

    def wait(self, timeout_s: float) -> bool:
        """Whether the driver has a buffer, or an error to tell."""
        return bool(self._poll.poll(timeout_s * 1e3))

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def open_node(path: Path) -> Node:
    """The node at `path`, opened without waiting.

    Raises:
        OSError: with the kernel's errno.
    """
    return KernelNode(path)
