"""What a board refuses, and what it says mends that."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeseg.backends import BACKENDS
from tests.cli.conftest import Call
from tests.small import FRAME
from tests.tensorrt.commands import MARKS, NEW, STREET
from tests.tensorrt.conftest import OnBoard

pytestmark = MARKS


@pytest.mark.parametrize(
    ("elsewhere", "differs"),
    [
        ((NEW, {"name": "Orin Nano", "multiprocessors": 8}), "gpu"),
        (("10.7.0", {}), "version"),
        ((NEW, {"name": "Thor", "compute_capability": (11, 0)}), "compute_capability"),
    ],
)
def test_a_plan_from_elsewhere_is_refused_with_what_differs_and_one_command_mends_it(
    board: OnBoard,
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
    board: OnBoard, edgeseg_cli: Call, folder: Path, small_null: Path, workplace: Path
) -> None:
    from edgeseg.run import run

    board(NEW)
    assert edgeseg_cli("build", folder, "--backend", "tensorrt").code == 0
    clip = workplace / "large.mkv"
    run(small_null, "synthetic://?seconds=0.3&size=160x120", [str(clip)], codec="mpeg4")

    refused = edgeseg_cli("run", folder, clip)
    scaled = edgeseg_cli("run", folder, clip, "masks/", "--scale")
    timed = edgeseg_cli("bench", folder, clip, "--frames", 1, "--scale", "--json")

    assert refused.code == 6
    assert "--frame 160x120" in refused.err
    assert "--scale" in refused.err
    assert scaled.code == 0, scaled.err
    assert "does not apply" in scaled.err
    assert np.asarray(Image.open(next(Path("masks/masks").iterdir()))).shape == FRAME
    assert timed.code == 0, timed.err
    assert json.loads(timed.out)["end_to_end"]["frames"] == 9


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--dla", 0), 4, "no DLA"),
        (("--gpu-fallback",), 2, "--dla 0"),
        (("--optimization-level", 9), 2, "optimization-level"),
    ],
)
def test_what_the_board_lacks_is_refused_and_the_folder_stays(
    board: OnBoard, edgeseg_cli: Call, folder: Path, words: tuple[object, ...], code: int, said: str
) -> None:
    board(NEW)
    before = _contents(folder)

    refused = edgeseg_cli("build", folder, "--backend", "tensorrt", *words)

    assert refused.code == code
    assert said in refused.err + refused.out
    assert _contents(folder) == before


def test_options_of_a_gpu_are_refused_on_a_cpu(edgeseg_cli: Call, folder: Path) -> None:
    told = edgeseg_cli("build", folder, "--backend", "onnxruntime", "--workspace", 64)
    run = edgeseg_cli("run", folder, STREET, "--memory", "mapped")

    assert (told.code, run.code) == (2, 2)
    assert "workspace_mib" in told.err
    assert "--memory" in run.err


def test_a_board_that_lost_tensorrt_or_its_gpu_is_told_so_and_not_to_build_anew(
    board: OnBoard, edgeseg_cli: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board(NEW)
    assert edgeseg_cli("build", folder, "--backend", "tensorrt").code == 0
    _forget_plan(folder, "openvino")
    (folder / "plan.openvino").unlink()

    board(NEW, gpu={"init_result": 100})
    without_gpu = edgeseg_cli("run", folder, STREET)
    monkeypatch.setitem(BACKENDS, "tensorrt", "no_such_package")
    without_tensorrt = edgeseg_cli("run", folder, STREET)

    assert (without_gpu.code, without_tensorrt.code) == (4, 3)
    assert "no CUDA-capable device" in without_gpu.err
    assert "no_such_package" in without_tensorrt.err


def test_a_machine_without_a_gpu_ends_with_4(
    board: OnBoard, edgeseg_cli: Call, folder: Path
) -> None:
    board(NEW, gpu={"init_result": 100})

    refused = edgeseg_cli("build", folder, "--backend", "tensorrt")

    assert refused.code == 4
    assert "no CUDA-capable device" in refused.err


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _forget_plan(folder: Path, name: str) -> None:
    """Take the plan of a backend out of a folder, as if it had never been built for it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["plans"][name], manifest["files"][f"plan.{name}"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
