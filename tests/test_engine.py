"""An opened engine: what it refuses to open, what it refuses to run, and what it computes."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

import edgeseg
from edgeseg.backends import openvino as openvino_backend
from edgeseg.backends.host_slots import aligned
from edgeseg.engine import Engine
from edgeseg.errors import EngineMismatch, MissingPackage, UsageError
from edgeseg.manifest import FILE, read_manifest
from edgeseg.types import RuntimeOptions, Size, Slot
from tests.engines import write_engine
from tests.networks import SIZE, picture, tiny_core
from tests.oracle import bilinear, labels_and_decided, run
from tests.small import working_directory

pytestmark = pytest.mark.needs("onnxruntime", "openvino")

Array = np.ndarray
FRAME = Size(60, 80)
DESCRIPTION = {
    "order": "bgr",
    "mean": [128.0, 112.5, 120.0],
    "std": [64.0, 50.0, 80.0],
    "labels": ["road", "car", "tree", "sky", "house"],
}


def wanted_labels(image: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """What the tiny network says of an RGB picture, and where it is sure."""
    planes = bilinear(image.transpose(2, 0, 1)[::-1], SIZE)
    mean, std = (np.reshape(DESCRIPTION[key], (3, 1, 1)) for key in ("mean", "std"))
    pixels = ((planes - mean) / std)[None].astype(np.float32)
    return labels_and_decided(run(tiny_core(), {"pixels": pixels})[0], size)


def assert_labels(found: Array, image: Array) -> None:
    wanted, decided = wanted_labels(image, image.shape[:2])
    np.testing.assert_array_equal(found[decided], wanted[decided])
    assert (found.dtype, found.shape) == (np.uint8, image.shape[:2])
    assert len(np.unique(found)) >= 3


def build_tiny(folder: Path, **options: object) -> Engine:
    """An engine of the tiny network with open height and width, in `folder`/engine."""
    onnx.save(tiny_core(symbolic=True, names=("image", "scores")), folder / "tiny.onnx")
    values = {
        "description": DESCRIPTION,
        "size": Size(*SIZE),
        "frame": FRAME,
        "backend": "openvino",
        "out": folder / "engine",
    }
    with working_directory(folder):
        return edgeseg.build(folder / "tiny.onnx", **{**values, **options})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float engine with plans for OpenVINO and ONNX Runtime; copy it before you change it."""
    folder = tmp_path_factory.mktemp("built")
    build_tiny(folder).close()
    edgeseg.build(folder / "engine", backend="onnxruntime").close()
    return folder / "engine"


