"""What all tests share: the folder of shared files, and skips for packages that are missing."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgeseg

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


@pytest.fixture(scope="session")
def gstreamer() -> Path:
    """A Python that has GStreamer, its RTSP server and H.264, to run real servers with."""
    probe = (
        "import gi; gi.require_version('GstRtspServer', '1.0');"
        "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
        "missing = [n for n in ('h264parse', 'rtph264pay', 'avdec_h264', 'videotestsrc')"
        " if Gst.ElementFactory.find(n) is None]; assert not missing, missing"
    )
    python = Path("/usr/bin/python3")
    found = python.exists() and subprocess.run([python, "-c", probe], capture_output=True)
    if not found or found.returncode:
        _missing("gstreamer", "GStreamer's packages for Python are not installed: .ci/packages")
    return python


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's program."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        _missing("chromium", "Chromium is not installed: .ci/packages")
    return Path(found)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small labelled pictures of the synthetic street, in the splits train, val and test."""
    from tests.small import write_pictures

    folder = tmp_path_factory.mktemp("pictures")
    for split, seeds in (("train", range(3)), ("val", range(100, 104)), ("test", range(200, 203))):
        write_pictures(folder / split, seeds)
    return folder


@pytest.fixture
def streets_once() -> Iterator[None]:
    """Streets that tests have looked at before are not drawn again."""
    from tests.small import remembered_streets

    with remembered_streets():
        yield


@pytest.fixture(scope="session")
def small_int8(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """The folder of a small INT8 engine on OpenVINO; copy it before you change it."""
    from tests.small import build_small, working_directory

    with working_directory(tmp_path_factory.mktemp("small")) as folder:
        build_small(folder / "engines" / "small", pictures).close()
    return folder / "engines" / "small"


@pytest.fixture(scope="session")
def small_fp32(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """The folder of the same network in float."""
    from tests.small import build_small, working_directory

    with working_directory(tmp_path_factory.mktemp("float")) as folder:
        build_small(folder / "engine", pictures, precision="fp32", calibrate=None).close()
    return folder / "engine"


@pytest.fixture(scope="session")
def small_null(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an engine that computes nothing: what is left is the loop around it."""
    from tests.small import NETWORK, SIZE, working_directory

    with working_directory(tmp_path_factory.mktemp("null")) as folder:
        edgeseg.build(NETWORK, size=SIZE, frame=SIZE, backend="null", out=folder / "engine").close()
    return folder / "engine"


def _packages_of(item: pytest.Item) -> set[str]:
    packages = {name for marker in item.iter_markers("needs") for name in marker.args}
    return packages | ({"torch"} if item.get_closest_marker("torch") else set())


def _missing(name: str, reason: str) -> None:
    if name in REQUIRED:
        pytest.fail(f"{reason}, and EDGESEG_REQUIRE asks for {name}")
    pytest.skip(reason)
