"""The classes that users derive from: logger, profiler, progress, errors, calibration."""

from typing import Any

from tests.tensorrt.fake_state import State


def _pure(name: str) -> Any:
    def call(self: Any, *args: object, **kwargs: object) -> None:
        del self, args, kwargs
        raise RuntimeError(f'Tried to call pure virtual function "{name}"')

    return call


class ILogger:
    log = _pure("ILogger::log")


class Logger:
    _fake: State

    def __init__(self, min_severity: Any) -> None:
        self._least = min_severity
        self._lines: list[str] = []

    def log(self, severity: Any, msg: str) -> None:
        if severity <= self._least:
            self._lines.append(msg)

    @property
    def min_severity(self) -> Any:
        return self._least

    @min_severity.setter
    def min_severity(self, value: Any) -> None:
        self._least = value


class IProfiler:
    report_layer_time = _pure("IProfiler::reportLayerTime")


class Profiler:
    def report_layer_time(self, layer_name: str, ms: float) -> None:
        pass


class IProgressMonitor:
    phase_start = _pure("IProgressMonitor::phaseStart")
    step_complete = _pure("IProgressMonitor::stepComplete")
    phase_finish = _pure("IProgressMonitor::phaseFinish")


class IErrorRecorder:
    clear = _pure("IErrorRecorder::clear")
    get_error_code = _pure("IErrorRecorder::getErrorCode")
    get_error_desc = _pure("IErrorRecorder::getErrorDesc")
    has_overflowed = _pure("IErrorRecorder::hasOverflowed")
    num_errors = _pure("IErrorRecorder::getNbErrors")
    report_error = _pure("IErrorRecorder::reportError")

    @property
    def MAX_DESC_LENGTH(self) -> int:  # noqa: N802
        return 127


class IInt8Calibrator:
    get_algorithm = _pure("IInt8Calibrator::getAlgorithm")
    get_batch = _pure("IInt8Calibrator::getBatch")
    get_batch_size = _pure("IInt8Calibrator::getBatchSize")
    read_calibration_cache = _pure("IInt8Calibrator::readCalibrationCache")
    write_calibration_cache = _pure("IInt8Calibrator::writeCalibrationCache")


class IInt8EntropyCalibrator2:
    _fake: State
    get_batch = _pure("IInt8EntropyCalibrator2::getBatch")
    get_batch_size = _pure("IInt8EntropyCalibrator2::getBatchSize")
    read_calibration_cache = _pure("IInt8EntropyCalibrator2::readCalibrationCache")
    write_calibration_cache = _pure("IInt8EntropyCalibrator2::writeCalibrationCache")

    def get_algorithm(self) -> Any:
        return self._fake.value("CalibrationAlgoType.ENTROPY_CALIBRATION_2")
