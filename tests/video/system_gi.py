"""Debian's PyGObject, made importable in a virtual environment that hides it."""

import importlib.util
import sys
import sysconfig
from pathlib import Path

import pytest

SYSTEM_GI = Path("/usr/lib/python3/dist-packages/gi")


def make_gi_importable(folder: Path) -> None:
    """Let this process import gi, and nothing else of the system's packages; skip where it cannot.

    `folder` gets a link to it, and stays on the path.
    """
    if importlib.util.find_spec("gi") is not None:
        return
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    if not (SYSTEM_GI / f"_gi{suffix}").exists():
        pytest.skip(f"the PyGObject of the system is for another Python: it has no _gi{suffix}")
    (folder / "gi").symlink_to(SYSTEM_GI)
    sys.path.append(str(folder))
    importlib.invalidate_caches()
