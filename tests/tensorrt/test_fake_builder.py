"""What the fake refuses to build, and how a build can be watched, ended and repeated."""

import struct
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from tests.tensorrt.fake_state import FakeTensorRTFault
from tests.tensorrt.fake_use import (
    BYTES,
    FLOATS,
    IDS,
    LABELS,
    TAIL,
    Use,
    dynamic,
    model,
    node,
    quantized,
)

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

Make = Callable[..., Use]

CAST = node("Cast", "frame", "pixels", to=FLOATS)
SCALED = node("Mul", "pixels gain", "scaled")
TWO_USERS = model(
    *(CAST, node("Shape", "frame", "shape"), SCALED, *TAIL),
    outputs=(LABELS, ("shape", IDS, (4,))),
)
FROM_IDS = model(CAST, SCALED, TAIL[0], node("Cast", "ids", "labels", to=BYTES))


@pytest.mark.parametrize(("data", "why"), [(TWO_USERS, "one cast"), (FROM_IDS, "INT64 to UINT8")])
def test_bytes_pass_through_one_cast_to_a_float_type_only(use: Make, data: bytes, why: str) -> None:
    case = use()
    assert case.plan(data) is None
    assert why in case.errors


def test_board_can_refuse_bytes_at_its_borders(use: Make) -> None:
    case = use(refuse_uint8=True)
    assert case.plan(model()) is None
    assert "UINT8" in case.errors


def test_strongly_typed_network_takes_no_precision_flags(use: Make) -> None:
    case = use(typed=True)
    case.flag("FP16")
    assert case.plan(model()) is None
    assert "strongly typed" in case.errors


@pytest.mark.parametrize(("flags", "builds"), [((), False), (("INT8",), True)])
def test_qdq_needs_the_int8_flag_in_a_weakly_typed_network(
    use: Make, flags: tuple[str, ...], builds: bool
) -> None:
    case = use("8.6.1")
    for name in flags:
        case.flag(name)
    assert (case.plan(quantized()) is not None) == builds


def test_open_shape_needs_a_profile(use: Make) -> None:
    case = use()
    assert case.plan(dynamic()) is None
    assert "no optimization profile" in case.errors
    profile = case.builder.create_optimization_profile()
    profile.set_shape("frame", (1, 4, 6, 3), (2, 4, 6, 3), (2, 4, 6, 3))
    assert case.config.add_optimization_profile(profile) == 0
    assert case.builder.build_serialized_network(case.network, case.config) is not None


def test_workspace_larger_than_what_is_free_is_out_of_memory(use: Make) -> None:
    case = use(free_mib=512)
    pool = case.trt.MemoryPoolType.WORKSPACE
    case.config.set_memory_pool_limit(pool, 1 << 30)
    assert case.plan(model()) is None
    assert "out of memory" in case.errors
    case.config.set_memory_pool_limit(pool, 1 << 28)
    assert case.builder.build_serialized_network(case.network, case.config) is not None


# Progress, timing, callbacks.


