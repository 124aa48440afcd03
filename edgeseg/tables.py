"""Looking a name up in a table of this package, and entering a folder that needs an extra."""

import contextlib
import difflib
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from edgeseg.errors import MissingPackage, UsageError

# The packages whose pip name differs from the name that Python imports.
PIP_NAMES = {
    "cv2": "opencv-python",
    "PIL": "pillow",
    "av": "av",
    "cuda": "cuda-bindings",
    "gi": "PyGObject",
}


def pick(table: Mapping[str, str], name: str, *, kind: str) -> Any:
    """The object that `table[name]` ("module:attribute") points at.

    Raises:
        UsageError: no such row; the message offers the nearest name and lists all of them.
    """
    target = table[known(table, name, kind=kind)]
    module, _, attribute = target.partition(":")
    loaded = importlib.import_module(module)
    return getattr(loaded, attribute) if attribute else loaded


def known(table: Mapping[str, object], name: str, *, kind: str) -> str:
    """`name`, if it is a row of `table`; else a UsageError that offers the nearest row."""
    if name in table:
        return name
    near = difflib.get_close_matches(name, table, n=1, cutoff=0.5)
    raise UsageError(
        f"there is no {kind} {name!r}",
        fix=(f"did you mean {near[0]!r}? " if near else "") + f"known: {', '.join(sorted(table))}",
    )


REMEDIES = {
    "tensorrt": "on a Jetson JetPack brings it: make the environment with python3 -m venv "
    "--system-site-packages; on another NVIDIA GPU: pip install tensorrt; without a GPU: build "
    "--until graph here, and compile on the board",
}
"""For packages that no extra brings."""


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
    """Turn an ImportError inside the block into a MissingPackage that names the extra.

    An ImportError of edgeseg's own modules is a bug and passes through unchanged.
    """
    try:
        yield
    except MissingPackage:
        raise
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"", "edgeseg"}:
            raise
        raise MissingPackage(
            f"this needs the package {PIP_NAMES.get(package, package)!r}, which is not installed",
            fix=REMEDIES.get(package, f"pip install 'edgeseg[{extra}]'"),
        ) from error
