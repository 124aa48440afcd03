"""What every backend that runs here keeps to: it works in the caller's memory, on every frame."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from edgeseg.backends import BACKENDS, backend
from edgeseg.errors import BuildError, EngineMismatch
from edgeseg.graph.prepare import PREPARATIONS
from edgeseg.types import CompileOptions, Precision, Runner, Slot
from tests.networks import CLASSES, picture
from tests.oracle import bilinear, labels_and_decided, run

FRAME = (60, 80)
RUNNING = [name for name in BACKENDS if name != "tensorrt"]  # which has tests of its own
COMPUTING = [name for name in RUNNING if name != "null"]

Array = np.ndarray
MakeSlot = Callable[[Runner], Slot]


@pytest.fixture(params=RUNNING)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return _module(request.param)


@pytest.fixture(params=COMPUTING)
def computing(request: pytest.FixtureRequest) -> ModuleType:
    return _module(request.param)


def _module(name: str) -> ModuleType:
    if name != "null":
        pytest.importorskip(name)
    return backend(name)


@pytest.fixture
def runner(module: ModuleType, graph: Path) -> Iterator[Runner]:
    loaded = module.load(module.compile(graph, CompileOptions()), threads=1)
    yield loaded
    loaded.close()


def wanted_labels(core: ModelProto, rgb: Array) -> tuple[Array, Array]:
    planes = bilinear(rgb.transpose(2, 0, 1), (48, 64))
    gain, bias = np.array([1 / 64, 1 / 50, 1 / 80]), np.array([-2.0, -2.25, -1.5])
    pixels = planes * gain.reshape(3, 1, 1) + bias.reshape(3, 1, 1)
    logits = run(core, {"pixels": pixels[None].astype(np.float32)})[0]
    return labels_and_decided(logits, FRAME)


def labels_of(runner: Runner, slot: Slot, image: Array) -> Array:
    np.copyto(slot.pixels, image)
    runner.launch(slot)
    return slot.labels.copy()


def test_the_borders_are_one_frame_in_and_its_labels_out(runner: Runner) -> None:
    for specs, name, shape in (
        (runner.inputs, "frame", (1, 60, 80, 3)),
        (runner.outputs, "labels", (1, 60, 80)),
    ):
        assert list(specs) == [name]
        assert (specs[name].name, specs[name].shape) == (name, shape)
        assert specs[name].dtype == np.uint8


def test_labels_are_written_into_the_given_memory(runner: Runner, new_slot: MakeSlot) -> None:
    slot = new_slot(runner)
    addresses = [slot.inputs["frame"].ctypes.data, slot.outputs["labels"].ctypes.data]
    image = picture(FRAME)
    for _ in range(3):
        slot.labels.fill(77)
        found = labels_of(runner, slot, image)
        assert found.max() < CLASSES
    assert [slot.inputs["frame"].ctypes.data, slot.outputs["labels"].ctypes.data] == addresses
    np.testing.assert_array_equal(slot.pixels, image)  # the input is read and no more


def test_memory_beside_the_slot_is_left_alone(runner: Runner) -> None:
    inputs, outputs = np.full((3, 60, 80, 3), 5, np.uint8), np.full((3, 60, 80), 77, np.uint8)
    slot = Slot(
        inputs={"frame": inputs[1:2]},
        outputs={"labels": outputs[1:2]},
        pixels=inputs[1],
        labels=outputs[1],
    )
    labels_of(runner, slot, picture(FRAME))
    assert outputs[1].max() < CLASSES
    assert (outputs[::2] == 77).all()
    assert (inputs[::2] == 5).all()


def test_a_second_launch_sees_the_new_frame(
    computing: ModuleType, graph: Path, core: ModelProto, new_slot: MakeSlot
) -> None:
    runner = computing.load(computing.compile(graph, CompileOptions()), threads=1)
    slot = new_slot(runner)
    for seed in (0, 1, 0):
        image = picture(FRAME, seed)
        wanted, decided = wanted_labels(core, image)
        np.testing.assert_array_equal(labels_of(runner, slot, image)[decided], wanted[decided])
    runner.close()


@pytest.mark.parametrize("seed", range(4))
def test_float_labels_are_numpys_wherever_the_best_two_differ(
    computing: ModuleType, graph: Path, core: ModelProto, new_slot: MakeSlot, seed: int
) -> None:
    runner = computing.load(computing.compile(graph, CompileOptions()), threads=1)
    image = picture(FRAME, seed)
    wanted, decided = wanted_labels(core, image)
    found = labels_of(runner, new_slot(runner), image)
    np.testing.assert_array_equal(found[decided], wanted[decided])
    assert decided.mean() > 0.99
    assert len(np.unique(wanted)) >= 3
    runner.close()


def test_two_workers_with_a_slot_each_find_what_one_finds(
    module: ModuleType, graph: Path, new_slot: MakeSlot
) -> None:
    plan = module.compile(graph, CompileOptions())
    images = [picture(FRAME, seed) for seed in range(6)]
    alone = module.load(plan, threads=1)
    slot = new_slot(alone)
    wanted = [labels_of(alone, slot, image) for image in images]
    alone.close()

    together = module.load(plan, workers=2, threads=2)
    slots = [new_slot(together) for _ in range(2)]
    found: list[list[Array]] = [[], []]
    start = threading.Barrier(2)

    def work(index: int) -> None:
        start.wait(timeout=10)
        for _ in range(5):
            found[index].extend(
                labels_of(together, slots[index], image) for image in images[index::2]
            )

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    together.close()
    for index in range(2):
        assert len(found[index]) == 15
        for labels, expected in zip(found[index], wanted[index::2] * 5, strict=True):
            # A kernel may be another one for another number of threads.
            assert (labels == expected).mean() > 0.999


def test_slots_of_one_runner_do_not_share_memory(
    computing: ModuleType, graph: Path, new_slot: MakeSlot
) -> None:
    runner = computing.load(computing.compile(graph, CompileOptions()), threads=1)
    first, second = new_slot(runner), new_slot(runner)
    before = labels_of(runner, first, picture(FRAME, 0))
    other = labels_of(runner, second, picture(FRAME, 1))
    assert (before != other).any()
    np.testing.assert_array_equal(first.labels, before)
    runner.launch(first)
    np.testing.assert_array_equal(first.labels, before)
    runner.close()


def test_what_a_frame_took_is_noted(computing: ModuleType, graph: Path, new_slot: MakeSlot) -> None:
    runner = computing.load(computing.compile(graph, CompileOptions()), threads=1)
    slot = new_slot(runner)
    labels_of(runner, slot, picture(FRAME))
    assert slot.stages_ms["infer"] > 0
    assert set(slot.stages_ms) <= {"infer", "post"}
    runner.close()


def test_closing_twice_is_fine(module: ModuleType, graph: Path, new_slot: MakeSlot) -> None:
    runner = module.load(module.compile(graph, CompileOptions()))
    labels_of(runner, new_slot(runner), picture(FRAME))
    runner.close()
    runner.close()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_plan_is_refused(module: ModuleType, graph: Path, share: float) -> None:
    plan = module.compile(graph, CompileOptions())
    with pytest.raises(EngineMismatch) as caught:
        module.load(plan[: int(share * len(plan))])
    assert caught.value.exit_code == 6
    assert "build the engine again" in caught.value.fix


def test_a_plan_of_garbage_is_refused(module: ModuleType) -> None:
    with pytest.raises(EngineMismatch):
        module.load(np.random.default_rng(0).bytes(4096))


def test_a_graph_that_a_backend_cannot_compile_is_a_build_error(
    computing: ModuleType, graph: Path, tmp_path: Path
) -> None:
    model = onnx.load(graph)
    model.graph.node[5].op_type = "NoSuchOperator"
    path = tmp_path / "graph.onnx"
    onnx.save(model, path)
    with pytest.raises(BuildError) as caught:
        computing.compile(path, CompileOptions())
    assert caught.value.exit_code == 5


def test_the_steps_of_compiling_are_told(computing: ModuleType, graph: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    computing.compile(graph, CompileOptions(), lambda *step: told.append(step))
    assert [(done, total) for _, done, total in told] == [(0, 1), (1, 1)]


def test_the_fingerprint_names_backend_and_version_and_stays(module: ModuleType) -> None:
    first = module.fingerprint()
    assert first == module.fingerprint()
    assert {"backend", "version"} <= set(first)
    assert all(isinstance(value, str) and value for value in first.values())


def test_every_module_says_what_it_can(module: ModuleType) -> None:
    assert Precision.INT8 in module.PRECISIONS
    assert set(PREPARATIONS) >= module.NEEDS
    assert module.NOTE


def test_null_computes_nothing(graph: Path, new_slot: MakeSlot) -> None:
    null = backend("null")
    runner = null.load(null.compile(graph, CompileOptions()))
    assert not labels_of(runner, new_slot(runner), picture(FRAME)).any()
