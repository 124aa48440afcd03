"""Engines with a TensorRT plan: the whole loop on a simulated GPU, and what an engine refuses."""

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.backends import onnxruntime as reference
from edgeseg.cameras import Cameras
from edgeseg.engine import Engine
from edgeseg.errors import DeviceError, EngineMismatch, UsageError, VideoError
from edgeseg.frames import FrameTime
from edgeseg.loop import FrameLoop
from edgeseg.manifest import Plan
from edgeseg.publish import seal
from edgeseg.stream import stream
from edgeseg.types import Buffer, CompileOptions, Pixels, RuntimeOptions, Size, Slot
from tests.device.gpu_parts import OFFSET
from tests.engines import tiny_manifest
from tests.networks import picture
from tests.pictures import Pictures
from tests.tensorrt.conftest import Installed
from tests.tensorrt.small_graphs import FRAME, written

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

FRAMES = 8


def boards() -> list[object]:
    """Both packages on Orin, and a discrete GPU; what differs between versions is tested beside."""
    discrete = {"integrated": False, "compute_capability": (9, 0)}
    return [
        pytest.param(("10.3.0", {"package": "pycuda"}), id="pycuda"),
        pytest.param(("10.3.0", {"package": "cuda"}), id="cuda"),
        pytest.param(("10.3.0", {"package": "cuda", "gpu": discrete}), id="discrete"),
    ]


on_one = pytest.mark.parametrize("trt", [("10.3.0", {})], indirect=True, ids=["10.3.0"])


@pytest.fixture
def folder(trt: Installed, tmp_path: Path) -> Path:
    """A float engine with plans for TensorRT and ONNX Runtime."""
    folder = tmp_path / "engine"
    folder.mkdir()
    graph = written(folder, "float")
    plans = {}
    for name, module in (("tensorrt", trt.module), ("onnxruntime", reference)):
        (folder / f"plan.{name}").write_bytes(module.compile(graph, CompileOptions()))
        plans[name] = Plan(file=f"plan.{name}", fingerprint=module.fingerprint(), note=module.NOTE)
    (folder / "recipe.toml").write_text('name = "tiny"\n')
    seal(tiny_manifest(plans=plans), folder)
    return folder


def pictures() -> list[Pixels]:
    return [picture(tuple(FRAME), seed) for seed in range(FRAMES)]


def wanted(folder: Path) -> list[Pixels]:
    with Engine.open(folder, backend_name="onnxruntime") as engine:
        return [engine(image) for image in pictures()]


def masks(engine: Engine, source: Pictures) -> list[Pixels]:
    loop = FrameLoop(engine, Cameras([source], threading.Condition()), None)
    try:
        return [result.labels.copy() for result in loop.results()]
    finally:
        loop.stop()


@pytest.mark.parametrize("memory", ["mapped", "managed", "copy"])
@pytest.mark.parametrize("trt", boards(), indirect=True)
def test_the_loop_gives_the_masks_of_the_cpu_in_every_kind_of_memory(
    trt: Installed, folder: Path, memory: str
) -> None:
    runtime = RuntimeOptions(memory=memory)  # type: ignore[arg-type]
    engine = Engine.open(folder, backend_name="tensorrt", workers=3, runtime=runtime)
    assert engine.memory_mode == memory
    found = masks(engine, Pictures(pictures()))
    engine.close()
    np.testing.assert_array_equal(found, wanted(folder))
    assert len(np.unique(found)) >= 3
    assert trt.gpu is not None
    copied = {"HtoD": 3 * FRAME.height * FRAME.width, "DtoH": FRAME.height * FRAME.width}
    each = FRAMES if memory == "copy" else 0
    assert sorted(trt.gpu.copies) == sorted([*copied.items()] * each)
    assert trt.gpu.leaks() == []
    assert trt.fake.faults == []


@on_one
def test_the_gpu_reads_where_the_source_wrote(trt: Installed, folder: Path) -> None:
    source = Pictures(pictures())
    with Engine.open(folder, backend_name="tensorrt", workers=3) as engine:
        loop = FrameLoop(engine, Cameras([source], threading.Condition()), None)
        bound = {context.get_tensor_address("frame") for context in trt.fake.contexts}
        assert sum(1 for _ in loop.results()) == FRAMES
        loop.stop()
    assert len(bound) == 5  # a slot for each worker, one for the consumer, and one to spare
    assert {address + OFFSET for address in source.addresses} <= bound


@on_one
def test_a_source_that_breaks_leaves_nothing_on_the_gpu(trt: Installed, folder: Path) -> None:
    with (
        Engine.open(folder, backend_name="tensorrt", workers=3) as engine,
        pytest.raises(VideoError, match="cable"),
    ):
        masks(engine, Pictures(pictures(), breaks_at=4))
    assert trt.gpu is not None
    assert trt.gpu.leaks() == []


