"""What all tests share: the folder of shared files, and skips for packages that are missing."""

import importlib.util
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REQUIRED = frozenset(os.environ.get("EDGESEG_REQUIRE", "").replace(" ", "").split(","))
"""What this run must not skip for want of: "shared", or the import name of a package."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    for package in sorted(_packages_of(item)):
        if importlib.util.find_spec(package) is None:
            _missing(package, f"{package} is not installed here")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models, clips and pictures by others; never written to."""
    folder = (ROOT / os.environ.get("EDGESEG_SHARED", "../shared")).resolve()
    if not folder.is_dir():
        _missing("shared", f"{folder} is missing; EDGESEG_SHARED names the folder of shared files")
    return folder


def _packages_of(item: pytest.Item) -> set[str]:
    packages = {name for marker in item.iter_markers("needs") for name in marker.args}
    return packages | ({"torch"} if item.get_closest_marker("torch") else set())


def _missing(name: str, reason: str) -> None:
    if name in REQUIRED:
        pytest.fail(f"{reason}, and EDGESEG_REQUIRE asks for {name}")
    pytest.skip(reason)
