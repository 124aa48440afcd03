import contextlib

import pytest

from edgeseg.device.memory import Kind
from edgeseg.errors import DeviceError
from tests.device.fakes import Opened, fake_gpu
from tests.device.gpu_parts import Mark, Queue
from tests.device.steps import SIZE, add_one, blocks, given_back, in_thread


def test_captured_work_runs_at_each_launch_and_not_before(opened: Opened) -> None:
    device, stream = opened.device, opened.device.stream()
    source, far = blocks(device, Kind.PINNED, Kind.DEVICE)
    device.begin_capture(stream)
    device.copy(far, source, stream)
    add_one(opened, far, stream)
    device.copy(source, far, stream)
    graph = device.end_capture(stream)
    with given_back(graph, stream, source, far):
        stream.synchronize()
        assert not source.host.any()
        for launches in (1, 2):
            graph.launch(stream)
            stream.synchronize()
            assert (source.host == launches).all()


def test_refused_capture_leaves_the_stream_usable(package: str) -> None:
    with fake_gpu(package, capture_result=801) as gpu:
        from edgeseg.device.choice import open_device

        device = open_device()
        with device.active():
            stream = device.stream()
            source, far = blocks(device, Kind.PINNED, Kind.DEVICE)
            with pytest.raises(DeviceError, match="CUDA_ERROR_NOT_SUPPORTED"):
                device.begin_capture(stream)
            device.copy(far, source, stream)
            stream.synchronize()
            assert gpu.copies == [("HtoD", SIZE)]
            for thing in (source, far):
                thing.free()
            stream.close()
        device.close()
        assert gpu.leaks() == []


def test_capture_that_something_spoiled_ends_and_leaves_the_stream_usable(opened: Opened) -> None:
    device, stream = opened.device, opened.device.stream()
    source, far = blocks(device, Kind.PINNED, Kind.DEVICE)
    with given_back(stream, source, far):
        device.begin_capture(stream)
        with pytest.raises(DeviceError, match="when stream is capturing"):
            device.allocate(Kind.DEVICE, SIZE)
        with pytest.raises(DeviceError, match="CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"):
            device.end_capture(stream)
        device.copy(far, source, stream)
        stream.synchronize()
        assert opened.gpu.copies == [("HtoD", SIZE)]


def test_waiting_for_a_stream_that_is_captured_is_an_error(opened: Opened) -> None:
    device, stream = opened.device, opened.device.stream()
    with given_back(stream):
        device.begin_capture(stream)
        with pytest.raises(DeviceError, match="when stream is capturing"):
            stream.synchronize()
        with pytest.raises(DeviceError):
            device.end_capture(stream)


def test_capture_is_not_spoiled_by_another_thread_that_allocates(opened: Opened) -> None:
    device, stream = opened.device, opened.device.stream()

    def allocate() -> None:
        with device.active():
            device.allocate(Kind.DEVICE, SIZE).free()

    device.begin_capture(stream)
    assert in_thread(allocate) is None
    with given_back(device.end_capture(stream), stream):
        pass


def test_pycuda_captures_by_cuda_bindings_where_they_are_installed() -> None:
    with fake_gpu("both") as gpu:
        from edgeseg.device.capture import BindingsRecorder, recorder
        from edgeseg.device.choice import open_device

        device = open_device()
        assert device.package.startswith("pycuda")
        assert isinstance(recorder(), BindingsRecorder)
        with device.active():
            stream = device.stream()
            source, far = blocks(device, Kind.PINNED, Kind.DEVICE)
            device.begin_capture(stream)
            device.copy(far, source, stream)
            graph = device.end_capture(stream)
            graph.launch(stream)
            stream.synchronize()
            assert gpu.copies == [("HtoD", SIZE)]
            with given_back(graph, stream, source, far):
                pass
        device.close()
        assert gpu.leaks() == []


def test_thread_without_an_active_block_is_refused_with_a_mend(opened: Opened) -> None:
    error = in_thread(lambda: opened.device.allocate(Kind.MAPPED, SIZE))
    assert isinstance(error, DeviceError)
    assert "invalid device context" in error.problem
    assert "with device.active()" in error.fix


def test_threads_share_the_context_each_in_a_block_of_its_own(opened: Opened) -> None:
    device = opened.device

    def loop(value: int) -> int:
        with device.active(), device.active():
            stream = device.stream()
            source, far = blocks(device, Kind.PINNED, Kind.DEVICE)
            source.host[:] = value
            device.copy(far, source, stream)
            stream.synchronize()
            with given_back(stream, source, far):
                return int(opened.gpu.view(far.pointer, SIZE).max())

    assert [in_thread(lambda v=value: loop(v)) for value in (3, 7)] == [3, 7]


def test_block_that_ends_in_an_error_pops_the_context(opened: Opened) -> None:
    before = opened.gpu.pushed()
    with contextlib.suppress(KeyError), opened.device.active():
        raise KeyError
    assert opened.gpu.pushed() == before


def test_events_take_the_time_between_two_marks(opened: Opened) -> None:
    device, stream = opened.device, opened.device.stream()
    first, last = device.event(blocking=False), device.event(blocking=False)
    source, far = blocks(device, Kind.PINNED, Kind.DEVICE)
    with given_back(stream, first, last, source, far):
        first.record(stream)
        for _ in range(3):
            device.copy(far, source, stream)
        last.record(stream)
        with pytest.raises(DeviceError, match="not ready"):
            last.ms_since(first)
        last.synchronize()
        assert last.ms_since(first) == pytest.approx(1.5)


def test_waiting_for_an_event_leaves_later_work_alone(opened: Opened) -> None:
    device, stream, event = (
        opened.device, opened.device.stream(), opened.device.event(blocking=True),
    )  # fmt: skip
    source, far = blocks(device, Kind.PINNED, Kind.DEVICE)
    with given_back(stream, event, source, far):
        device.copy(far, source, stream)
        event.record(stream)
        device.copy(source, far, stream)
        event.synchronize()
        assert opened.gpu.copies == [("HtoD", SIZE)]
        stream.synchronize()


@pytest.mark.parametrize(("blocking", "flags"), [(True, 1), (False, 0)])
def test_event_blocks_as_it_was_made_to(opened: Opened, blocking: bool, flags: int) -> None:
    event = opened.device.event(blocking=blocking)
    with given_back(event):
        marks = [thing for thing in opened.gpu.things() if isinstance(thing, Mark)]
        assert [mark.flags for mark in marks] == [flags]


def test_stream_does_not_wait_for_the_default_one(opened: Opened) -> None:
    stream = opened.device.stream()
    with given_back(stream):
        queues = [thing for thing in opened.gpu.things() if isinstance(thing, Queue)]
        assert [queue.blocking for queue in queues] == [False]
