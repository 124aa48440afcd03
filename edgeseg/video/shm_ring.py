"""Class ids in shared memory: the layout of a ring, and how to read one.

A ring is a file in /dev/shm that one process writes and any number read. docs/shm.md describes it
for other languages. It needs numpy alone.
"""

import fcntl
import json
import mmap
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgeseg.errors import InputFileError, UsageError, VideoError
from edgeseg.types import Array, Labels, Pixels, Size

FOLDER = Path("/dev/shm")
MAGIC = b"EDGESEGL"
VERSION = 1
HEADER_BYTES = 128
ALIGNMENT = 64
RUNNING, ENDED = 1, 2

HEADER = np.dtype(
    {
        "names": [
            "magic", "version", "slots", "slots_at", "slot_bytes", "height", "width", "classes",
            "cameras", "json_at", "json_bytes", "pid", "state", "written",
        ],
        "formats": ["S8"] + ["<u4"] * 12 + ["<u8"],
        "offsets": [0, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 64],
        "itemsize": HEADER_BYTES,
    }
)  # fmt: skip
"""What a ring begins with."""

POLL_S = 0.001
"""Between two looks at the ring by who waits for a frame."""
_PROBE_S = 0.25
"""Between two looks whether the writer lives, while no frame comes."""

_barrier = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class SharedFrame:
    """The classes of one frame; the memory is the reader's own."""

    labels: Pixels
    """uint8 (H, W), class ids."""
    number: int
    """Counts the frames written into the ring, from 1; a gap is what the reader missed."""
    index: int
    """Where the frame stands in its source."""
    captured_s: float
    """time.monotonic() at the capture, which all processes of a machine share."""
    pts_s: float
    age_s: float
    """From the capture to the mask."""
    camera: int
    epoch: int
    """Grows when what came before has nothing to do with this frame."""


