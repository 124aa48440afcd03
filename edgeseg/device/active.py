"""The blocks of code in which a GPU's context is the current one of a thread."""

import threading
from collections.abc import Callable
from types import TracebackType


class ActiveBlocks(threading.local):
    """A context manager that may be entered again inside itself, each thread for itself.

    One object for all blocks: two of them belong to each frame.
    """

    _depth = 0
    _closing = False

    def __init__(
        self,
        push: Callable[[], object],
        pop: Callable[[], object],
        close: Callable[[], None],
    ) -> None:
        self._push, self._pop, self._close = push, pop, close

    def __enter__(self) -> None:
        self._push()
        self._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._depth -= 1
        self._pop()
        if self._closing and self._depth == 0:
            self._closing = False
            self._close()

    def will_close(self) -> bool:
        """Whether this thread is in a block, behind the outermost of which `close` is called."""
        self._closing = self._depth > 0
        return self._closing
