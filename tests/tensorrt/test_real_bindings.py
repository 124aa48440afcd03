"""Our modules and subclasses with NVIDIA's own bindings of each version, without its libraries."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from tests.conftest import REQUIRED
from tests.tensorrt.fake_state import Board
from tests.tensorrt.fakes import made_module
from tests.tensorrt.real_bindings import FOLDER, behaviour
from tests.tensorrt.record_surface import CACHE, PACKAGES, run_against
from tests.tensorrt.surface import FOLDER as RECORDED
from tests.tensorrt.surface import VERSIONS, surface

UNVERIFIED = (
    "NVIDIA's bindings or gcc are missing: that our logger, monitor and calibrator fit the real "
    "base classes stays unverified; python -m tests.tensorrt.record_surface --fetch gets them"
)
NAME = "tensorrt-bindings"
"""What EDGESEG_REQUIRE calls them."""
_seen: dict[str, dict[str, Any]] = {}


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    if not (CACHE / request.param).is_dir() or shutil.which("gcc") is None:
        if NAME in REQUIRED:
            pytest.fail(f"{UNVERIFIED}, and EDGESEG_REQUIRE asks for {NAME}")
        pytest.skip(UNVERIFIED)
    return str(request.param)


@pytest.fixture
def report(version: str) -> dict[str, Any]:
    """What real_bindings.py found, in a process of its own."""
    if version not in _seen:
        code = "from tests.tensorrt.real_bindings import report\nprint(report())"
        try:
            _seen[version] = json.loads(run_against(version, CACHE, code))
        except subprocess.CalledProcessError as error:
            pytest.fail(error.stderr)
    return _seen[version]


def test_every_recorded_version_has_a_wheel_of_bindings() -> None:
    assert tuple(PACKAGES) == VERSIONS


def test_recorded_surface_is_that_of_the_bindings(report: dict[str, Any], version: str) -> None:
    assert report["surface"] == (RECORDED / f"{version}.json").read_text()


def test_all_modules_of_the_backend_are_imported(report: dict[str, Any]) -> None:
    assert report["modules"] == sorted(path.stem for path in FOLDER.glob("*.py"))


def test_fake_behaves_as_the_bindings_do(report: dict[str, Any], version: str) -> None:
    assert behaviour(made_module(version, Board())) == report["behaviour"]


def test_our_logger_is_one_and_keeps_errors(report: dict[str, Any]) -> None:
    assert report["logger"] == ["ERROR", "INTERNAL_ERROR"]


def test_our_monitor_is_one_where_there_are_any(report: dict[str, Any], version: str) -> None:
    if not surface(version).has("IProgressMonitor"):
        assert report["monitor"] is None
        return
    assert report["monitor"] == [
        ["started", "build", None, 2],
        ["stepped", "build", 0],
        ["stepped", "build", 1],
        [True, False],
        ["finished", "build"],
    ]


def test_our_calibrator_is_one_where_there_are_any(report: dict[str, Any], version: str) -> None:
    if not surface(version).has("IInt8EntropyCalibrator2"):
        assert report["calibrator"] is None
        return
    assert report["calibrator"] == ["ENTROPY_CALIBRATION_2", 1, None, "scales"]


def test_a_tensorrt_that_does_not_start_is_a_device_error(report: dict[str, Any]) -> None:
    told = "pybind11::init(): factory function returned nullptr"
    assert report["refusals"] == [["DeviceError", told, True]] * 2
