"""Why a camera does not open, in words that help: errno by errno."""

import errno
import os
from pathlib import Path
from typing import NamedTuple

from edgeseg.errors import VideoError

ROOT = Path("/")
"""Where /dev, /proc and /sys are; another one in tests."""

GONE = frozenset({errno.ENODEV, errno.ENXIO})

_PERMISSION = (
    "no permission to open {path}",
    "sudo usermod -aG video $USER, then log out and in again; in a container start that with "
    "--device and --group-add video",
)
_UNPLUGGED = ("{path} is gone", "plug it in again; it may come back under another number")
_NO_ROOM = (
    "{path} cannot run",
    "cameras on one USB port share what it carries: take another port, ?format=mjpeg, or a "
    "smaller size",
)
_UNLINKED = (
    "{path} has no sensor linked to it",
    "a MIPI camera of a laptop or a Raspberry Pi is set up by libcamera: "
    "'gst://libcamerasrc ! videoconvert'",
)
_ANY = (
    "{path} cannot be opened",
    "another cable, port or camera; dmesg says what the kernel thinks of it",
)
_MEANINGS = {
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.ENODEV: _UNPLUGGED,
    errno.ENXIO: _UNPLUGGED,
    errno.ENOTTY: ("{path} is no camera", "`edgeseg doctor --camera` lists the cameras here"),
    errno.ENOSPC: _NO_ROOM,
    errno.ENOMEM: _NO_ROOM,
    errno.EPIPE: _UNLINKED,
    errno.ENOLINK: _UNLINKED,
}
_SAID_BY_US = frozenset({errno.EACCES, errno.EPERM})
"""The kernel's words add nothing."""


class Present(NamedTuple):
    """A /dev/videoN that is there."""

    path: Path
    name: str
    """What the kernel calls it; empty where it does not."""

    def __str__(self) -> str:
        return f"{self.path} ({self.name})" if self.name else str(self.path)


def present(root: Path = ROOT) -> list[Present]:
    """Every video node of this machine, by number; most cameras have more than one."""
    paths = [path for path in (root / "dev").glob("video*") if path.name[5:].isdigit()]
    return [
        Present(path, _name(root, path))
        for path in sorted(paths, key=lambda one: int(one.name[5:]))
    ]


def refused(path: Path, error: OSError, *, root: Path = ROOT) -> VideoError:
    """What `error` means for the camera at `path`, and what to do."""
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return _absent(path, root)
    if error.errno == errno.EBUSY:
        return _busy(path, root)
    what, fix = _MEANINGS.get(error.errno or 0, _ANY)
    said = "" if error.errno in _SAID_BY_US else f": {error.strerror or error}"
    return VideoError(what.format(path=path) + said, fix=fix)


def lost(path: Path, error: OSError) -> VideoError:
    """What `error` means for a camera that ran."""
    if error.errno in GONE:
        return refused(path, error)
    return VideoError(
        f"{path} stopped: {error.strerror or error}", fix="look at what the kernel says: dmesg"
    )


def holders(path: Path, *, root: Path = ROOT) -> list[str]:
    """The programs that have `path` open, as far as this user may see: "cheese (process 4711)"."""
    found = []
    for process in (root / "proc").glob("[0-9]*"):
        try:
            descriptors = list((process / "fd").iterdir())
        except OSError:  # another user's, or it ended
            continue
        if any(_leads_to(one, path) for one in descriptors):
            own = process.name == str(os.getpid())
            found.append("this run" if own else f"{_program(process)} (process {process.name})")
    return sorted(found)


def _absent(path: Path, root: Path) -> VideoError:
    here = ", ".join(map(str, present(root)))
    return VideoError(
        f"there is no {path}; here: {here or 'no camera at all'}",
        fix="give one of these; `edgeseg doctor --camera` says what they can"
        if here
        else "plug the camera in, and look whether lsusb shows it; in a container start that "
        "with --device /dev/video0",
    )


def _busy(path: Path, root: Path) -> VideoError:
    who = holders(path, root=root)
    if not who:
        fix = f"find the program that has it: sudo fuser -v {path}; nvargus-daemon has those that "
        return VideoError(f"{path} is busy", fix=f"{fix}are read as csi://0")
    argus = any(one.startswith("nvargus") for one in who)
    return VideoError(
        f"{path} is busy: {', '.join(who)} has it",
        fix="read it as csi://0, or the number of its connector" if argus else "end that program",
    )


def _leads_to(descriptor: Path, path: Path) -> bool:
    try:
        return descriptor.readlink() == path.resolve()
    except OSError:
        return False


def _program(process: Path) -> str:
    try:
        return (process / "comm").read_text(errors="replace").strip() or "a program"
    except OSError:
        return "a program"


def _name(root: Path, path: Path) -> str:
    try:
        text = (root / f"sys/class/video4linux/{path.name}/name").read_text(errors="replace")
    except OSError:
        return ""
    return text.strip()
