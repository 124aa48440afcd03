"""OpenCV's own threads, which only get into the way of workers that each have a whole frame."""

import contextlib
from collections.abc import Iterator

import cv2


@contextlib.contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Inside the block OpenCV computes in the calling thread alone, everywhere in the process.

    Its threads are woken for pieces of a tenth of a millisecond, which costs more than it gains.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
