"""Plans on a simulated GPU: what is loaded, what is refused, and what is given back."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from edgeseg.errors import DeviceError, EngineMismatch
from tests.tensorrt.conftest import Installed
from tests.tensorrt.running import (
    DISCRETE,
    altered,
    compiled,
    image,
    on,
    opened,
    run,
    wanted,
)
from tests.tensorrt.small_graphs import FRAME, serialized

if TYPE_CHECKING:
    from edgeseg.backends.tensorrt.runner import TensorRTRunner

pytestmark = [pytest.mark.needs("onnx", "onnxruntime"), pytest.mark.usefixtures("nothing_is_left")]


def test_masks_are_those_of_the_graph_in_every_version(runner: "TensorRTRunner") -> None:
    slot = runner.new_slot()
    for seed in range(2):
        found = run(runner, slot, image(seed))
        assert np.mean(found == wanted(image(seed))) > 0.99  # a real GPU rounds in another order
    assert slot.stages_ms["infer"] > 0
    assert (slot.pixels.dtype, slot.labels.dtype) == (np.uint8, np.uint8)
    assert slot.pixels.shape == (*FRAME, 3)


@pytest.mark.parametrize(
    ("trt", "mode"),
    [
        (("10.3.0", {}), "mapped"),
        (("10.3.0", {"gpu": {"compute_capability": (6, 2)}}), "managed"),
        (("10.3.0", {"gpu": DISCRETE}), "copy"),
    ],
    indirect=["trt"],
)
def test_memory_follows_from_what_the_gpu_says_of_itself(
    runner: "TensorRTRunner", mode: str
) -> None:
    assert runner.memory_mode == mode


@on(gpu={"can_map_host": False})
def test_mapped_memory_is_refused_where_the_gpu_cannot_map(trt: Installed, plan: bytes) -> None:
    with pytest.raises(DeviceError, match="Orin cannot reach the host's memory") as caught:
        opened(trt, plan, memory="mapped")
    assert "copy" in caught.value.fix


@pytest.mark.parametrize("damage", ["cut", "grown", "flipped"])
@on()
def test_a_damaged_plan_never_reaches_tensorrt(trt: Installed, plan: bytes, damage: str) -> None:
    flipped = bytearray(plan)
    flipped[-100] ^= 1
    damaged = {"cut": plan[:-1], "grown": plan + b"\0", "flipped": bytes(flipped)}[damage]
    with pytest.raises(EngineMismatch) as caught:
        opened(trt, damaged)
    assert caught.value.fix == "edgeseg build FOLDER --backend tensorrt"
    assert trt.fake.deserialized == 0


@pytest.mark.parametrize("header", [b"", b"[]\n", b"{}\n", b"\xff\n"])
@on()
def test_bytes_that_are_no_plan_never_reach_tensorrt(trt: Installed, header: bytes) -> None:
    with pytest.raises(EngineMismatch):
        opened(trt, header + b"something else")
    assert trt.fake.deserialized == 0


@on()
def test_a_plan_without_labels_is_refused(trt: Installed, tmp_path: Path) -> None:
    model = onnx.load_from_string(serialized("float"))
    (last,) = [node for node in model.graph.node if "labels" in node.output]
    last.output[0] = model.graph.output[0].name = "mask"
    plan = compiled(trt, tmp_path, bytes(model.SerializeToString()))
    with pytest.raises(EngineMismatch, match="takes frame and gives mask, not frame and labels"):
        opened(trt, plan)


@on()
def test_a_plan_of_another_gpu_is_refused_in_tensorrts_own_words(
    trt: Installed, plan: bytes
) -> None:
    assert trt.gpu is not None
    trt.gpu.compute_capability = (8, 9)
    with pytest.raises(EngineMismatch, match="incompatible device") as caught:
        opened(trt, plan)
    assert "Engine deserialization failed" in caught.value.problem


@pytest.mark.parametrize("cores", [0, 1])
@on()
def test_a_plan_for_a_dla_core_that_is_not_here_is_refused(
    trt: Installed, plan: bytes, cores: int
) -> None:
    object.__setattr__(trt.fake.board, "dla_cores", cores)
    with pytest.raises(EngineMismatch, match=f"DLA core 1, and this machine has {cores}"):
        opened(trt, altered(plan, dla=1))


@on()
def test_a_version_compatible_plan_may_bring_code_of_its_own(
    trt: Installed, tmp_path: Path
) -> None:
    plan = compiled(trt, tmp_path, serialized("float"), version_compatible=True)
    opened(trt, plan).close()
    with pytest.raises(EngineMismatch, match="host code"):
        opened(trt, altered(plan, version_compatible=False))


@on()
def test_more_cameras_than_the_plan_takes_are_refused_in_tensorrts_own_words(
    trt: Installed, tmp_path: Path
) -> None:
    plan = compiled(trt, tmp_path, serialized("cameras"), cameras=2)
    runner = opened(trt, altered(plan, cameras=3))
    with pytest.raises(DeviceError, match=r"shape \(3, 60, 80, 3\) for frame: .*profile"):
        runner.new_slot()
    runner.close()


@pytest.mark.parametrize(
    ("refused", "problem"),
    [("set_tensor_address", "the address of labels"), ("execute_async_v3", "did not run the plan")],
)
@on("8.6.1")
def test_what_tensorrt_refuses_by_false_is_an_error(
    trt: Installed,
    runner: "TensorRTRunner",
    monkeypatch: pytest.MonkeyPatch,
    refused: str,
    problem: str,
) -> None:
    made = trt.tensorrt.IExecutionContext
    right = getattr(made, refused)

    def refuse(self: object, first: object, *rest: object) -> object:
        return right(self, first, *rest) if first == "frame" else self._refused("a reason")

    monkeypatch.setattr(made, refused, refuse)
    with pytest.raises(DeviceError, match=f"{problem}: .*a reason"):
        runner.new_slot()


@on()
def test_a_gpu_without_memory_left_says_so_and_keeps_nothing(trt: Installed, plan: bytes) -> None:
    runner = opened(trt, plan)
    assert trt.gpu is not None
    trt.gpu.memory_mib = 1
    with pytest.raises(DeviceError, match="memory"):
        _ = [runner.new_slot() for _ in range(1000)]
    runner.close()


@pytest.mark.parametrize("memory", ["mapped", "managed", "copy"])
@pytest.mark.parametrize(
    "trt",
    [("10.3.0", {"package": package}) for package in ("pycuda", "cuda")],
    indirect=True,
    ids=["pycuda", "cuda"],
)
def test_closing_waits_for_what_runs_and_ends_the_slots(
    trt: Installed, plan: bytes, memory: str
) -> None:
    runner = opened(trt, plan, memory=memory, cuda_graph=False)
    slot = runner.new_slot()
    runner.launch(slot)
    runner.close()
    runner.close()
    assert trt.fake.pending == {}
    assert list(trt.fake.contexts) == []
    for late in (lambda: runner.launch(slot), slot.pending, runner.new_slot):
        with pytest.raises(DeviceError, match="closed"):
            late()


@pytest.mark.parametrize("trt", ["8.6.1", "10.3.0", "11.4.0.106"], indirect=True)
def test_a_plan_without_activations_runs(
    trt: Installed, plan: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = trt.tensorrt.ICudaEngine
    right = kind._setup

    def without(self: object, header: dict[str, object], **rest: object) -> None:
        right(self, header={**header, "activations": 0}, **rest)

    monkeypatch.setattr(kind, "_setup", without)
    runner = opened(trt, plan)
    np.testing.assert_array_equal(run(runner, runner.new_slot(), image()), wanted(image()))
    runner.close()


@pytest.mark.parametrize("memory", ["mapped", "copy"])
@on()
def test_slots_of_a_closed_engine_are_empty_and_not_memory_that_is_gone(
    trt: Installed, plan: bytes, memory: str
) -> None:
    runner = opened(trt, plan, memory=memory)
    slot = runner.new_slot()
    runner.close()
    assert (slot.pixels.size, slot.labels.size, slot.inputs, slot.outputs) == (0, 0, {}, {})
    with pytest.raises(ValueError, match="could not broadcast"):
        np.copyto(slot.pixels, image())


@pytest.mark.parametrize(
    "trt",
    [("10.3.0", {"package": package, "gpu": DISCRETE}) for package in ("pycuda", "cuda")],
    indirect=True,
    ids=["pycuda", "cuda"],
)
def test_a_slot_that_cannot_be_made_leaves_nothing_behind(
    trt: Installed, runner: "TensorRTRunner", monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = runner.new_slot()
    runner.new_slot()  # in the second lane
    assert trt.gpu is not None
    before = trt.gpu.leaks()
    kind = trt.tensorrt.IExecutionContext
    with monkeypatch.context() as patch:
        patch.setattr(kind, "set_tensor_address", lambda *_: False)
        with pytest.raises(DeviceError, match="the address"):
            runner.new_slot()
    assert trt.gpu.leaks() == before
    for one in (slot, runner.new_slot()):
        np.testing.assert_array_equal(run(runner, one, image()), wanted(image()))


@on()
def test_closing_waits_for_a_thread_that_is_about_to_launch(
    trt: Installed, plan: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = opened(trt, plan, cuda_graph=False)
    slot = runner.new_slot()
    kind = trt.tensorrt.IExecutionContext
    right, inside, go_on = kind.execute_async_v3, threading.Event(), threading.Event()

    def slow(self: object, stream: int) -> object:
        inside.set()
        assert go_on.wait(10)
        return right(self, stream)

    monkeypatch.setattr(kind, "execute_async_v3", slow)
    threads = [
        threading.Thread(target=call) for call in (lambda: runner.launch(slot), runner.close)
    ]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    threads[1].join(0.05)
    assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join()
    assert trt.fake.pending == {}
    with pytest.raises(DeviceError, match="closed"):
        slot.pending()
