"""Class ids for other processes of this machine: `shm://NAME`, a ring in /dev/shm."""

import contextlib
import fcntl
import json
import mmap
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from edgeseg.errors import OutputError, UsageError
from edgeseg.types import Size
from edgeseg.video.shm_ring import (
    ALIGNMENT,
    ENDED,
    FOLDER,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    RUNNING,
    VERSION,
    fence,
    ring_path,
    slot_type,
    slots_in,
)
from edgeseg.video.sinks import FrameView, SinkOptions
from edgeseg.video.uri import options_of

SLOTS = 8
MOST_SLOTS = 1024

_LOOKS, _BETWEEN_LOOKS_S = 5, 0.02
"""A reader that looks after its writer holds the lock for a moment."""


class ShmSink:
    """Writes class ids into a ring that is there until `close`, for this user alone."""

    takes_pictures = False

    def __init__(self, path: Path, wanted: SinkOptions, *, slots: int = SLOTS) -> None:
        self._path = path
        self._size = wanted.mask_size or wanted.frame_size or wanted.size
        self._handle, self._memory = _made(path, _Plan(wanted, self._size, slots))
        self._header = np.ndarray((), HEADER, self._memory)
        self._slots = slots_in(self._memory, self._header)
        self._written = 0
        self._closed = False

    def write(self, frame: FrameView) -> None:
        """Put the classes of `frame` into the next slot; waits for nobody.

        Raises:
            UsageError: another size than the ring was made for.
        """
        if self._closed:
            raise OutputError(f"{self._path} is closed already", fix="write before close()")
        if frame.labels.shape != tuple(self._size):
            raise UsageError(
                f"the ring takes classes of {self._size}, got the shape {frame.labels.shape}",
                fix="open the sink with the size of the masks",
            )
        number = self._written + 1
        slot = self._slots[self._written % len(self._slots)]
        slot["sequence"] = 2 * number - 1
        fence()
        slot["labels"][...] = frame.labels
        self._stamp(slot, frame)
        fence()
        slot["sequence"] = 2 * number
        fence()
        self._header["written"] = self._written = number

    def close(self) -> None:
        """Tell the readers that this is the end, and remove the ring; closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        self._header["state"] = ENDED
        with contextlib.suppress(OSError):
            if os.path.samestat(self._path.stat(), os.fstat(self._handle)):
                self._path.unlink()
        del self._header, self._slots
        self._memory.close()
        os.close(self._handle)

    def _stamp(self, slot: np.void, frame: FrameView) -> None:
        slot["index"] = frame.index
        slot["age_ns"] = round(1e6 * frame.age_ms)
        slot["camera"] = frame.camera
        when = frame.time
        slot["captured_ns"] = round(1e9 * when.captured_s) if when else 0
        slot["pts_ns"] = round(1e9 * when.pts_s) if when else 0
        slot["epoch"] = when.epoch if when else 0


def open_shm(rest: str, wanted: SinkOptions) -> ShmSink:
    """The sink of `shm://NAME?slots=8`.

    Raises:
        UsageError: a name or a number of slots that cannot be.
        OutputError: another process writes a ring of this name; /dev/shm is full or not there.
    """
    name, mark, query = rest.partition("?")
    path = ring_path(name)
    given = options_of(mark + query, ("slots",), scheme="shm").get("slots", str(SLOTS))
    if not (given.isascii() and given.isdigit() and 2 <= int(given) <= MOST_SLOTS):
        raise UsageError(f"{given!r} slots", fix=f"give 2 to {MOST_SLOTS}; {SLOTS} are usual")
    return ShmSink(path, wanted, slots=int(given))


class _Plan:
    """The first bytes of a ring, and its length."""

    def __init__(self, wanted: SinkOptions, size: Size, slots: int) -> None:
        text = _text(wanted)
        slots_at = -(-(HEADER_BYTES + len(text)) // ALIGNMENT) * ALIGNMENT
        header = np.zeros((), HEADER)
        header["magic"], header["version"], header["state"] = MAGIC, VERSION, RUNNING
        header["slots"], header["slots_at"] = slots, slots_at
        header["slot_bytes"] = slot_type(size).itemsize
        header["height"], header["width"] = size
        header["classes"], header["cameras"] = len(wanted.labels), len(wanted.cameras)
        header["json_at"], header["json_bytes"] = HEADER_BYTES, len(text)
        header["pid"] = os.getpid()
        self.start = header.tobytes() + text
        self.length = slots_at + slots * slot_type(size).itemsize


def _text(wanted: SinkOptions) -> bytes:
    labels = wanted.labels
    classes = [
        {"name": name, "color": list(color)}
        for name, color in zip(labels.names, labels.colors, strict=True)
    ]
    document = {
        "schema": 1,
        "classes": classes,
        "cameras": list(wanted.cameras),
        "title": wanted.title,
    }
    return json.dumps(document, sort_keys=True).encode()


def _made(path: Path, plan: _Plan) -> tuple[int, mmap.mmap]:
    """A new ring at `path`, complete from the moment it is there; locked for as long as we live."""
    handle = -1
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=FOLDER)
        # Reserves the memory: without, a full /dev/shm would kill the process at a later store.
        os.posix_fallocate(handle, 0, plan.length)
        os.pwrite(handle, plan.start, 0)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        memory = mmap.mmap(handle, plan.length)
        _publish(Path(temporary), path)
    except BaseException as error:
        if handle >= 0:
            os.close(handle)
        if isinstance(error, OSError) and not isinstance(error, OutputError):
            raise OutputError(
                f"shared memory cannot be made at {path}: {error.strerror}",
                fix="free space in /dev/shm, ask for fewer slots (?slots=4), or choose a name",
            ) from error
        raise
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return handle, memory


def _publish(temporary: Path, path: Path) -> None:
    """Give the ring its name, in the place of one whose writer is gone.

    Raises:
        OutputError: the writer of the one that is there lives, or what is there is no ring.
    """
    while True:
        try:
            os.link(temporary, path)
        except FileExistsError:
            _remove_stale(path)
        else:
            return


def _remove_stale(path: Path) -> None:
    """Remove a ring whose writer is gone; its lock keeps two from removing the same one."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        start = os.pread(handle, HEADER_BYTES, 0)
        if not start.startswith(MAGIC) or len(start) < HEADER_BYTES:
            raise OutputError(f"{path} is there and is no ring of class ids", fix="choose a name")
        if not _locked(handle):
            raise OutputError(
                f"shm://{path.name} is in use: process {np.frombuffer(start, HEADER)['pid'][0]} "
                "writes it",
                fix="choose another name, or end that run",
            )
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(handle)):
                path.unlink()
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Whether the lock could be had, which a reader may hold for a moment."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_BETWEEN_LOOKS_S)
        else:
            return True
    return False
