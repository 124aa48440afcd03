"""Engines that smooth over time: backends agree, cameras are apart, a picture alone is alone."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import ModelProto

import edgeseg
from edgeseg.backends import backend
from edgeseg.backends.host_slots import host_slot
from edgeseg.clips import ClipLabels, Clips
from edgeseg.datasets import open_dataset
from edgeseg.engine import Engine
from edgeseg.errors import InputFileError, UsageError
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.load import load_model
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.smooth import smoothed
from edgeseg.manifest import Manifest, read_manifest
from edgeseg.options import Options
from edgeseg.origin import recipe_for
from edgeseg.plan import refuse_options
from edgeseg.recipe import PlanOptions, read_recipe
from edgeseg.sources import default_workers
from edgeseg.types import CompileOptions, PixelFormat, Runner, Size, Slot, State
from tests.networks import SIZE, picture, tiny_core
from tests.oracle import run_all
from tests.pictures import Pictures
from tests.small import write_network, write_pictures

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "openvino", "cv2")

Array = np.ndarray
FRAME = Size(60, 80)
SPEC = FrameSpec(
    size=FRAME,
    pixel_format=PixelFormat.RGB8,
    order="rgb",
    gain=(1 / 64, 1 / 50, 1 / 80),
    bias=(-2.0, -2.25, -1.5),
    mask_size=FRAME,
)
STATE = (1, 5, 12, 16)
"""Of the logits of the tiny network."""


@pytest.fixture(scope="module")
def plain() -> ModelProto:
    return frame_graph(fixed_core(tiny_core(), Size(*SIZE)), SPEC)


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    return backend(request.param)


@pytest.fixture(scope="module")
def runner(
    module: ModuleType, plain: ModelProto, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runner]:
    path = tmp_path_factory.mktemp("graph") / "graph.onnx"
    onnx.save(smoothed(plain, 0.8), path)
    runner = module.load(module.compile(path, CompileOptions()), threads=1)
    yield runner
    runner.close()


def camera(seed: int) -> list[Array]:
    """Noisy frames of one scene."""
    rng, scene = np.random.default_rng(seed), picture(FRAME, seed).astype(float)
    frames = [scene + rng.normal(0, 10, scene.shape) for _ in range(5)]
    return [np.clip(frame, 0, 255).astype(np.uint8) for frame in frames]


def expected(plain: ModelProto, frames: list[Array]) -> list[Array]:
    """What ONNX Runtime makes of the graph, its state carried by hand."""
    graph, state, found = smoothed(plain, 0.8), np.zeros(STATE, np.float32), []
    for frame in frames:
        labels, state = run_all(graph, {"frame": frame[None], "state": state})
        found.append(labels[0])
    return found


def labels_of(runner: Runner, slot: Slot, image: Array, state: State | None = None) -> Array:
    np.copyto(slot.pixels, image)
    slot.state = state
    runner.launch(slot)
    return slot.labels.copy()


def alike(a: list[Array], b: list[Array]) -> float:
    return float(np.mean(np.stack(a) == np.stack(b)))


def test_a_backend_carries_the_state_as_the_graph_says(runner: Runner, plain: ModelProto) -> None:
    frames, slot, state = camera(0), host_slot(runner), runner.new_state()
    found = [labels_of(runner, slot, frame, state) for frame in frames]
    wanted = expected(plain, frames)
    alone = [run_all(plain, {"frame": frame[None]})[0][0] for frame in frames]
    assert alike(found, wanted) > 0.9995
    assert alike(alone, wanted) < 0.99


def test_a_slot_without_a_state_labels_every_picture_alone(
    runner: Runner, plain: ModelProto
) -> None:
    slot, state = host_slot(runner), runner.new_state()
    for frame in camera(1):
        (wanted,) = run_all(plain, {"frame": frame[None]})
        labels_of(runner, slot, frame, state)
        assert (labels_of(runner, slot, frame) == wanted[0]).mean() > 0.9995


def test_a_state_that_was_reset_knows_nothing(runner: Runner, plain: ModelProto) -> None:
    slot, state, frames = host_slot(runner), runner.new_state(), camera(2)
    for frame in frames[:3]:
        labels_of(runner, slot, frame, state)
    state.reset()
    found = [labels_of(runner, slot, frame, state) for frame in frames[3:]]
    assert alike(found, expected(plain, frames[3:])) > 0.9995


def test_cameras_that_share_slots_do_not_share_what_is_remembered(
    runner: Runner, plain: ModelProto
) -> None:
    films = [camera(3), camera(4)]
    states, slots = [runner.new_state() for _ in films], [host_slot(runner) for _ in range(3)]
    found: list[list[Array]] = [[], []]
    for turn, frames in enumerate(zip(*films, strict=True)):
        for index, frame in enumerate(frames):
            slot = slots[(2 * turn + index) % 3]
            found[index].append(labels_of(runner, slot, frame, states[index]))
    for index, film in enumerate(films):
        assert alike(found[index], expected(plain, film)) > 0.9995


def test_memory_of_a_state_is_used_where_it_lies(runner: Runner) -> None:
    slot, state = host_slot(runner), runner.new_state()
    buffers = state.buffers
    for turn, frame in enumerate(camera(5)):
        labels_of(runner, slot, frame, state)
        np.testing.assert_allclose(buffers[(turn + 1) % 2].sum(1), 1, atol=1e-4)
    assert not slot.inputs["state"].any()


def test_a_plan_that_smooths_nothing_has_no_state(
    module: ModuleType, plain: ModelProto, tmp_path: Path
) -> None:
    onnx.save(plain, tmp_path / "graph.onnx")
    runner = module.load(module.compile(tmp_path / "graph.onnx", CompileOptions()), threads=1)
    assert runner.new_state() is None
    assert set(runner.inputs) == {"frame"}
    runner.close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("smooth")
    network = write_network(folder / "tiny.onnx")
    pictures = write_pictures(folder / "pictures", range(3), size=Size(60, 80))
    with edgeseg.build(
        network,
        size=Size(*SIZE),
        frame=FRAME,
        smooth=0.8,
        backend="openvino",
        val="folder",
        root=pictures,
        out=folder / "engine",
    ) as built:
        yield built


def test_a_build_says_what_it_smooths_and_its_recipe_builds_it_again(engine: Engine) -> None:
    assert engine.manifest.smooth == read_recipe(engine.folder / "recipe.toml").smooth == 0.8
    assert engine.manifest.plans["openvino"].measured.agreement > 99.9  # each picture alone
    inputs = [value.name for value in load_model(engine.folder / "graph.onnx").graph.input]
    assert inputs == ["frame", "state"]


def test_a_picture_of_another_size_is_labelled_alone_too(engine: Engine) -> None:
    image = picture((72, 96))
    first = engine(image)
    engine(picture((72, 96), 1))
    np.testing.assert_array_equal(engine(image), first)
    other = engine.at(Size(72, 96))
    assert other.new_state() is not None
    other.close()


def test_one_camera_gets_all_threads_while_another_worker_draws(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    load = backend("openvino").load

    def noted(plan: bytes, *, workers: int, **options: object) -> Runner:
        told.append(workers)
        return load(plan, workers=workers, **options)

    monkeypatch.setattr(backend("openvino"), "load", noted)
    workers = default_workers(engine, [Pictures([picture(FRAME)])])
    with engine.at(FRAME, workers=workers) as made:
        assert (made.workers, told) == (2, [1])


def test_plans_of_a_folder_are_compared_on_pictures_alone(engine: Engine) -> None:
    pytest.importorskip("polygraphy")
    from edgeseg.compare_plans import compare_plans

    found = compare_plans(engine.folder, ["onnxruntime"], backend_name="openvino")
    assert [(each.output, each.agreement > 99.9) for each in found.against] == [("labels", True)]


def test_a_plan_for_another_backend_smooths_as_well(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "engine"
    shutil.copytree(engine.folder, folder)
    with edgeseg.build(folder, backend="onnxruntime") as added:
        assert added.new_state() is not None


def test_a_clip_is_scored_with_the_state_carried(engine: Engine, tmp_path: Path) -> None:
    still = write_pictures(tmp_path / "clip", range(1), size=FRAME) / "images" / "0.png"
    for index in range(1, 4):
        shutil.copy(still, still.with_name(f"{index}.png"))
        shutil.copy(still.parent.parent / "masks" / "0.png", tmp_path / f"clip/masks/{index}.png")
    alone = edgeseg.evaluate(engine, "folder", root=tmp_path / "clip")
    clip = edgeseg.evaluate(engine, "folder", root=tmp_path / "clip", clip=True)
    assert alone.flicker is None
    assert (clip.flicker.engine, clip.flicker.reference) == (0.0, 0.0)
    assert clip.miou == pytest.approx(alone.miou, abs=0.5)


def test_each_clip_of_a_data_set_is_begun_and_goes_by_its_numbers(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "two", range(4), size=FRAME)
    names = ("a_2", "a_10", "b_1", "b_2")  # which text would sort a_10 first
    for kind in ("images", "masks"):
        for index, name in enumerate(names):
            (folder / kind / f"{index}.png").rename(folder / kind / f"{name}.png")
    seen: list[str] = []
    clips = Clips(open_dataset("folder", root=folder), lambda: seen.append("clip"))
    for index in range(4):
        frame = clips.frame(index)
        seen.append(Path(frame.name).stem)
    assert seen == ["clip", "a_2", "a_10", "clip", "b_1", "b_2"]
    assert clips.frame_names() == list(names)


def test_the_first_picture_of_a_clip_is_labelled_alone(engine: Engine) -> None:
    labels, (first, second) = ClipLabels(engine), camera(7)[:2]
    for image in (first, second):
        labels.begin()
        np.testing.assert_array_equal(labels(image), engine(image))
    assert (labels(first) != engine(first)).any()
    labels.close()


def test_a_clip_for_an_engine_that_smooths_nothing_is_refused(small_fp32: Path) -> None:
    with pytest.raises(UsageError, match="alone") as caught:
        edgeseg.evaluate(small_fp32, "synthetic:val", clip=True)
    assert "--smooth" in caught.value.fix


def test_some_pictures_of_a_clip_are_refused(engine: Engine) -> None:
    with pytest.raises(UsageError, match="in order"):
        edgeseg.evaluate(engine, "synthetic:val", clip=True, count=2)


@pytest.mark.parametrize("strength", [0.0, 1.0, -0.5, float("nan")])
def test_what_is_no_share_is_refused(strength: float) -> None:
    with pytest.raises(UsageError, match="--smooth"):
        recipe_for("deeplabv3plus-mobilenetv2", Options(smooth=strength))


@pytest.mark.parametrize("options", [{"cameras": 2}, {"dla": 0}])
def test_what_has_no_room_for_a_state_is_refused(options: dict[str, int]) -> None:
    refuse_options("tensorrt", PlanOptions(**options))
    with pytest.raises(UsageError):
        refuse_options("tensorrt", PlanOptions(**options), smooth=0.8)


def test_a_recipe_with_an_impossible_share_is_named(engine: Engine, tmp_path: Path) -> None:
    text = (engine.folder / "recipe.toml").read_text().replace("smooth = 0.8", "smooth = 1.5")
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(InputFileError, match="smooth"):
        read_recipe(tmp_path / "recipe.toml")


def test_a_manifest_of_before_smooths_nothing(engine: Engine) -> None:
    document = read_manifest(engine.folder).model_dump(mode="json", by_alias=True)
    del document["smooth"]
    assert Manifest.model_validate(document).smooth is None
