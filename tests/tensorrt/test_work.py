"""What the frame of a slot goes through: streams, graphs, events and threads."""

import importlib
import logging
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeseg.errors import DeviceError
from edgeseg.types import Slot
from tests.device.gpu_parts import GraphExec, Mark
from tests.device.steps import in_thread
from tests.tensorrt.conftest import Installed
from tests.tensorrt.running import (
    DISCRETE,
    altered,
    image,
    on,
    opened,
    run,
    wanted,
)

if TYPE_CHECKING:
    from edgeseg.backends.tensorrt.runner import TensorRTRunner

pytestmark = [pytest.mark.needs("onnx", "onnxruntime"), pytest.mark.usefixtures("nothing_is_left")]

BLOCKING_SYNC = 1
"""CU_EVENT_BLOCKING_SYNC."""


@pytest.mark.parametrize(("memory", "streams"), [("mapped", 1), ("managed", 1), ("copy", 2)])
@on()
def test_copies_have_a_second_stream_with_activations_of_its_own(
    trt: Installed, plan: bytes, memory: str, streams: int
) -> None:
    runner = opened(trt, plan, workers=3, memory=memory, cuda_graph=False)
    slots = [runner.new_slot() for _ in range(3)]
    for seed, slot in enumerate(slots):
        np.copyto(slot.pixels, image(seed))
        runner.launch(slot)
    assert len({stream for _, stream, _ in trt.fake.pending.values()}) == streams
    assert len({activations for activations, _, _ in trt.fake.pending.values()}) == streams
    for seed, slot in enumerate(slots):
        slot.pending()
        np.testing.assert_array_equal(slot.labels, wanted(image(seed)))
    runner.close()


@on(gpu={"compute_capability": (5, 3)})
def test_waiting_for_a_frame_in_managed_memory_waits_for_no_frame_behind_it(
    trt: Installed, runner: "TensorRTRunner"
) -> None:
    slots = [runner.new_slot() for _ in range(2)]
    for seed, slot in enumerate(slots):
        np.copyto(slot.pixels, image(seed))
        runner.launch(slot)
    assert trt.gpu is not None
    clock = trt.gpu.clock_ms
    slots[0].pending()
    half = trt.gpu.clock_ms
    np.testing.assert_array_equal(slots[0].labels, wanted(image(0)))
    slots[1].pending()
    np.testing.assert_array_equal(slots[1].labels, wanted(image(1)))
    assert half - clock == pytest.approx(trt.gpu.clock_ms - half)


@on(gpu={"compute_capability": (5, 3)})
def test_a_thread_that_waits_for_its_frame_does_not_spoil_the_capture_of_a_new_slot(
    runner: "TensorRTRunner", trt: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeseg.device.pycuda import PycudaDevice

    slot = runner.new_slot()
    np.copyto(slot.pixels, image(1))
    begin, ended = PycudaDevice.begin_capture, []

    def begin_and_wait(self: PycudaDevice, stream: object) -> None:
        begin(self, stream)
        ended.append(in_thread(slot.pending))

    monkeypatch.setattr(PycudaDevice, "begin_capture", begin_and_wait)
    runner.launch(slot)
    other = runner.new_slot()
    assert ended == [None]
    assert graphs(trt) == 2
    np.testing.assert_array_equal(slot.labels, wanted(image(1)))
    np.testing.assert_array_equal(run(runner, other, image(2)), wanted(image(2)))


@on(gpu={"compute_capability": (5, 3)})
def test_managed_memory_is_the_cpus_again_after_a_frame_that_was_refused(
    trt: Installed, plan: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = opened(trt, plan, cuda_graph=False)
    slot = runner.new_slot()
    log = importlib.import_module("edgeseg.backends.tensorrt.log").LOG
    log.log(trt.tensorrt.ILogger.ERROR, "old news")
    kind = trt.tensorrt.IExecutionContext
    with monkeypatch.context() as patch:
        patch.setattr(kind, "execute_async_v3", lambda self, _: self._refused("a reason"))
        with pytest.raises(DeviceError, match=r"did not take a frame: .*a reason") as caught:
            runner.launch(slot)
    assert "old news" not in caught.value.problem
    np.testing.assert_array_equal(run(runner, slot, image(3)), wanted(image(3)))
    runner.close()


def graphs(trt: Installed) -> int:
    assert trt.gpu is not None
    return sum(isinstance(thing, GraphExec) for thing in trt.gpu.things())


@pytest.mark.parametrize("asked", [True, False])
@on()
def test_each_slot_has_a_graph_of_its_own_unless_told_otherwise(
    trt: Installed, plan: bytes, asked: bool
) -> None:
    runner = opened(trt, plan, cuda_graph=asked)
    slots = [runner.new_slot() for _ in range(3)]
    assert graphs(trt) == (3 if asked else 0)
    for slot in slots * 2:
        np.testing.assert_array_equal(run(runner, slot, image(1)), wanted(image(1)))
    runner.close()


@on("8.6.1", gpu={"capture_result": 900})
def test_a_driver_that_captures_nothing_is_told_of_once(
    trt: Installed, runner: "TensorRTRunner", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgeseg.backends.tensorrt.work")
    for slot in [runner.new_slot() for _ in range(2)]:
        np.testing.assert_array_equal(run(runner, slot, image()), wanted(image()))
    assert ["without a CUDA graph" in record.getMessage() for record in caplog.records] == [True]
    assert graphs(trt) == 0


@on(gpu=DISCRETE)
def test_a_plan_that_cannot_be_captured_gets_a_fresh_context(
    trt: Installed, runner: "TensorRTRunner", monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trt.tensorrt.IExecutionContext
    monkeypatch.setattr(made, "_can_be_captured", lambda self, _: self._refused("a loop"))
    slot = runner.new_slot()
    np.testing.assert_array_equal(run(runner, slot, image()), wanted(image()))
    assert len(trt.fake.contexts) == 1, "the context of the failed capture is gone"
    assert graphs(trt) == 0


@pytest.mark.parametrize(("sync", "flag"), [("blocking", BLOCKING_SYNC), ("spin", 0)])
@on()
def test_who_waits_sleeps_or_spins_as_asked(
    trt: Installed, plan: bytes, sync: str, flag: int
) -> None:
    runner = opened(trt, plan, sync=sync)
    runner.new_slot()
    assert trt.gpu is not None
    marks = [thing for thing in trt.gpu.things() if isinstance(thing, Mark)]
    assert [mark.flags & BLOCKING_SYNC for mark in marks] == [flag, flag]
    runner.close()


@pytest.mark.parametrize("memory", ["mapped", "managed", "copy"])
@on()
def test_threads_with_a_slot_each_do_not_disturb_each_other(
    trt: Installed, plan: bytes, memory: str
) -> None:
    runner = opened(trt, plan, workers=3, memory=memory)
    slots = [runner.new_slot() for _ in range(3)]
    right: list[bool] = []

    def work(slot: Slot, seeds: range) -> None:
        masks = ((run(runner, slot, image(seed)), wanted(image(seed))) for seed in seeds)
        right.extend(np.array_equal(found, mask) for found, mask in masks)

    threads = [
        threading.Thread(target=work, args=(slot, range(index, 12, 3)))
        for index, slot in enumerate(slots)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 12
    runner.close()


@on("8.6.1", dla_cores=2)
def test_a_plan_for_a_dla_is_run_without_a_graph(trt: Installed, plan: bytes) -> None:
    runner = opened(trt, altered(plan, dla=1))
    slot = runner.new_slot()
    np.testing.assert_array_equal(run(runner, slot, image()), wanted(image()))
    assert graphs(trt) == 0
    runner.close()
