"""Plans that smooth over time: the states of cameras in the GPU's memory."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import edgeseg
from edgeseg.errors import DeviceError
from edgeseg.graph.float_borders import with_float_borders
from edgeseg.graph.smooth import float_nodes, smoothed
from edgeseg.graph.typed import typed
from edgeseg.types import CompileOptions, Pixels, Precision, Size
from tests.small import write_network
from tests.tensorrt.conftest import Installed
from tests.tensorrt.running import compiled, image, on, opened, run, wanted
from tests.tensorrt.small_graphs import serialized

pytestmark = [pytest.mark.needs("onnx", "onnxruntime"), pytest.mark.usefixtures("nothing_is_left")]

SHAPE = (1, 5, 12, 16)


def graph() -> onnx.ModelProto:
    return smoothed(onnx.load_from_string(serialized("float")), 0.8)


@pytest.fixture
def plan(trt: Installed, tmp_path: Path) -> bytes:
    return compiled(trt, tmp_path, graph().SerializeToString())


def film(seed: int) -> list[Pixels]:
    """Noisy frames of one scene."""
    rng = np.random.default_rng(seed)
    frames = [image(seed) + rng.normal(0, 10, image(seed).shape) for _ in range(4)]
    return [np.clip(frame, 0, 255).astype(np.uint8) for frame in frames]


def expected(frames: list[Pixels]) -> list[Pixels]:
    """What ONNX Runtime makes of the graph, its state carried by hand."""
    session = onnxruntime.InferenceSession(
        graph().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    state, found = np.zeros(SHAPE, np.float32), []
    for frame in frames:
        labels, state = session.run(None, {"frame": frame[None], "state": state})
        found.append(labels[0])
    return found


def check(found: list[Pixels], masks: list[Pixels]) -> None:
    np.testing.assert_array_equal(np.stack(found), np.stack(masks))


def test_every_version_carries_the_state_as_the_graph_says(trt: Installed, plan: bytes) -> None:
    runner = opened(trt, plan)
    slots, state, frames = [runner.new_slot() for _ in range(2)], runner.new_state(), film(0)
    found = []
    for index, frame in enumerate(frames):
        slots[index % 2].state = state
        found.append(run(runner, slots[index % 2], frame))
    check(found, expected(frames))
    assert not (np.stack(found) == np.stack([wanted(frame) for frame in frames])).all()
    runner.close()


@pytest.mark.parametrize("memory", ["mapped", "managed", "copy"])
@on()
def test_frames_that_nobody_waited_for_follow_each_other(
    trt: Installed, plan: bytes, memory: str
) -> None:
    runner = opened(trt, plan, workers=3, memory=memory)
    slots, state, frames = [runner.new_slot() for _ in range(4)], runner.new_state(), film(1)
    for slot, frame in zip(slots, frames, strict=True):
        np.copyto(slot.pixels, frame)
        slot.state = state
        runner.launch(slot)
    assert len({stream for _, stream, _ in trt.fake.pending.values()}) == 1
    for slot in slots:
        slot.pending()
    check([slot.labels for slot in slots], expected(frames))
    runner.close()


@on()
def test_a_slot_without_a_state_labels_every_picture_alone(trt: Installed, plan: bytes) -> None:
    runner = opened(trt, plan)
    slot, state = runner.new_slot(), runner.new_state()
    for frame in film(2):
        slot.state = state
        run(runner, slot, frame)
        slot.state = None
        np.testing.assert_array_equal(run(runner, slot, frame), wanted(frame))
    assert set(slot.inputs) == {"frame"}
    runner.close()


@on()
def test_cameras_are_apart_and_one_that_was_reset_knows_nothing(
    trt: Installed, plan: bytes
) -> None:
    runner = opened(trt, plan)
    slot, films = runner.new_slot(), [film(3), film(4)]
    states = [runner.new_state() for _ in films]
    found: list[list[Pixels]] = [[], []]
    for turn, frames in enumerate(zip(*films, strict=True)):
        if turn == 2:
            states[1].reset()
        for index, frame in enumerate(frames):
            slot.state = states[index]
            found[index].append(run(runner, slot, frame))
    check(found[0], expected(films[0]))
    check(found[1], expected(films[1][:2]) + expected(films[1][2:]))
    runner.close()


@on("10.3.0")
def test_the_typed_dialect_carries_a_state_of_float32(trt: Installed, tmp_path: Path) -> None:
    (tmp_path / "graph.typed.onnx").write_bytes(
        typed(graph(), keep_fp32=float_nodes(graph())).SerializeToString()
    )
    options = CompileOptions(precision=Precision.FP16)
    runner = opened(trt, trt.module.compile(tmp_path / "graph.typed.onnx", options))
    slot, state = runner.new_slot(), runner.new_state()
    slot.state = state
    for frame, mask in zip(film(5), expected(film(5)), strict=True):
        assert (run(runner, slot, frame) == mask).mean() > 0.98
    runner.close()


@on()
def test_a_tensorrt_without_bytes_at_its_borders_carries_it_too(
    trt: Installed, tmp_path: Path
) -> None:
    runner = opened(trt, compiled(trt, tmp_path, with_float_borders(graph().SerializeToString())))
    slot = runner.new_slot()
    slot.state = runner.new_state()
    check([run(runner, slot, frame) for frame in film(6)], expected(film(6)))
    runner.close()


@on()
def test_a_plan_that_smooths_nothing_has_no_state(trt: Installed, tmp_path: Path) -> None:
    runner = opened(trt, compiled(trt, tmp_path, serialized("float")))
    assert runner.new_state() is None
    runner.close()


@on()
def test_a_state_goes_with_its_engine(trt: Installed, plan: bytes) -> None:
    runner = opened(trt, plan)
    state = runner.new_state()
    runner.close()
    for use in (state.reset, runner.new_state):
        with pytest.raises(DeviceError, match="closed"):
            use()


@on("10.3.0")
def test_a_folder_from_a_machine_without_a_gpu_smooths_on_one(
    trt: Installed, tmp_path: Path
) -> None:
    del trt  # it is installed
    edgeseg.build(
        write_network(tmp_path / "tiny.onnx"),
        precision="fp16",
        size=Size(48, 64),
        frame=Size(60, 80),
        smooth=0.8,
        until_graph=True,
        out=tmp_path / "engine",
    )
    with edgeseg.build(tmp_path / "engine", backend="tensorrt") as engine:
        kept = engine.manifest.fp32_nodes
        state, slot, frames = engine.new_state(), engine.new_slot(), film(7)
        assert state is not None
        slot.state = state
        for frame in frames:
            np.copyto(slot.pixels, frame)
            engine.launch(slot)
        carried = slot.labels.copy()
        assert (carried != engine(frames[-1])).any()
        state.reset()
        np.copyto(slot.pixels, frames[-1])
        engine.launch(slot)
        np.testing.assert_array_equal(slot.labels, engine(frames[-1]))
    assert "Softmax_smooth_given" in kept