def slot_type(size: Size) -> np.dtype[np.void]:
    """The layout of one slot for class ids of `size`."""
    used = ALIGNMENT + size.height * size.width
    return np.dtype(
        {
            "names": [
                "sequence", "index", "captured_ns", "pts_ns", "age_ns", "camera", "epoch", "labels",
            ],
            "formats": ["<u8", "<i8", "<i8", "<i8", "<i8", "<u4", "<u4", ("u1", tuple(size))],
            "offsets": [0, 8, 16, 24, 32, 40, 44, ALIGNMENT],
            "itemsize": -(-used // ALIGNMENT) * ALIGNMENT,
        }
    )  # fmt: skip


def slots_in(memory: mmap.mmap, header: Array) -> Array:
    """The slots of the ring in `memory`, as an array of structures."""
    kind = slot_type(Size(int(header["height"]), int(header["width"])))
    return np.ndarray((int(header["slots"]),), kind, memory, int(header["slots_at"]))


def fence() -> None:
    """Keep loads and stores before this call before those after it, on ARM too.

    Letting go of a lock and taking it again orders memory; Python offers nothing more direct.
    """
    with _barrier:
        pass
    with _barrier:
        pass


def ring_path(name: str) -> Path:
    """The file of the ring `name`.

    Raises:
        UsageError: a name that is none.
    """
    if not name or "/" in name or "\0" in name or name.startswith(".") or len(name) > 200:
        raise UsageError(
            f"{name!r} is no name for shared memory", fix="use letters and digits: shm://labels"
        )
    return FOLDER / name


def is_held(handle: int) -> bool:
    """Whether the process that writes the ring is alive: it has a lock that goes with it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(handle, fcntl.LOCK_UN)
    return False


class SharedLabels:
    """Reads what `edgeseg run ... shm://NAME` writes, frame by frame; a context manager.

    Iterating gives each time the newest frame that is there, waiting for one, until the writer
    ends. The writer waits for nobody: who is slow misses frames, and never sees half of one.
    """

    def __init__(self, name: str, *, timeout_s: float = 5.0) -> None:
        self._path = ring_path(name.removeprefix("shm://"))
        self._handle = _opened(self._path, timeout_s)
        try:
            self._memory, text = _mapped(self._handle, self._path)
        except BaseException:
            os.close(self._handle)
            raise
        self._header = np.ndarray((), HEADER, self._memory)
        self._slots = slots_in(self._memory, self._header)
        self.labels = Labels(
            names=tuple(entry["name"] for entry in text["classes"]),
            colors=tuple(tuple(entry["color"]) for entry in text["classes"]),
        )
        self.cameras: tuple[str, ...] = tuple(text["cameras"])
        """Their names; `SharedFrame.camera` counts in them."""
        self.title: str = text["title"]
        self.size = Size(int(self._header["height"]), int(self._header["width"]))
        self._last = 0
        self._closed = False

    @property
    def has_ended(self) -> bool:
        """Whether no frame will be written any more: the writer is done, or died."""
        return int(self._header["state"]) != RUNNING or not is_held(self._handle)

    def latest(self) -> SharedFrame | None:
        """The newest frame; None before the first one."""
        while number := int(self._header["written"]):
            frame = self._read(number)
            if frame is not None:
                self._last = number
                return frame
        return None

    def next(self, timeout_s: float | None = None) -> SharedFrame | None:
        """The newest frame that was not given yet, waiting for it; None at the end.

        Raises:
            VideoError: none came within `timeout_s`.
        """
        begun_s = looked_s = time.monotonic()
        while int(self._header["written"]) == self._last:
            now_s = time.monotonic()
            if now_s - looked_s > _PROBE_S or int(self._header["state"]) != RUNNING:
                looked_s = now_s
                if self.has_ended and int(self._header["written"]) == self._last:
                    return None
            if timeout_s is not None and now_s - begun_s > timeout_s:
                raise VideoError(
                    f"no frame in {self._path} within {timeout_s:g} s",
                    fix="look after the run that writes it",
                )
            time.sleep(POLL_S)
        return self.latest()

    def __iter__(self) -> Iterator[SharedFrame]:
        while (frame := self.next()) is not None:
            yield frame

    def close(self) -> None:
        """Leave the ring; closing twice is fine."""
        if not self._closed:
            self._closed = True
            del self._header, self._slots
            self._memory.close()
            os.close(self._handle)

    def __enter__(self) -> "SharedLabels":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self, number: int) -> SharedFrame | None:
        """Frame `number`; None where the writer came around and wrote over it meanwhile."""
        slot = self._slots[(number - 1) % len(self._slots)]
        if int(slot["sequence"]) != 2 * number:
            return None
        fence()
        frame = SharedFrame(
            labels=slot["labels"].copy(),
            number=number,
            index=int(slot["index"]),
            captured_s=int(slot["captured_ns"]) / 1e9,
            pts_s=int(slot["pts_ns"]) / 1e9,
            age_s=int(slot["age_ns"]) / 1e9,
            camera=int(slot["camera"]),
            epoch=int(slot["epoch"]),
        )
        fence()
        return frame if int(slot["sequence"]) == 2 * number else None


def _opened(path: Path, timeout_s: float) -> int:
    """The ring's file, waiting for it to appear."""
    until_s = time.monotonic() + timeout_s
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            if time.monotonic() >= until_s:
                raise InputFileError(
                    f"there is no {path}: nothing writes shm://{path.name}",
                    fix=f"start edgeseg run ENGINE SOURCE shm://{path.name}",
                ) from error
            time.sleep(10 * POLL_S)
        except OSError as error:
            raise InputFileError(
                f"{path} cannot be read: {error.strerror}", fix="read it as the user that writes it"
            ) from error


def _mapped(handle: int, path: Path) -> tuple[mmap.mmap, dict[str, Any]]:
    """The ring's memory, and what the JSON in it says.

    Raises:
        InputFileError: a file that is no ring, or one of another version.
    """
    start, length = os.pread(handle, HEADER_BYTES, 0), os.fstat(handle).st_size
    if not start.startswith(MAGIC) or len(start) < HEADER_BYTES:
        raise InputFileError(f"{path} is no ring of class ids", fix="name the one of a run")
    header = np.frombuffer(start, HEADER)[0]
    if int(header["version"]) != VERSION:
        raise InputFileError(
            f"{path} has the layout {int(header['version'])}, this reads {VERSION}",
            fix="use the same version of edgeseg on both sides",
        )
    if int(header["slots_at"]) + int(header["slots"]) * int(header["slot_bytes"]) > length:
        raise InputFileError(f"{path} is cut off", fix="start the run that writes it again")
    memory = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
    begin = int(header["json_at"])
    return memory, json.loads(memory[begin : begin + int(header["json_bytes"])])
