import contextlib

import numpy as np
import pytest

from edgeseg.device.memory import Kind
from edgeseg.errors import DeviceError
from tests.device.cuda_results import GpuFault
from tests.device.fakes import Opened, fake_gpu
from tests.device.gpu_parts import OFFSET
from tests.device.steps import SIZE, add_one, blocks, given_back, in_thread


@pytest.mark.parametrize("kind", [Kind.PINNED, Kind.MAPPED, Kind.MANAGED])
def test_memory_that_the_cpu_reaches_is_zeroed_and_aligned(opened: Opened, kind: Kind) -> None:
    (block,) = blocks(opened.device, kind)
    with given_back(block):
        assert block.host.dtype == np.uint8
        assert block.host.shape == (SIZE,)
        assert block.host.flags.writeable
        assert block.host.ctypes.data % 64 == 0
        assert not block.host.any()


def test_the_gpu_reaches_mapped_memory_where_the_cpu_wrote_it(opened: Opened) -> None:
    stream = opened.device.stream()
    (block,) = blocks(opened.device, Kind.MAPPED)
    with given_back(stream, block):
        assert block.pointer == block.host.ctypes.data + OFFSET
        block.host[:] = 4
        add_one(opened, block, stream)
        stream.synchronize()
        assert (block.host == 5).all()
    assert opened.gpu.copies == []


def test_pinned_memory_has_no_address_for_the_gpu(opened: Opened) -> None:
    (block,) = blocks(opened.device, Kind.PINNED)
    with given_back(block):
        assert block.pointer == 0


def test_device_memory_is_out_of_the_cpus_reach(opened: Opened) -> None:
    (block,) = blocks(opened.device, Kind.DEVICE)
    with given_back(block):
        assert opened.gpu.view(block.pointer, SIZE).size == SIZE
        with pytest.raises(DeviceError, match="out of the CPU's reach"):
            _ = block.host


def test_copies_land_when_the_stream_is_waited_for_and_not_before(opened: Opened) -> None:
    device, stream = opened.device, opened.device.stream()
    source, far, back = blocks(device, Kind.PINNED, Kind.DEVICE, Kind.MAPPED)
    with given_back(stream, source, far, back):
        source.host[:] = np.arange(SIZE) % 251
        device.copy(far, source, stream)
        device.copy(back, far, stream)
        assert not back.host.any()
        assert opened.gpu.copies == []
        stream.synchronize()
        assert np.array_equal(back.host, source.host)
        assert opened.gpu.copies == [("HtoD", SIZE), ("DtoH", SIZE)]


def test_copy_fills_the_start_of_larger_memory_and_refuses_smaller(opened: Opened) -> None:
    device, stream = opened.device, opened.device.stream()
    far, eight = device.allocate(Kind.DEVICE, 8), device.allocate(Kind.PINNED, 8)
    (large,) = blocks(device, Kind.PINNED)
    large.host[:] = 3
    with given_back(stream, far, large, eight):
        device.copy(far, eight, stream)
        device.copy(large, far, stream)
        stream.synchronize()
        assert large.host.tolist() == [0] * 8 + [3] * (SIZE - 8)
        with pytest.raises(ValueError, match="1000 bytes do not go into 8"):
            device.copy(far, large, stream)


def test_managed_memory_goes_to_the_stream_and_comes_back_to_the_cpu(opened: Opened) -> None:
    stream = opened.device.stream()
    (block,) = blocks(opened.device, Kind.MANAGED)
    with given_back(stream, block):
        assert block.pointer == block.host.ctypes.data
        for frame in (10, 20):
            block.host[:] = frame
            block.attach(stream)
            add_one(opened, block, stream)
            block.attach(None)
            assert (block.host == frame + 1).all()


def test_managed_memory_comes_back_behind_its_own_work_and_waits_for_no_other(
    opened: Opened,
) -> None:
    device, stream, event = (
        opened.device, opened.device.stream(), opened.device.event(blocking=True),
    )  # fmt: skip
    first, second = blocks(device, Kind.MANAGED, Kind.MANAGED)
    with given_back(stream, event, first, second):
        for block in (first, second):
            block.host[:] = 10
            block.attach(stream)
            add_one(opened, block, stream)
            block.detach()
            if block is first:
                event.record(stream)
        assert not (first.host == 11).any(), "detaching has waited"
        event.synchronize()
        assert (first.host == 11).all()
        assert not (second.host == 11).any(), "waiting for one frame has waited for the next"
        stream.synchronize()
        assert (second.host == 11).all()


def test_managed_memory_that_still_belongs_to_the_cpu_is_a_fault_on_the_gpu(opened: Opened) -> None:
    stream = opened.device.stream()
    (block,) = blocks(opened.device, Kind.MANAGED)
    with given_back(stream, block):
        add_one(opened, block, stream)
        with pytest.raises(GpuFault, match="attached to 'host'"):
            stream.synchronize()


def test_attaching_is_left_out_where_cpu_and_gpu_may_both_use_managed_memory(package: str) -> None:
    with fake_gpu(package, concurrent_managed=True) as gpu:
        from edgeseg.device.choice import open_device

        device = open_device()
        with device.active():
            stream = device.stream()
            (block,) = blocks(device, Kind.MANAGED)
            block.attach(stream)
            add_one(Opened(gpu, device), block, stream)
            block.attach(None)
            assert not block.host.any()
            stream.synchronize()
            assert (block.host == 1).all()
            block.free()
            stream.close()
        device.close()
        assert gpu.leaks() == []


