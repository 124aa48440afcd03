"""Where the doctor looks: a file tree, the programs and packages beside it, this Python."""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeseg.device.sysfs import HERE, Ask, output_of


def origin_of(module: str) -> str | None:
    """The file or folder that `import module` would take; None where it is not installed."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # of a missing parent, or a module put there by hand
        return None
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), "")


def version_of(distribution: str) -> str | None:
    """The version that pip knows; None where it knows none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def program(name: str) -> str | None:
    """The path of a program on the PATH."""
    return shutil.which(name)


@dataclass(frozen=True, kw_only=True)
class Place:
    """All that a finding may depend on, so that a recorded machine can be looked at too."""

    root: Path = HERE
    ask: Ask = output_of
    origin: Callable[[str], str | None] = origin_of
    version: Callable[[str], str | None] = version_of
    program: Callable[[str], str | None] = program
    python: tuple[int, int] = sys.version_info[:2]
    executable: str = sys.executable
    prefix: Path = Path(sys.prefix)
    in_venv: bool = sys.prefix != sys.base_prefix
    numpy: str = np.__version__
    home: Path = Path(os.curdir)
    """The folder that engines are written to."""
