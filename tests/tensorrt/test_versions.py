"""Branches between versions, on the names that each recorded version has."""

import importlib
import sys
from types import ModuleType

import numpy as np
import pytest

from edgeseg.errors import EngineMismatch, UsageError
from tests.tensorrt.conftest import Installed
from tests.tensorrt.surface import VERSIONS, surface

pytestmark = pytest.mark.needs("onnx", "onnxruntime")


@pytest.fixture
def versions(trt: Installed) -> ModuleType:
    del trt
    return importlib.import_module("edgeseg.backends.tensorrt.versions")


@pytest.mark.parametrize("trt", [("10.3.0", {})], indirect=True)
def test_every_recorded_version_has_what_is_needed(versions: ModuleType) -> None:
    lacking = [
        (version, name)
        for version in VERSIONS
        for name in versions.REQUIRED
        if not surface(version).has(name)
    ]
    assert lacking == []


@pytest.mark.parametrize("trt", [("10.3.0", {})], indirect=True)
def test_a_version_that_lacks_a_needed_name_is_refused_by_it(
    trt: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(trt.tensorrt, "OnnxParser")
    with pytest.raises(UsageError, match=r"TensorRT 10\.3\.0 lacks OnnxParser"):
        trt.module.fingerprint()


@pytest.mark.parametrize("trt", [("8.6.1", {}), ("11.4.0.106", {})], indirect=True)
def test_a_dotted_name_is_there_or_not(trt: Installed, versions: ModuleType) -> None:
    assert versions.has("BuilderFlag.FP16") == (trt.version == "8.6.1")
    assert versions.has("IProgressMonitor") == (trt.version != "8.6.1")
    assert not versions.has("NoSuchThing.AT_ALL")


def test_a_network_is_typed_by_flag_where_that_is_a_choice(
    trt: Installed, versions: ModuleType
) -> None:
    kinds = trt.tensorrt.NetworkDefinitionCreationFlag
    strong = 1 << int(kinds.STRONGLY_TYPED) if hasattr(kinds, "STRONGLY_TYPED") else 0
    explicit = 1 << int(kinds.EXPLICIT_BATCH) if hasattr(kinds, "EXPLICIT_BATCH") else 0
    by_flag = hasattr(trt.tensorrt.BuilderFlag, "FP16")  # later there is no other kind
    assert versions.network_flags(typed=True) == explicit | (strong if by_flag else 0)
    assert versions.network_flags(typed=False) == explicit


class Heard:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def started(self, phase: str, parent: str | None, steps: int) -> None:
        self.calls.append(("started", phase, parent, steps))

    def stepped(self, phase: str, step: int) -> bool:
        self.calls.append(("stepped", phase, step))
        return step < 1

    def finished(self, phase: str) -> None:
        self.calls.append(("finished", phase))


def test_a_monitor_passes_on_what_it_is_told(trt: Installed, versions: ModuleType) -> None:
    heard = Heard()
    monitor = versions.monitor_of(heard)
    if not hasattr(trt.tensorrt, "IProgressMonitor"):
        assert monitor is None
        return
    assert isinstance(monitor, trt.tensorrt.IProgressMonitor)
    monitor.phase_start("outer", None, 2)
    assert [monitor.step_complete("outer", step) for step in (0, 1)] == [True, False]
    monitor.phase_finish("outer")
    assert heard.calls == [
        ("started", "outer", None, 2),
        ("stepped", "outer", 0),
        ("stepped", "outer", 1),
        ("finished", "outer"),
    ]


@pytest.mark.filterwarnings("ignore:Deprecated in TensorRT:DeprecationWarning")
def test_a_calibrator_has_a_cache_and_no_pictures(trt: Installed, versions: ModuleType) -> None:
    calibrator = versions.calibrator_of(b"TRT-8601-EntropyCalibration2\n")
    assert (calibrator is None) != versions.has_calibrators()
    if calibrator is not None:
        assert isinstance(calibrator, trt.tensorrt.IInt8EntropyCalibrator2)
        assert calibrator.read_calibration_cache() == b"TRT-8601-EntropyCalibration2\n"
        assert calibrator.get_batch(["frame"]) is None
        assert calibrator.get_batch_size() == 1


@pytest.mark.parametrize("trt", [("10.3.0", {})], indirect=True)
def test_types_of_borders_are_numpys(trt: Installed, versions: ModuleType) -> None:
    types = trt.tensorrt.DataType
    assert versions.numpy_dtype(types.UINT8) == np.uint8
    assert versions.numpy_dtype(types.INT64) == np.int64
    assert versions.numpy_dtype(types.HALF) == np.float16
    with pytest.raises(EngineMismatch, match="BF16"):
        versions.numpy_dtype(types.BF16)


@pytest.mark.parametrize("trt", [("10.3.0", {})], indirect=True)
def test_the_last_errors_are_kept_and_forgotten(trt: Installed) -> None:
    log = sys.modules["edgeseg.backends.tensorrt.log"].LOG
    severity = trt.tensorrt.ILogger.Severity
    log.clear()
    assert log.last_errors() == "TensorRT gave no reason"
    long = "[optimizer.cpp] no kernel for " + "conv + " * 2000 + "last"
    log.log(severity.ERROR, long)
    assert len(log.last_errors()) < 1000
    assert log.last_errors().startswith("[optimizer.cpp] no kernel for conv + ")
    assert log.last_errors().endswith(" + last")
    log.clear()
    log.log(severity.INFO, "chosen")
    for _ in range(20):
        log.log(severity.ERROR, "first\n")
    log.log(severity.INTERNAL_ERROR, "second")
    log.log(severity.VERBOSE, "chatter")
    assert log.last_errors() == "first\nsecond"
    assert log.last_line() == "second"
    log.clear()
    assert log.last_errors() == "TensorRT gave no reason"