@pytest.fixture
def own(built: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return Path(shutil.copytree(built, tmp_path / "engine"))


@pytest.fixture
def engine(built: Path) -> Iterator[Engine]:
    with Engine.open(built) as opened:
        yield opened


def edit_manifest(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    values = json.loads((folder / FILE).read_text())
    change(values)
    (folder / FILE).write_text(json.dumps(values))


FILES = ["recipe.toml", "float.onnx", "graph.onnx", "plan.openvino", "plan.onnxruntime"]


def test_the_files_below_are_all_that_a_float_engine_has(built: Path) -> None:
    assert sorted(path.name for path in built.iterdir() if path.is_file()) == sorted([*FILES, FILE])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_one_changed_byte_in_any_file_is_refused(own: Path, name: str, place: float) -> None:
    data = bytearray((own / name).read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    (own / name).write_bytes(data)
    with pytest.raises(EngineMismatch, match=rf"{name} was altered after the build") as caught:
        Engine.open(own)
    assert caught.value.exit_code == 6
    part, _, plan = name.partition(".")
    of_plan, of_all = f"{own} --backend {plan}", f"{own / 'recipe.toml'} -o {own}"
    assert caught.value.fix == f"edgeseg build {of_plan if part == 'plan' else of_all}"


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(own: Path, name: str) -> None:
    (own / name).unlink()
    with pytest.raises(EngineMismatch, match=rf"{name} is missing"):
        Engine.open(own)


def test_a_plan_of_another_version_is_refused_with_a_table_and_the_remedy(own: Path) -> None:
    here = openvino_backend.fingerprint()

    def change(values: dict[str, object]) -> None:
        values["plans"]["openvino"]["fingerprint"].update(version="2020.1", cpu="Z80")

    edit_manifest(own, change)
    with pytest.raises(EngineMismatch, match="does not fit this machine") as caught:
        Engine.open(own, backend_name="openvino")
    problem = caught.value.problem
    assert f"version        built for '2020.1', found {here['version']!r}" in problem
    assert f"cpu            built for 'Z80', found {here['cpu']!r}" in problem
    assert "capabilities" not in problem  # only what differs
    assert caught.value.fix == f"edgeseg build {own} --backend openvino"
    with Engine.open(own, backend_name="onnxruntime") as other:  # the other plan fits all the same
        assert_labels(other(picture(FRAME)), picture(FRAME))


def test_a_folder_that_is_no_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineMismatch, match="holds no manifest"):
        Engine.open(tmp_path)


def test_an_unknown_backend_is_a_typo_and_a_missing_plan_is_not(built: Path) -> None:
    with pytest.raises(UsageError, match="no backend 'opnvino'"):
        Engine.open(built, backend_name="opnvino")
    with pytest.raises(EngineMismatch, match=r"holds no null plan, only: on.*, op") as caught:
        Engine.open(built, backend_name="null")
    assert caught.value.fix == f"edgeseg build {built} --backend null"


def test_without_the_plans_package_the_pip_line_is_told(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(edgeseg.backends.BACKENDS, "openvino", "no_such_openvino")
    with pytest.raises(MissingPackage) as caught:
        Engine.open(built, backend_name="openvino")
    assert "edgeseg[openvino]" in caught.value.fix
    with Engine.open(built) as other:  # `auto` takes the plan that can run
        assert other.backend_name == "onnxruntime"


def test_a_folder_whose_plans_cannot_run_says_why(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("openvino", "onnxruntime"):
        monkeypatch.setitem(edgeseg.backends.BACKENDS, name, f"no_such_{name}")
    with pytest.raises(EngineMismatch, match=r"no plan in .* can run here") as caught:
        Engine.open(built)
    assert "edgeseg[ort]" in caught.value.problem
    assert "edgeseg[openvino]" in caught.value.problem


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("seed", [0, 1])
def test_labels_are_those_of_the_strangers_network(built: Path, name: str, seed: int) -> None:
    image = picture(FRAME, seed)
    with Engine.open(built, backend_name=name) as opened:
        assert_labels(opened(image), image)


@pytest.mark.parametrize("pixel_format", ["bgr8", "rgba8", "bgrx8", "nv12", "i420"])
def test_an_rgb_picture_is_written_in_the_engines_own_format(
    tmp_path: Path, pixel_format: str
) -> None:
    image = picture(FRAME)
    with build_tiny(tmp_path, frame_format=pixel_format, backend="onnxruntime") as opened:
        found = opened(image)
    if pixel_format not in {"nv12", "i420"}:
        assert_labels(found, image)
        return
    # Colours have half the resolution there, so the oracle sees them that way, too.
    yuv = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    wanted, _ = wanted_labels(cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB_I420), FRAME)
    assert (found == wanted).mean() > 0.98
    assert len(np.unique(found)) >= 3


def test_labels_of_the_networks_size_if_the_recipe_says_so(built: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    text = (
        (built / "recipe.toml").read_text().replace('mask_size = "frame"', 'mask_size = "network"')
    )
    recipe.write_text(text)
    image = picture(FRAME)
    with edgeseg.build(recipe, out=tmp_path / "engine") as opened:
        found = opened(image)
    wanted, decided = wanted_labels(image, SIZE)
    np.testing.assert_array_equal(found[decided], wanted[decided])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((60, 80, 3), np.float32),
        np.zeros((60, 80, 4), np.uint8),
        np.zeros((60, 80), np.uint8),
        np.zeros((1, 60, 80, 3), np.uint8),
        np.zeros((3, 60, 80), np.uint8),
    ],
    ids=lambda image: f"{image.dtype} {image.shape}",
)
def test_what_is_no_rgb_picture_is_refused(engine: Engine, image: Array) -> None:
    with pytest.raises(UsageError, match=r"takes uint8 \(H, W, 3\) RGB, got") as caught:
        engine(image)
    assert str(image.shape) in caught.value.problem
    assert caught.value.exit_code == 2


def test_a_picture_with_gaps_in_memory_is_as_good(engine: Engine) -> None:
    image = picture(FRAME)
    gapped = np.repeat(image[:, ::-1], 2, axis=1)[:, ::2][:, ::-1]
    assert not gapped.flags.c_contiguous
    np.testing.assert_array_equal(engine(gapped), engine(image))


def test_labels_are_the_callers_own_and_the_picture_is_left_alone(engine: Engine) -> None:
    image = picture(FRAME)
    before = image.copy()
    first = engine(image)
    kept = first.copy()
    second = engine(picture(FRAME, 1))
    assert (second != kept).any()
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("size", [Size(90, 150), Size(34, 46), Size(*SIZE), Size(61, 83)])
def test_pictures_of_another_size_get_labels_of_that_size(own: Path, name: str, size: Size) -> None:
    image = picture(size, seed=3)
    with Engine.open(own, backend_name=name) as opened:
        assert_labels(opened(image), image)
        assert opened.frame_size == FRAME
        assert_labels(opened(picture(FRAME)), picture(FRAME))


def refuse_to_compile(*_: object) -> bytes:
    raise AssertionError("compiled again")


def test_the_plan_for_another_size_is_kept_and_used_the_next_time(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(Size(90, 150))
    with Engine.open(own) as opened:
        wanted = opened(image)
    (kept,) = (own / "cache").iterdir()
    assert "150x90" in kept.name
    monkeypatch.setattr(openvino_backend, "compile", refuse_to_compile)
    with Engine.open(own) as opened:
        np.testing.assert_array_equal(opened(image), wanted)
        with pytest.raises(AssertionError, match="compiled again"):
            opened(picture(Size(92, 150)))


@pytest.mark.parametrize("damage", [lambda d: d[:-100], lambda d: d[:10], lambda _: b""])
def test_a_damaged_plan_in_the_cache_is_made_anew(
    own: Path, damage: Callable[[bytes], bytes]
) -> None:
    image = picture(Size(90, 150))
    with Engine.open(own) as opened:
        wanted = opened(image)
    (kept,) = (own / "cache").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    with Engine.open(own) as opened:
        np.testing.assert_array_equal(opened(image), wanted)
    assert len(kept.read_bytes()) >= len(whole) - 100


def test_one_flipped_bit_in_the_cache_is_seen(own: Path) -> None:
    image = picture(Size(90, 150))
    with Engine.open(own) as opened:
        wanted = opened(image)
    (kept,) = (own / "cache").iterdir()
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 4
    kept.write_bytes(data)
    with Engine.open(own) as opened:
        np.testing.assert_array_equal(opened(image), wanted)
    assert kept.read_bytes() != bytes(data)


def test_a_cache_that_cannot_be_written_is_done_without(own: Path) -> None:
    (own / "cache").write_bytes(b"a file, where the folder should be")
    image = picture(Size(90, 150))
    with Engine.open(own) as opened:
        assert_labels(opened(image), image)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_refused_size_costs_nothing_of_the_sizes_before(own: Path, name: str) -> None:
    image = picture(Size(90, 150))
    with Engine.open(own, backend_name=name) as opened:
        before = opened(image)
        with pytest.raises(UsageError, match="the size 8x8 is out of range"):
            opened(picture(Size(8, 8)))
        np.testing.assert_array_equal(opened(image), before)


def test_an_engine_at_another_size_says_so_and_lives_for_itself(own: Path) -> None:
    with Engine.open(own) as opened:
        other = opened.at(Size(90, 150), workers=2, threads=2)
    assert (other.frame_size, other.workers) == (Size(90, 150), 2)
    slot = other.new_slot()
    assert (slot.pixels.shape, slot.labels.shape) == ((90, 150, 3), (90, 150))
    image = picture(Size(90, 150))
    assert_labels(other(image), image)
    other.close()


def test_tensorrt_refuses_another_size_with_the_command(own: Path) -> None:
    with Engine.open(own) as opened:
        opened.backend_name = "tensorrt"
        with pytest.raises(EngineMismatch, match="built for 80x60 frames, not 150x90") as caught:
            opened.at(Size(90, 150))
    assert "--frame 150x90" in caught.value.fix


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_an_engine_on_a_cpu_takes_no_options_of_a_gpu(built: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"--memory is for engines on a GPU, .* {name}") as caught:
        Engine.open(built, backend_name=name, runtime=RuntimeOptions(memory="mapped"))
    assert caught.value.exit_code == 2
    with Engine.open(built, backend_name=name, runtime=RuntimeOptions()) as engine:
        assert engine.memory_mode is None


def test_an_engine_on_a_cpu_works_on_more_frames_than_there_are_cores(engine: Engine) -> None:
    assert engine.default_workers() == len(os.sched_getaffinity(0)) + 2


class OnAnotherDevice:
    """A runner with slots of its own, which is done only when it is waited for."""

    memory_mode = "copy"

    def __init__(self) -> None:
        self.inputs = self.outputs = {"frame": None}

    def new_slot(self) -> Slot:
        arrays = {
            name: aligned((1, *FRAME, 3)[:dims]) for name, dims in (("frame", 4), ("labels", 3))
        }
        return Slot(
            inputs=arrays, outputs=arrays, pixels=arrays["frame"][0], labels=arrays["labels"][0]
        )

    def launch(self, slot: Slot) -> None:
        def wait() -> None:
            slot.labels.fill(3)

        slot.pending = wait

    def close(self) -> None:
        pass


def test_an_engine_waits_for_a_runner_that_only_begins(built: Path) -> None:
    manifest = read_manifest(built)
    engine = Engine(
        built, manifest, OnAnotherDevice(), backend_name="other", workers=1, threads=None
    )
    assert np.all(engine(np.zeros((*FRAME, 3), np.uint8)) == 3)
    assert (engine.memory_mode, engine.default_workers()) == ("copy", 3)


def test_slots_are_aligned_and_apart(engine: Engine) -> None:
    slots = [engine.new_slot() for _ in range(3)]
    arrays = [a for slot in slots for a in (*slot.inputs.values(), *slot.outputs.values())]
    assert all(array.ctypes.data % 64 == 0 for array in arrays)
    assert not any(
        np.shares_memory(one, other) for index, one in enumerate(arrays) for other in arrays[:index]
    )
    for slot in slots:
        assert np.shares_memory(slot.pixels, slot.inputs["frame"])
        assert np.shares_memory(slot.labels, slot.outputs["labels"])


@pytest.mark.parametrize("shape", [(1, 60, 80, 3), (1, 1, 1), (7,)])
def test_aligned_memory_is_zero_and_whole(shape: tuple[int, ...]) -> None:
    memory = aligned(shape)
    assert (memory.shape, memory.dtype, memory.ctypes.data % 64) == (shape, np.uint8, 0)
    assert not memory.any()
    assert memory.flags.c_contiguous
    assert memory.flags.writeable


def test_launching_on_a_slot_is_what_calling_does(engine: Engine) -> None:
    image = picture(FRAME, seed=5)
    slot = engine.new_slot()
    np.copyto(slot.pixels, image)
    engine.launch(slot)
    np.testing.assert_array_equal(slot.labels, engine(image))


def test_closing_twice_is_fine_also_after_another_size(own: Path) -> None:
    opened = Engine.open(own)
    opened(picture(FRAME))
    opened(picture(Size(90, 150)))
    opened.close()
    opened.close()


@pytest.mark.parametrize(
    "use",
    [lambda e: e(picture(FRAME)), lambda e: e.new_slot(), lambda e: e.at(Size(*FRAME))],
    ids=["call", "slot", "size"],
)
def test_a_closed_engine_says_so(built: Path, use: Callable[[Engine], object]) -> None:
    engine = Engine.open(built)
    engine(picture(FRAME))
    engine.close()
    with pytest.raises(UsageError, match="was closed"):
        use(engine)


def test_a_folder_without_a_plan_describes_itself_and_cannot_run(tmp_path: Path) -> None:
    with build_tiny(tmp_path, until_graph=True) as opened:
        assert opened.frame_size == FRAME
        assert opened.labels.names == tuple(DESCRIPTION["labels"])
        for size in (FRAME, Size(90, 150)):
            with pytest.raises(EngineMismatch, match="has no plan yet") as caught:
                opened(picture(size))
            assert caught.value.fix == f"edgeseg build {tmp_path / 'engine'} --backend auto"
    with pytest.raises(EngineMismatch, match="it holds none"):
        Engine.open(tmp_path / "engine")


def test_an_int8_engine_agrees_with_the_float_network(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for seed in range(4):
        cv2.imwrite(str(pictures / f"{seed}.png"), picture(FRAME, seed)[..., ::-1])
    options = {
        "precision": "int8",
        "calibrate": "folder",
        "root": pictures,
        "method": "minmax",
        "min_agreement": 50.0,
    }
    with build_tiny(tmp_path, **options) as opened:
        found = np.stack([opened(picture(FRAME, seed)) for seed in range(4, 8)])
    wanted = np.stack([wanted_labels(picture(FRAME, seed), FRAME)[0] for seed in range(4, 8)])
    assert (found == wanted).mean() > 0.9


def test_the_null_backend_gives_the_first_class(tmp_path: Path) -> None:
    write_engine(tmp_path, name="none")
    with Engine.open(tmp_path) as opened:
        assert opened.backend_name == "null"
        assert not opened(picture(FRAME)).any()
