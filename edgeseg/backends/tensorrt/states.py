"""What a plan that smooths over time remembers of one camera, in the GPU's own memory."""

from collections.abc import Callable

from edgeseg.device.memory import Block

Forget = Callable[[Block], None]
"""Puts zeros into a block, behind what is in the stream of the frames."""


class DeviceState:
    """Two blocks that the frames of one camera read from and write to in turn; the runner's own.

    All frames of a plan that smooths run in one stream, so that each finds what the one before
    left, whether or not anybody waited for that one.
    """

    def __init__(self, blocks: tuple[Block, Block], forget: Forget) -> None:
        self._blocks, self._forget = blocks, forget
        self._turn = 0

    @property
    def addresses(self) -> tuple[int, int]:
        """Where the next frame reads, and where it writes."""
        read, written = self._blocks[self._turn], self._blocks[1 - self._turn]
        return read.pointer, written.pointer

    def swap(self) -> None:
        """After a frame was put into the stream: what it writes is what the next one reads."""
        self._turn = 1 - self._turn

    def reset(self) -> None:
        """Forget everything: the next frame is labelled as one alone.

        Raises:
            DeviceError: CUDA refuses, or the engine was closed.
        """
        self._forget(self._blocks[self._turn])
