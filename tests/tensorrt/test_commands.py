"""What a user types on a board: build, run, bench, and the refusals that say what mends them."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from edgeseg.types import Pixels, RuntimeOptions
from edgeseg.video import open_source
from tests.cli.conftest import Call, edgeseg_cli, workplace
from tests.device.fakes import fake_gpu
from tests.small import FRAME, QUICKLY, street, write_network
from tests.tensorrt.fakes import fake_tensorrt

__all__ = ["edgeseg_cli", "workplace"]

pytestmark = [
    pytest.mark.needs("onnxruntime", "openvino", "onnx", "cv2", "av", "PIL"),
    pytest.mark.skipif(
        tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 24),
        reason="this ONNX Runtime computes FP16 beside Q/DQ inexactly, and the stand-in with it: "
        "that plans keep their labels stays unverified",
    ),
]

OLD, NEW, NEWEST = "8.6.1", "10.3.0", "11.4.0.106"
STREET = f"synthetic://?seconds=0.5&fps=10&size={FRAME}"

Board = Callable[..., Any]


@pytest.fixture
def board() -> Iterator[Board]:
    """Puts a board with a TensorRT where the one before was; `gpu` are facts of its GPU."""
    with ExitStack() as whole:
        parts = whole.enter_context(ExitStack())

        def on(version: str, *, package: str = "pycuda", gpu: Any = None, **facts: Any) -> Any:
            parts.close()
            simulated = parts.enter_context(fake_gpu(package, **(gpu or {})))
            parts.enter_context(fake_tensorrt(version, **facts))
            return simulated

        yield on


@pytest.fixture
def folder(small_int8: Path, workplace: Path) -> Path:
    """An engine that was built on a machine without a GPU."""
    shutil.copytree(small_int8, workplace / "engine")
    return Path("engine")


def _plan_of(folder: Path) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads((folder / "manifest.json").read_text())["plans"]["tensorrt"]
    return plan


@pytest.mark.parametrize("version", [OLD, NEW, NEWEST])
def test_int8_build_makes_a_plan_folder_that_run_streams(
    board: Board, edgeseg_cli: Call, workplace: Path, pictures: Path, version: str
) -> None:
    gpu = board(version)
    write_network(workplace / "net.onnx")

    built = edgeseg_cli(
        *("build", "net.onnx", "--int8", "--backend", "tensorrt"),
        *("--calibrate", "folder:train", "--val", "folder:val", "--root", pictures, *QUICKLY),
        *("--max-drop", 100, "-o", "engine"),
    )
    assert built.code == 0, built.err
    ran = edgeseg_cli("run", "engine", STREET, "film.mkv", "pictures/", "--json")
    assert ran.code == 0, ran.err

    assert json.loads(ran.out)["frames"] == 5
    assert (workplace / "film.mkv").stat().st_size > 1000
    assert len(list((workplace / "pictures" / "masks").iterdir())) == 5
    assert (workplace / "engine" / "graph.typed.onnx").is_file()
    plan = _plan_of(workplace / "engine")
    assert plan["fingerprint"]["version"] == version
    assert plan["measured"]["frames"] == 4
    assert gpu.copies == []  # on a board whose GPU reaches the CPU's memory
    assert gpu.leaks() == []


@pytest.mark.parametrize("memory", ["mapped", "managed", "copy"])
def test_masks_on_the_board_are_those_of_the_graph(
    board: Board, edgeseg_cli: Call, folder: Path, memory: str
) -> None:
    board(OLD)
    assert edgeseg_cli("build", folder, "--backend", "tensorrt").code == 0

    ran = edgeseg_cli("run", folder, STREET, "gpu/", "--memory", memory)

    assert ran.code == 0, ran.err
    found = [np.asarray(Image.open(path)) for path in sorted(Path("gpu/masks").iterdir())]
    expected = _labels_of_graph(folder / "graph.onnx")
    assert np.mean(np.stack(found) == np.stack(expected)) > 0.999
    assert len(np.unique(expected)) > 3


def _labels_of_graph(graph: Path) -> list[Pixels]:
    """What the graph says to the street, node by node as it is written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    source, labels = open_source(STREET), []
    pixels = np.empty((*FRAME, 3), np.uint8)
    while source.read_into(pixels):
        labels.append(session.run(["labels"], {"frame": pixels[None]})[0][0])
    return labels


