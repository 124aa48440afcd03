"""Reading the small files in which Linux says what it is doing; what is missing is None."""

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path("/")
"""Where /sys, /proc and /etc are looked up; another one in tests on recorded trees."""

Ask = Callable[[Sequence[str]], str | None]
"""Runs a command; its stdout, or None where it is not there, fails or hangs."""

PATIENCE_S = 5.0


def text(path: Path) -> str | None:
    """What `path` holds, without the NUL that ends device-tree strings; None if it cannot be."""
    try:
        return path.read_text(errors="replace").strip("\0 \n") or None
    except OSError:
        return None


def number(path: Path) -> int | None:
    """The whole number that `path` begins with, a unit behind it or not."""
    found = re.match(r"-?\d+", text(path) or "")
    return int(found[0]) if found else None


def found(folder: Path, pattern: str) -> list[Path]:
    """What matches in `folder`, sorted; none where the folder is missing or closed to us."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def output_of(command: Sequence[str]) -> str | None:
    """What `command` prints; None where it is not there, fails, or takes over five seconds."""
    try:
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout


def nothing(command: Sequence[str]) -> str | None:
    """Answers no command: what a recorded tree says of its programs."""
    del command
    return None


def asker(root: Path) -> Ask:
    """`output_of` on this machine; `nothing` for a tree of another one."""
    return output_of if root == HERE else nothing
