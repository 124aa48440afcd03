"""What a user types on a board: build, run, and what then stands in the folder."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from edgeseg.types import Pixels, RuntimeOptions
from edgeseg.video import open_source
from tests.cli.conftest import Call
from tests.small import FRAME, QUICKLY, street, write_network
from tests.tensorrt.commands import MARKS, NEW, NEWEST, OLD, STREET
from tests.tensorrt.conftest import OnBoard

pytestmark = MARKS


def _plan_of(folder: Path) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads((folder / "manifest.json").read_text())["plans"]["tensorrt"]
    return plan


@pytest.mark.parametrize("version", [OLD, NEW, NEWEST])
def test_int8_build_makes_a_plan_folder_that_run_streams(
    board: OnBoard, edgeseg_cli: Call, workplace: Path, pictures: Path, version: str
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
    board: OnBoard, edgeseg_cli: Call, folder: Path, memory: str
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
    board: OnBoard, edgeseg_cli: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
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


def test_what_tensorrt_was_told_stands_in_the_manifest(
    board: OnBoard, edgeseg_cli: Call, folder: Path
) -> None:
    board(NEW)

    built = edgeseg_cli(
        *("build", folder, "--backend", "tensorrt", "--workspace", 128),
        *("--optimization-level", 2, "--no-timing-cache"),
    )

    assert built.code == 0, built.err
    (row,) = (line for line in built.out.splitlines() if line.startswith("compiled with"))
    assert {"workspace_mib 128", "timing_cache False"} <= set(re.split(r", | │ | +$", row))
    told = {"workspace_mib": "128", "optimization_level": "2", "timing_cache": "False"}
    assert _plan_of(folder)["options"] == told
    assert not Path("engines/.cache").exists()


def test_measured_kernels_are_kept_for_the_next_build(
    board: OnBoard, edgeseg_cli: Call, folder: Path
) -> None:
    board(NEW)
    assert edgeseg_cli("build", folder, "--backend", "tensorrt").code == 0

    (kept,) = Path("engines/.cache").iterdir()
    assert kept.stat().st_size > 0


def test_several_cameras_share_one_launch(board: OnBoard, edgeseg_cli: Call, folder: Path) -> None:
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
    pytest.importorskip("polygraphy")
    compared = edgeseg_cli(
        "inspect", folder, "--compare", "onnxruntime", "--backend", "tensorrt", "--json"
    )
    assert compared.code == 0, compared.err
    (only,) = json.loads(compared.out)["comparison"]["against"]
    assert only["agreement"] > 95


def test_int8_on_a_dla_takes_its_scales_from_the_calibration(
    board: OnBoard, edgeseg_cli: Call, folder: Path
) -> None:
    board(NEW, dla_cores=2)

    built = edgeseg_cli("build", folder, "--backend", "tensorrt", "--dla", 1, "--gpu-fallback")

    assert built.code == 0, built.err
    plan = _plan_of(folder)
    assert plan["options"] == {"dla": "1", "gpu_fallback": "True"}
    assert plan["measured"]["agreement"] > 50
    assert edgeseg_cli("run", folder, STREET).code == 0