def test_a_folder_of_a_cpu_is_verified_on_the_board_without_a_cpu_backend(
    board: Board, edgeseg_cli: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board(NEW)

    def absent(*_: object) -> None:
        raise AssertionError("a board has no backend for float graphs")

    monkeypatch.setattr("edgeseg.kept_pictures.float_reference", absent)
    built = edgeseg_cli("build", folder, "--backend", "tensorrt")

    assert built.code == 0, built.err
    measured = _plan_of(folder)["measured"]
    assert measured["data"] == "verify.npz"
    assert measured["agreement"] > 95
    assert "nobody looked on pictures what overflows" in built.err


@pytest.mark.parametrize(
    ("elsewhere", "differs"),
    [
        ((NEW, {"name": "Orin Nano", "multiprocessors": 8}), "gpu"),
        (("10.7.0", {}), "version"),
        ((NEW, {"name": "Thor", "compute_capability": (11, 0)}), "compute_capability"),
    ],
)
def test_a_plan_from_elsewhere_is_refused_with_what_differs_and_one_command_mends_it(
    board: Board,
    edgeseg_cli: Call,
    folder: Path,
    elsewhere: tuple[str, dict[str, Any]],
    differs: str,
) -> None:
    board(NEW)
    assert edgeseg_cli("build", folder, "--backend", "tensorrt").code == 0
    (folder / "plan.openvino").unlink()
    _forget_plan(folder, "openvino")

    board(elsewhere[0], gpu=elsewhere[1])
    refused = edgeseg_cli("run", folder, STREET)

    assert refused.code == 6
    assert differs in refused.err
    command = refused.err.split("fix: ")[-1].strip().split()
    assert command == ["edgeseg", "build", str(folder), "--backend", "tensorrt"]
    assert edgeseg_cli(*command[1:]).code == 0
    assert edgeseg_cli("run", folder, STREET).code == 0


def test_another_frame_size_is_refused_unless_the_source_scales(
    board: Board, edgeseg_cli: Call, folder: Path, small_null: Path, workplace: Path
) -> None:
    from edgeseg.stream import run

    board(NEW)
    assert edgeseg_cli("build", folder, "--backend", "tensorrt").code == 0
    clip = workplace / "large.mkv"
    run(small_null, "synthetic://?seconds=0.3&size=160x120", [str(clip)], codec="mpeg4")

    refused = edgeseg_cli("run", folder, clip)
    scaled = edgeseg_cli("run", folder, clip, "masks/", "--scale")

    assert refused.code == 6
    assert "--frame 160x120" in refused.err
    assert "--scale" in refused.err
    assert scaled.code == 0, scaled.err
    assert "does not apply" in scaled.err
    assert np.asarray(Image.open(next(Path("masks/masks").iterdir()))).shape == FRAME


def test_what_tensorrt_was_told_stands_in_the_manifest(
    board: Board, edgeseg_cli: Call, folder: Path
) -> None:
    board(NEW)

    built = edgeseg_cli(
        *("build", folder, "--backend", "tensorrt", "--workspace", 128),
        *("--optimization-level", 2, "--no-timing-cache"),
    )

    assert built.code == 0, built.err
    told = {"workspace_mib": "128", "optimization_level": "2", "timing_cache": "False"}
    assert _plan_of(folder)["options"] == told
    assert not Path("engines/.cache").exists()


def test_measured_kernels_are_kept_for_the_next_build(
    board: Board, edgeseg_cli: Call, folder: Path
) -> None:
    board(NEW)
    assert edgeseg_cli("build", folder, "--backend", "tensorrt").code == 0

    (kept,) = Path("engines/.cache").iterdir()
    assert kept.stat().st_size > 0


def test_several_cameras_share_one_launch(board: Board, edgeseg_cli: Call, folder: Path) -> None:
    from edgeseg.engine import Engine

    board(NEW)
    assert edgeseg_cli("build", folder, "--backend", "tensorrt").code == 0
    with Engine.open(folder, backend_name="tensorrt") as engine:
        wanted = [engine(street(seed)[0]) for seed in (1, 2)]
    assert edgeseg_cli("build", folder, "--backend", "tensorrt", "--cameras", 2).code == 0

    with Engine.open(folder, backend_name="tensorrt", runtime=RuntimeOptions()) as engine:
        slot = engine.new_slot()
        for index, seed in enumerate((1, 2)):
            np.copyto(slot.inputs["frame"][index], street(seed)[0])
        engine.launch(slot)
        found = slot.outputs["labels"].copy()

    assert np.mean(found == np.stack(wanted)) > 0.999


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--dla", 0), 4, "no DLA"),
        (("--gpu-fallback",), 2, "--dla 0"),
        (("--optimization-level", 9), 2, "optimization-level"),
    ],
)
def test_what_the_board_lacks_is_refused_and_the_folder_stays(
    board: Board, edgeseg_cli: Call, folder: Path, words: tuple[object, ...], code: int, said: str
) -> None:
    board(NEW)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    refused = edgeseg_cli("build", folder, "--backend", "tensorrt", *words)

    assert refused.code == code
    assert said in refused.err + refused.out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_int8_on_a_dla_takes_its_scales_from_the_calibration(
    board: Board, edgeseg_cli: Call, folder: Path
) -> None:
    board(NEW, dla_cores=2)

    built = edgeseg_cli("build", folder, "--backend", "tensorrt", "--dla", 1, "--gpu-fallback")

    assert built.code == 0, built.err
    plan = _plan_of(folder)
    assert plan["options"] == {"dla": "1", "gpu_fallback": "True"}
    assert plan["measured"]["agreement"] > 50
    assert edgeseg_cli("run", folder, STREET).code == 0


def test_options_of_a_gpu_are_refused_on_a_cpu(edgeseg_cli: Call, folder: Path) -> None:
    told = edgeseg_cli("build", folder, "--backend", "onnxruntime", "--workspace", 64)
    run = edgeseg_cli("run", folder, STREET, "--memory", "mapped")

    assert (told.code, run.code) == (2, 2)
    assert "workspace_mib" in told.err
    assert "--memory" in run.err


def test_a_machine_without_a_gpu_ends_with_4(board: Board, edgeseg_cli: Call, folder: Path) -> None:
    board(NEW, gpu={"init_result": 100})

    refused = edgeseg_cli("build", folder, "--backend", "tensorrt")

    assert refused.code == 4
    assert "no CUDA-capable device" in refused.err


def _forget_plan(folder: Path, name: str) -> None:
    """Take the plan of a backend out of a folder, as if it had never been built for it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["plans"][name], manifest["files"][f"plan.{name}"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