def test_monitor_sees_nested_phases_and_can_end_the_build(use: Make) -> None:
    case, seen = use(steps=2), []
    outer, inner = "Building Engine", "Tactic Selection"

    class Monitor(case.trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self, last: int) -> None:
            super().__init__()
            self.last = last

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            seen.append((phase_name, parent_phase, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            assert phase_name in {outer, inner}
            return step < self.last

        def phase_finish(self, phase_name: str) -> None:
            seen.append(phase_name)

    case.config.progress_monitor = Monitor(last=2)
    assert case.plan(model()) is not None
    assert seen == [(outer, None, 2), (inner, outer, 2), inner, outer]
    case.config.progress_monitor = Monitor(last=1)
    assert case.builder.build_serialized_network(case.network, case.config) is None
    assert case.fake.faults == []


def test_error_that_leaves_a_callback_is_a_fault(use: Make) -> None:
    case = use()

    class Monitor(case.trt.IProgressMonitor):  # type: ignore[misc]
        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            raise ValueError(phase_name, parent_phase, num_steps)

    case.config.progress_monitor = Monitor()
    with pytest.raises(FakeTensorRTFault, match="ValueError"):
        case.plan(model())


def test_parser_must_outlive_its_network(use: Make) -> None:
    case = use()
    assert case.parser.parse(model())
    del case.parser
    with pytest.raises(FakeTensorRTFault, match="weights"):
        case.builder.build_serialized_network(case.network, case.config)


def test_logger_is_called_from_other_threads_too(use: Make) -> None:
    case, threads = use(), set()

    class Log(case.trt.ILogger):  # type: ignore[misc]
        def log(self, *line: object) -> None:
            assert len(line) == 2
            threads.add(threading.get_ident())

    case.builder = case.trt.Builder(Log())
    case.config = case.builder.create_builder_config()
    case.plan(model())
    assert threads - {threading.get_ident()}


def test_second_build_reuses_a_timing_cache(use: Make) -> None:
    case = use()
    cache = case.config.create_timing_cache(b"")
    assert case.config.set_timing_cache(cache, False) is True
    case.plan(model())
    timed = case.fake.timed
    assert (timed > 0, case.fake.reused) == (True, 0)
    again = case.builder.create_builder_config()
    kept = again.create_timing_cache(case.config.get_timing_cache().serialize())
    assert again.set_timing_cache(kept, False) is True
    case.builder.build_serialized_network(case.network, again)
    assert (case.fake.timed, case.fake.reused) == (timed, timed)


def test_timing_cache_of_another_device_or_version_or_garbage_is_refused(use: Make) -> None:
    case, other = use(), use(gpu_name="another GPU")
    of_other = other.config.create_timing_cache(b"").serialize()
    assert case.config.set_timing_cache(case.config.create_timing_cache(of_other), False) is False
    older = use("8.6.1").config.create_timing_cache(b"").serialize()
    assert case.config.create_timing_cache(older) is None
    assert case.config.create_timing_cache(b"garbage") is None


# INT8 scales from a cache, and the DLA.


def calibrator(trt: Any, cache: bytes) -> Any:
    class FromCache(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> None:
            assert names == ["frame"]

        def read_calibration_cache(self) -> bytes:
            return cache

    return FromCache()


@pytest.mark.parametrize(
    ("version", "number"), [("8.6.1", 8601), ("10.3.0", 100300), ("10.16.1.11", 101601)]
)
def test_calibration_cache_must_be_of_the_version(use: Make, version: str, number: int) -> None:
    scale = struct.pack("!f", 0.5).hex()
    lines = "".join(f"{name}: {scale}\n" for name in ("pixels", "scaled", "rounded"))
    for header, builds in ((number, True), (8600, False)):
        case = use(version)
        case.flag("INT8")
        text = f"TRT-{header}-EntropyCalibration2\n{lines}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            case.config.int8_calibrator = calibrator(case.trt, text.encode())
        assert (case.plan(model()) is not None) == builds
        assert (case.fake.calibrated, case.fake.missing_scales) == (int(not builds), [])


def test_calibrators_are_deprecated_from_10_1_on(use: Make) -> None:
    with pytest.warns(DeprecationWarning, match=r"10\.1"):
        use("10.3.0").config.int8_calibrator = None
    use("8.6.1").config.int8_calibrator = None


def on_dla(case: Use, *, fallback: bool) -> None:
    case.config.default_device_type = case.trt.DeviceType.DLA
    case.config.DLA_core = 0
    case.flag("FP16")
    if fallback:
        case.flag("GPU_FALLBACK")


def test_dla_runs_what_it_can_and_the_rest_needs_the_fallback(use: Make) -> None:
    case = use(dla_cores=2)
    on_dla(case, fallback=False)
    assert case.builder.num_DLA_cores == 2
    assert case.plan(model()) is None
    assert "pixels: not supported on DLA" in case.errors
    on_dla(case, fallback=True)
    assert case.builder.build_serialized_network(case.network, case.config) is not None
    layers = [case.network.get_layer(i) for i in range(case.network.num_layers)]
    taken = [layer.name for layer in layers if case.config.can_run_on_DLA(layer)]
    assert taken == ["scaled"]


@pytest.mark.parametrize("why", ["DLA core 0", "dynamic shapes", "explicit quantization"])
def test_dla_refuses(use: Make, why: str) -> None:
    case = use(dla_cores=0 if why == "DLA core 0" else 1)
    on_dla(case, fallback=True)
    case.flag("INT8")
    data = dynamic() if why == "dynamic shapes" else quantized()
    assert case.plan(data) is None
    assert why in case.errors
