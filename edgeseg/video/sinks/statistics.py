"""One JSON object a line for every frame: what came, when, how old, how much of each class."""

import contextlib
import errno
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2

from edgeseg.errors import OutputError
from edgeseg.types import Labels, Pixels
from edgeseg.video.sinks import FrameView

SCHEMA = 1
STDOUT = "-"


class JsonLines:
    """Writes a line to `path` for each frame, at once; `-` is the standard output.

    A file is begun anew, and holds whole lines only, also where the disk becomes full.
    """

    takes_pictures = False

    def __init__(self, path: str, labels: Labels, cameras: tuple[str, ...] = ("",)) -> None:
        self._path, self._labels, self._cameras = path, labels, cameras
        self._length = 0
        self._closed = False
        self._handle = _opened(path)

    def write(self, frame: FrameView) -> None:
        """Write the line of `frame`.

        Raises:
            OutputError: a full disk, or nobody reads the standard output any more.
        """
        if self._closed:
            raise OutputError(f"{self._path} is closed already", fix="write before close()")
        line = json.dumps(self._described(frame), separators=(",", ":")).encode() + b"\n"
        try:
            left = memoryview(line)
            while left:
                left = left[os.write(self._handle, left) :]
        except OSError as error:
            if self._path != STDOUT:
                with contextlib.suppress(OSError):  # /dev/full and pipes cannot be cut
                    os.ftruncate(self._handle, self._length)
            self.close()
            raise self._given_up(error) from error
        self._length += len(line)

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        if not self._closed:
            self._closed = True
            if self._path != STDOUT:
                os.close(self._handle)

    def _given_up(self, error: OSError) -> OutputError:
        if self._path == STDOUT and error.errno == errno.EPIPE:
            return OutputError(
                "nobody reads the statistics on the standard output any more",
                fix="keep the reader running, or end the run with --seconds",
            )
        place = "the standard output" if self._path == STDOUT else self._path
        return OutputError(
            f"the statistics cannot be written to {place} any more: {error.strerror}",
            fix="choose another target, or free space there",
        )

    def _described(self, frame: FrameView) -> dict[str, Any]:
        when = frame.time
        return {
            "schema": SCHEMA,
            "index": frame.index,
            "camera": self._cameras[frame.camera],
            "captured_unix_s": round(wall_clock(when.captured_s), 6) if when else None,
            "captured_monotonic_s": round(when.captured_s, 6) if when else None,
            "pts_s": round(when.pts_s, 6) if when else None,
            "epoch": when.epoch if when else 0,
            "age_ms": round(frame.age_ms, 3),
            "stages_ms": {name: round(spent, 3) for name, spent in frame.stages_ms.items()},
            "fps": round(frame.fps, 3),
            "counts": asdict(frame.counts),
            "classes": class_shares(frame.labels, self._labels),
        }


def class_shares(ids: Pixels, labels: Labels) -> dict[str, float]:
    """The share of the pixels that each class has, by name; ids without a class have the rest."""
    counts = cv2.calcHist([ids], [0], None, [256], [0, 256]).ravel()
    shares = dict.fromkeys(labels.names, 0.0)
    for name, count in zip(labels.names, counts, strict=False):
        shares[name] += round(float(count) / ids.size, 6)
    return shares


def wall_clock(monotonic_s: float) -> float:
    """Seconds since 1970 at the moment that time.monotonic() was `monotonic_s`."""
    return time.time() - time.monotonic() + monotonic_s


def _opened(path: str) -> int:
    try:
        if path == STDOUT:
            sys.stdout.flush()
            return sys.stdout.fileno()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputError(
            f"the statistics cannot be written to {path}: {error.strerror or error}",
            fix="choose another target, or - for the standard output",
        ) from error