@on_one
def test_results_outlive_the_memory_of_their_slots(folder: Path) -> None:
    with Engine.open(folder, backend_name="tensorrt", workers=1) as engine:
        loop = FrameLoop(engine, Cameras([Pictures(pictures())], threading.Condition()), None)
        results = list(loop.results())
        loop.stop()
    np.testing.assert_array_equal(results[-1].labels, wanted(folder)[-1])
    np.testing.assert_array_equal(results[-1].pixels, pictures()[-1])
    assert {result.labels.shape for result in results} == {tuple(FRAME)}


@pytest.mark.parametrize("room", [1, 3])
@on_one
def test_a_gpu_with_little_memory_left_has_fewer_frames_in_flight(
    folder: Path, room: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Slot] = []

    def new_slot() -> Slot:
        if len(made) == room:
            raise DeviceError("Orin has no 1.0 MiB of mapped memory left")
        made.append(Engine.new_slot(engine))
        return made[-1]

    with Engine.open(folder, backend_name="tensorrt", workers=3) as engine:
        monkeypatch.setattr(engine, "new_slot", new_slot)
        found = masks(engine, Pictures(pictures()))
    np.testing.assert_array_equal(found, wanted(folder))
    assert f"{room} of 5 frames in flight: Orin has no" in caplog.text


@pytest.mark.needs("av", "cv2")
@on_one
def test_an_interrupted_end_leaves_a_worker_the_memory_that_it_writes_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    class Stuck(Pictures):
        def read_into(self, pixels: Buffer) -> FrameTime | None:
            if len(self.addresses) == 1:
                assert go_on.wait(10)
                pixels.fill(0)
            return super().read_into(pixels)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with Engine.open(folder, backend_name="tensorrt") as engine:
        frames = stream(engine, Stuck(pictures()), workers=1)
        results = iter(frames)
        next(results)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "join", interrupted)
            with pytest.raises(KeyboardInterrupt):
                frames.close()
        assert frames.engine.new_slot().pixels.size
        go_on.set()
        for thread in threading.enumerate():
            if thread.name.startswith("worker-"):
                thread.join()
        frames.engine.close()


@on_one
def test_an_engine_takes_the_best_plan_and_keeps_how_the_gpu_is_used(folder: Path) -> None:
    runtime = RuntimeOptions(memory="copy", sync="spin", cuda_graph=False)
    with Engine.open(folder, runtime=runtime) as engine:
        assert (engine.backend_name, engine.memory_mode) == ("tensorrt", "copy")
        assert engine.default_workers() == 3
        image = pictures()[0]
        with engine.at(FRAME, workers=2) as other:
            assert other.memory_mode == "copy"
            np.testing.assert_array_equal(other(image), engine(image))


@on_one
def test_another_size_is_refused_with_what_to_do(trt: Installed, folder: Path) -> None:
    with Engine.open(folder) as engine, pytest.raises(EngineMismatch) as caught:
        engine(picture((90, 150)))
    assert caught.value.exit_code == 6
    assert "--frame 150x90" in caught.value.fix
    assert "--scale" in caught.value.fix
    assert trt.gpu is not None
    assert trt.gpu.leaks() == []


@pytest.mark.needs("av", "cv2")
@pytest.mark.parametrize("name", ["tensorrt", "onnxruntime"])
@on_one
def test_a_source_of_another_size_is_scaled_where_that_is_asked_for(
    folder: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(picture((90, 150))).save(tmp_path / "one.png")
    with (
        Engine.open(folder, backend_name=name) as engine,
        stream(engine, str(tmp_path / "one.png"), scale=True) as frames,
    ):
        (found,) = [(result.pixels.copy(), result.labels.copy()) for result in frames]
        np.testing.assert_array_equal(found[1], engine(found[0]))
    assert found[0].shape == (*FRAME, 3)
    assert [
        "the mIoU in the manifest does not apply" in record.getMessage()
        for record in caplog.records
        if record.name == "edgeseg.sources"
    ] == [True]


@on_one
def test_options_of_a_gpu_are_refused_for_a_plan_on_a_cpu(folder: Path) -> None:
    with pytest.raises(UsageError, match="--memory and --sync are for engines on a GPU"):
        Engine.open(
            folder,
            backend_name="onnxruntime",
            runtime=RuntimeOptions(memory="copy", sync="spin"),
        )
    with Engine.open(folder, backend_name="onnxruntime", runtime=RuntimeOptions()) as engine:
        assert engine.memory_mode is None
        assert engine.at(Size(*FRAME)).memory_mode is None
