"""One build at a time in a folder: the second waits, and takes what the first one published."""

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import OutputError
from edgeseg.manifest import FILE

WITHOUT_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
"""What flock says on file systems that have no locks, such as some network shares."""
LONGEST = 1 << 20
"""Bytes of a lock file that are read."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """How a build came to have its folder to itself."""

    waited: bool
    done: bool
    """Every build that it waited for was one of the same, and one of them was published."""


@contextlib.contextmanager
def building(out: Path, wanted: str = "") -> Iterator[Turn]:
    """Keep other builds out of the engine folder `out` while the block runs; wait for them first.

    `wanted` says what is built, for others to tell whether it is what they want too. The lock is
    the system's own, so that it goes with the process that holds it, however that ends.

    Raises:
        OutputError: the folder that `out` is to lie in cannot be written.
    """
    place = out.parent.resolve() / out.name if out.name not in {"", ".."} else out.resolve()
    before = _published(place)
    made = _parents(place)
    path = place.with_name(f".{place.name}.lock")
    handle, builders = _taken(path, out)
    try:
        if handle is not None:
            _write(handle, wanted)
        done = set(builders) == {wanted} and _published(place) not in {None, before}
        if done:
            log.info("it built what is wanted here too: %s is ready", out)
        yield Turn(waited=bool(builders), done=done)
    finally:
        if handle is not None:
            # While it is still locked: whoever waits for it sees that it is gone, and starts over.
            path.unlink(missing_ok=True)
            os.close(handle)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _parents(out: Path) -> list[Path]:
    """Make the folders that `out` lies in; those that were not there, the innermost first."""
    missing = [folder for folder in out.parents if not folder.exists()]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(out, error) from error
    return missing


def _taken(path: Path, out: Path) -> tuple[int | None, list[str]]:
    """The locked file at `path`, and what those built that had it before; None without locks."""
    builders: list[str] = []
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            continue  # another build removed the empty folder in between
        except OSError as error:
            raise _unwritable(out, error) from error
        held = False
        try:
            builders += _locked(handle, out)
            if held := _is_at(handle, path):
                return handle, builders
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise _unwritable(out, error) from error
            log.warning("%s cannot be locked (%s): build one at a time", out, error.strerror)
            path.unlink(missing_ok=True)
            return None, builders
        finally:
            if not held:
                os.close(handle)


def _locked(handle: int, out: Path) -> list[str]:
    """Lock the file, after whoever has it; what that one built, where there was one."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, _ = _read(handle)
        who = f"pid {pid}" if pid else "it has only just begun"
        log.info("another build of %s runs (%s); waiting for it", out, who)
        fcntl.flock(handle, fcntl.LOCK_EX)
        return [_read(handle)[1]]  # once more, since it may have begun while we looked
    return []


def _is_at(handle: int, path: Path) -> bool:
    """Whether the file is still the one at `path`: who had it before may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _read(handle: int) -> tuple[str, str]:
    """The process that wrote the file last, and what that one built."""
    pid, _, wanted = os.pread(handle, LONGEST, 0).decode(errors="replace").partition("\n")
    return pid, wanted


def _write(handle: int, wanted: str) -> None:
    with contextlib.suppress(OSError):  # a full disk: others then wait without knowing for whom
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n{wanted}".encode(), 0)


def _published(out: Path) -> tuple[int, int] | None:
    """What changes when an engine is published in `out`; None where there is none."""
    try:
        found = (out / FILE).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _unwritable(out: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{out} cannot be written: {error.strerror or error} ({error.filename or 'its lock'})",
        fix="name another folder with -o",
    )
