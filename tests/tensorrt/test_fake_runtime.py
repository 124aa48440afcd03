"""What the fake runs, and what it refuses to load, to run, to capture and to share."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.device.cuda_results import CudaFault
from tests.tensorrt.fake_use import (
    IDS,
    NODES,
    PICTURE,
    Running,
    Use,
    dynamic,
    expected,
    model,
    pixels_of,
)

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

Make = Callable[..., Use]


def running(case: Use, data: bytes | None = None, *, memory: bool = True) -> Running:
    engine = case.engine(data or model())
    if memory:
        return Running(case.gpu, engine)
    strategy = case.trt.ExecutionContextAllocationStrategy.USER_MANAGED
    return Running(case.gpu, engine, engine.create_execution_context(strategy))


def captured(run: Running) -> int:
    """A graph of one execution, that can be launched."""
    run.gpu.begin_capture(run.stream, 1)
    assert run.execute()
    return run.gpu.instantiate(run.gpu.end_capture(run.stream))


# Loading.


@pytest.mark.parametrize("data", [b"", b"garbage", b"ftrt\0\0\1\n"])
def test_garbage_is_no_engine(use: Make, data: bytes) -> None:
    case = use()
    assert case.trt.Runtime(case.log).deserialize_cuda_engine(data) is None
    assert "deserialization failed" in case.errors


def test_half_a_plan_is_no_engine(use: Make) -> None:
    case = use()
    plan = bytes(case.plan(model()))
    assert case.trt.Runtime(case.log).deserialize_cuda_engine(plan[:-1]) is None


@pytest.mark.parametrize(
    ("version", "board"),
    [("10.7.0", {}), ("10.3.0", {"compute_capability": (8, 9)})],
    ids=["version", "capability"],
)
def test_plan_of_another_version_or_architecture_is_refused(
    use: Make, version: str, board: dict[str, Any]
) -> None:
    plan, other = use().plan(model()), use(version, **board)
    assert other.trt.Runtime(other.log).deserialize_cuda_engine(bytes(plan)) is None
    assert "rebuild" in other.errors


def test_plan_of_another_model_of_gpu_is_loaded_with_a_warning(use: Make) -> None:
    plan, other = use().plan(model()), use(gpu_name="another GPU")
    assert other.trt.Runtime(other.log).deserialize_cuda_engine(plan) is not None
    assert any("different models of devices" in text for _, text in other.lines)


def test_version_compatible_plan_needs_host_code_to_be_allowed(use: Make) -> None:
    case = use()
    case.flag("VERSION_COMPATIBLE")
    plan, later = case.plan(model()), use("10.7.0")
    runtime = later.trt.Runtime(later.log)
    assert runtime.deserialize_cuda_engine(plan) is None
    runtime.engine_host_code_allowed = True
    assert runtime.deserialize_cuda_engine(plan) is not None


def test_plan_has_the_buffer_protocol_and_neither_length_nor_items(use: Make) -> None:
    plan = use().plan(model())
    assert len(bytes(plan)) == plan.nbytes
    with pytest.raises(TypeError):
        len(plan)
    with pytest.raises(TypeError):
        plan[:4]


@pytest.mark.parametrize(("version", "kind"), [("8.6.1", "INT32"), ("10.3.0", "INT64")])
def test_int64_output_is_int32_in_8_6(use: Make, version: str, kind: str) -> None:
    data = model(*NODES[:3], outputs=(("ids", IDS, (1, 4, 6)),))
    run = running(use(version), data)
    assert run.engine.get_tensor_dtype("ids").name == kind
    run.address()
    run.show(pixels_of())
    assert run.execute()
    run.wait()
    raw = run.memory["ids"].cpu[: 24 * run.engine.get_tensor_dtype("ids").itemsize]
    found = raw.view(np.int32 if kind == "INT32" else np.int64)
    assert found.tolist() == expected(pixels_of()).ravel().tolist()


@pytest.mark.parametrize("verbosity", ["DETAILED", "LAYER_NAMES_ONLY"])
def test_inspector_has_only_names_unless_the_build_was_detailed(use: Make, verbosity: str) -> None:
    case = use()
    case.config.profiling_verbosity = getattr(case.trt.ProfilingVerbosity, verbosity)
    inspector = case.engine(model()).create_engine_inspector()
    layers = json.loads(inspector.get_engine_information(case.trt.LayerInformationFormat.JSON))
    first = layers["Layers"][1]
    if verbosity == "DETAILED":
        assert (first["Name"], first["Outputs"][0]["Format/Datatype"]) == ("scaled", "Float")
    else:
        assert first == "scaled"


# Running.


def test_work_is_done_when_the_stream_is_waited_for(use: Make) -> None:
    run = running(use())
    assert run.address()
    run.show(pixels_of())
    before = run.labels().copy()
    assert run.execute()
    assert np.array_equal(run.labels(), before)
    run.wait()
    assert np.array_equal(run.labels(), expected(pixels_of()))


def test_missing_address_shape_or_memory_is_false_and_logged(use: Make) -> None:
    run = running(case := use())
    assert run.execute() is False
    assert "Address is not set for tensor frame" in case.errors
    run = running(case := use(), memory=False)
    run.address()
    assert run.execute() is False
    assert "device memory is not set" in case.errors


def test_address_that_is_none_or_of_an_unknown_tensor_is_refused(use: Make) -> None:
    context = running(use()).context
    with pytest.raises(TypeError):
        context.set_tensor_address("frame", None)
    assert context.set_tensor_address("no tensor", 4096) is False


def test_thread_without_a_context_cannot_run(use: Make) -> None:
    run = running(use())
    run.address()
    run.gpu.pop()
    with pytest.raises(CudaFault):
        run.execute()
    run.gpu.push()


def opened(use: Make, version: str) -> Use:
    case = use(version)
    profile = case.builder.create_optimization_profile()
    profile.set_shape("frame", (1, *PICTURE[1:]), (2, *PICTURE[1:]), (2, *PICTURE[1:]))
    case.config.add_optimization_profile(profile)
    return case


def test_open_shape_must_be_set_within_the_profile(use: Make) -> None:
    case = opened(use, "10.3.0")
    run = running(case, dynamic())
    run.address()
    assert tuple(run.engine.get_tensor_shape("frame")) == (-1, *PICTURE[1:])
    assert run.execute() is False
    assert "shape of frame" in case.errors
    assert run.context.set_input_shape("frame", (3, *PICTURE[1:])) is False
    assert run.context.set_input_shape("frame", (2, *PICTURE[1:])) is True
    assert run.context.get_tensor_shape("labels") == (2, 4, 6)
    assert run.execute() is True


def test_8_6_shares_no_profile_between_two_contexts(use: Make) -> None:
    for version, shares in (("8.6.1", False), ("10.3.0", True)):
        engine = opened(use, version).engine(dynamic())
        both = [engine.create_execution_context() for _ in range(2)]
        shape = (1, *PICTURE[1:])
        assert [c.set_input_shape("frame", shape) for c in both] == [True, shares]


# Graphs and shared memory.


def test_graph_repeats_a_run_with_new_pixels(use: Make) -> None:
    run = running(use())
    run.address()
    assert run.execute()
    run.wait()
    graph = captured(run)
    run.show(pixels_of(1))
    run.gpu.launch(graph, run.stream)
    run.wait()
    assert np.array_equal(run.labels(), expected(pixels_of(1)))


def test_capture_without_a_run_before_it_fails(use: Make) -> None:
    run = running(case := use())
    run.address()
    run.gpu.begin_capture(run.stream, 1)
    assert run.execute() is False
    with pytest.raises(CudaFault):
        run.gpu.end_capture(run.stream)
    assert "run once before" in case.errors
    assert run.execute() is True, "the context is not lost with the capture"


def test_captured_context_belongs_to_its_graph(use: Make) -> None:
    run = running(case := use())
    run.address()
    run.execute()
    run.wait()
    captured(run)
    assert run.execute() is False
    assert run.context.set_tensor_address("frame", run.memory["frame"].address) is False
    assert len(case.fake.faults) == 2


@pytest.mark.parametrize("what", ["DLA", "emits a profile"])
def test_dla_and_a_context_that_emits_a_profile_cannot_be_captured(use: Make, what: str) -> None:
    case = use(dla_cores=1)
    if what == "DLA":
        case.config.default_device_type = case.trt.DeviceType.DLA
        case.config.DLA_core = 0
        case.flag("FP16")
        case.flag("GPU_FALLBACK")
    run = running(case)
    if what != "DLA":
        run.context.profiler = case.trt.Profiler()
    run.address()
    run.execute()
    run.wait()
    run.gpu.begin_capture(run.stream, 1)
    assert run.execute() is False
    assert what in case.errors


def test_8_6_is_given_memory_by_a_property_that_cannot_be_read(use: Make) -> None:
    case = use("8.6.1")
    engine = case.engine(model())
    context = engine.create_execution_context_without_device_memory()
    run = Running(case.gpu, engine, context)
    run.address()
    assert run.execute() is False
    context.device_memory = case.gpu.allocate("device", engine.device_memory_size).address
    assert run.execute() is True
    with pytest.raises(AttributeError):
        _ = context.device_memory


def test_two_streams_do_not_share_activation_memory(use: Make) -> None:
    first = running(case := use(), memory=False)
    strategy = case.trt.ExecutionContextAllocationStrategy.USER_MANAGED
    engine = first.engine
    second = Running(case.gpu, engine, engine.create_execution_context(strategy))
    memory = case.gpu.allocate("device", engine.device_memory_size_v2)
    for run in (first, second):
        run.address()
        run.context.set_device_memory(memory.address, memory.cpu.size)
    assert first.execute() is True
    assert second.execute() is False
    assert len(case.fake.faults) == 1
    second.stream = first.stream
    assert second.execute() is True, "in one stream they follow each other"


def test_activations_overwrite_what_lies_in_their_memory(use: Make) -> None:
    run = running(case := use(), memory=False)
    size = run.engine.device_memory_size_v2
    memory = case.gpu.allocate("device", size)
    memory.cpu[:] = 1
    run.address()
    run.context.set_device_memory(memory.address + 1, size)
    assert run.execute() is False, "it was not aligned"
    run.context.set_device_memory(memory.address, size)
    assert run.execute() is True
    run.wait()
    assert not np.any(memory.cpu == 1)
