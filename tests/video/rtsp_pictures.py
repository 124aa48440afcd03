"""Pictures for the tests of streams that go out."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from edgeseg.types import Labels, Size
from edgeseg.video import FrameView, Sink, SinkOptions

SIZE = Size(97, 128)
"""Its last row is one too many for 4:2:0."""
COLOUR = (200, 30, 60)
WANTED = SinkOptions(
    size=SIZE, fps=None, labels=Labels(names=("Road",), colors=((1, 2, 3),)), live=True
)
LABELS = np.zeros(SIZE, np.uint8)
PATIENCE_S = 20.0
"""The longest that anything may take on a machine that does much else."""


@contextlib.contextmanager
def shown(sink: Sink) -> Iterator[list[float]]:
    """Inside the block `sink` is given a picture again and again; how long each `write` took."""
    picture = np.full((*SIZE, 3), COLOUR, np.uint8)
    over, took_s = threading.Event(), []

    def run() -> None:
        while not over.wait(0.02):
            start_s = time.monotonic()
            sink.write(FrameView(index=len(took_s), picture=picture, labels=picture[..., 0]))
            took_s.append(time.monotonic() - start_s)

    loop = threading.Thread(target=run, daemon=True)
    loop.start()
    try:
        yield took_s
    finally:
        over.set()
        loop.join(5)


def until(condition: Callable[[], bool]) -> bool:
    """Whether `condition` came true in time."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.02)
    return condition()