@pytest.mark.parametrize("kind", [Kind.PINNED, Kind.MAPPED, Kind.DEVICE])
def test_attaching_means_nothing_to_other_memory(opened: Opened, kind: Kind) -> None:
    stream = opened.device.stream()
    (block,) = blocks(opened.device, kind)
    with given_back(stream, block):
        block.attach(stream)
        block.attach(None)


@pytest.mark.parametrize(("integrated", "swap"), [(True, True), (False, False)])
def test_memory_that_is_not_there_is_refused_with_what_is(
    package: str, integrated: bool, swap: bool
) -> None:
    with fake_gpu(package, memory_mib=64, integrated=integrated) as gpu:
        from edgeseg.device.choice import open_device

        device = open_device()
        with device.active():
            taken = device.allocate(Kind.DEVICE, 24 << 20)
            with pytest.raises(DeviceError) as caught:
                device.allocate(Kind.DEVICE, 50 << 20)
            assert device.free_memory_mib() == 40
            taken.free()
        device.close()
        assert "50.0 MiB" in caught.value.problem
        assert "40 of 64 MiB are free" in caught.value.problem
        assert ("swap" in caught.value.problem) is swap
        assert "close other programs" in caught.value.fix
        assert gpu.leaks() == []


def test_giving_back_twice_is_fine_and_use_afterwards_is_an_error(opened: Opened) -> None:
    device, stream, event = (
        opened.device, opened.device.stream(), opened.device.event(blocking=True),
    )  # fmt: skip
    for block in blocks(device, *Kind):
        with given_back(block, block), contextlib.suppress(DeviceError):
            assert block.host.size == SIZE
        with pytest.raises(DeviceError, match="was freed"):
            _ = block.host
    device.begin_capture(stream)
    graph = device.end_capture(stream)
    with given_back(graph, graph, stream, stream, event, event):
        pass
    device.close()
    device.close()


@pytest.mark.parametrize("where", ["inside a block", "outside", "in another thread"])
def test_closed_device_has_given_back_its_context(package: str, where: str) -> None:
    with fake_gpu(package) as gpu:
        from edgeseg.device.choice import open_device

        device = open_device()
        if where == "inside a block":
            with device.active(), device.active():
                device.close()
                device.event(blocking=True).close()
        elif where == "outside":
            device.close()
        else:
            in_thread(device.close)
        assert gpu.leaks() == []


def test_device_that_was_closed_says_so(package: str) -> None:
    with fake_gpu(package):
        from edgeseg.device.choice import open_device

        device = open_device()
        device.close()
        with pytest.raises(DeviceError, match="the GPU was closed"), device.active():
            pass


def test_closing_needs_no_driver_beside_pycuda(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library() -> None:
        raise DeviceError("libcuda.so.1 cannot be loaded")

    with fake_gpu("pycuda") as gpu:
        from edgeseg.device import capture
        from edgeseg.device.choice import open_device

        monkeypatch.setattr(capture, "libcuda", no_library)
        open_device().close()
        assert gpu.retained == 0


class Contexts:
    """The driver's stack of a thread, of which pycuda knows one part."""

    def __init__(self, *contexts: int) -> None:
        self.stack = list(contexts)

    def cuCtxGetCurrent(self, found: object) -> int:  # noqa: N802
        found._obj.value = self.stack[-1] if self.stack else None
        return 0

    def cuCtxPopCurrent_v2(self, found: object) -> int:  # noqa: N802
        found._obj.value = self.stack.pop()
        return 0


@pytest.mark.parametrize(
    ("before", "left"),
    [([], [7]), ([3], [3, 7]), ([3], [7, 3]), ([7], [7, 7])],
    ids=["none", "of another package", "of pycuda.autoinit", "of PyTorch"],
)
def test_releasing_leaves_the_context_current_that_was(
    monkeypatch: pytest.MonkeyPatch, before: list[int], left: list[int]
) -> None:
    from edgeseg.device import capture

    driver = Contexts(*before)
    monkeypatch.setattr(capture, "libcuda", lambda: driver)
    with capture.same_context():
        driver.stack = left.copy()  # what pycuda's detach leaves there
    assert driver.stack[-1:] == before[-1:]


def test_facts_are_what_the_gpu_says(package: str) -> None:
    said = {
        "name": "NVIDIA Thor", "compute_capability": (11, 0), "multiprocessors": 20,
        "integrated": True, "can_map_host": True, "concurrent_managed": True,
        "pageable_access": True, "driver": (13, 2),
    }  # fmt: skip
    with fake_gpu(package, memory_mib=125_772, **said):
        from edgeseg.device.choice import open_device

        device = open_device()
        assert {name: getattr(device.facts, name) for name in said} == said
        assert device.facts.total_memory_mib == 125_772
        device.close()


def test_attribute_that_an_old_pycuda_lacks_is_taken_for_no(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Old:
        INTEGRATED, CAN_MAP_HOST_MEMORY, MULTIPROCESSOR_COUNT = 18, 19, 16

    with fake_gpu("pycuda", concurrent_managed=True):
        import pycuda.driver

        from edgeseg.device.choice import open_device

        monkeypatch.setattr(pycuda.driver, "device_attribute", Old)
        monkeypatch.setattr(
            pycuda.driver.Device,
            "get_attribute",
            lambda _, number: {18: 1, 19: 1, 16: 8}[number],
        )
        device = open_device()
        assert device.facts.concurrent_managed is False
        assert device.facts.integrated is True
        device.close()
