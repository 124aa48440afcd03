"""The benchmarks: their tables, the loop they compare with, and that they run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeseg.scene import Street
from edgeseg.types import Pixels, Size
from tests.small import build_small

pytestmark = pytest.mark.needs("cv2", "onnx", "openvino", "onnxruntime", "av")

FRAMES = 4
FRAME = Size(480, 640)
SCRIPTS = ("network", "loop", "memory", "accuracy", "zoo", "eight_fps")


def test_tables_in_the_readme_are_those_of_the_results(root: Path) -> None:
    missing = [n for n in SCRIPTS if not (root / "benchmarks/results" / f"{n}.json").is_file()]
    if missing:
        pytest.skip(f"not measured yet: {', '.join(missing)}")

    checked = _script(root, "tables", "--check")

    assert checked.returncode == 0, checked.stdout


def test_table_that_is_out_of_date_is_noticed_and_made_anew(root: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# A\n\n<!-- table:memory -->\nold\n<!-- /table -->\n\nrest\n")
    (tmp_path / "memory.json").write_text(json.dumps(_memory_result()))
    where = ("--readme", str(readme), "--results", str(tmp_path))

    before = _script(root, "tables", "--check", *where)
    _script(root, "tables", *where)
    after = _script(root, "tables", "--check", *where)

    assert (before.returncode, after.returncode) == (1, 0)
    text = readme.read_text()
    assert "100.0, 101.0" in text
    assert "old" not in text
    assert text.endswith("<!-- /table -->\n\nrest\n")


def test_plain_loop_gives_the_labels_of_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path
) -> None:
    from benchmarks.engines import as_compiled, int8_core
    from benchmarks.plain_loop import PlainNetwork, labels_of

    monkeypatch.chdir(tmp_path)
    with build_small(tmp_path / "engine", pictures, size=Size(256, 512), frame=FRAME) as engine:
        core = as_compiled(int8_core(tmp_path / "engine"), "openvino")
        plain = PlainNetwork(core, engine.manifest, threads=1)
        equal = [
            engine(image) == labels_of(plain, np.ascontiguousarray(image[..., ::-1]))
            for image in map(_image, range(FRAMES))
        ]

    # Not all: the plain loop rounds to bytes after its resize, the engine's graph does not.
    assert np.mean(equal) >= 0.99


@pytest.mark.slow
def test_every_script_runs_and_its_tables_are_made(root: Path, tmp_path: Path) -> None:
    done = _script(root, "run", "--tiny", "--results", str(tmp_path))

    assert done.returncode == 0, done.stderr
    readme = tmp_path / "README.md"
    readme.write_text((root / "README.md").read_text())
    written = _script(root, "tables", "--readme", str(readme), "--results", str(tmp_path))
    assert written.returncode == 0, written.stderr
    # The two of the zoo need PyTorch, the three of quantisers and smoothing's CamVid, reconnects
    # GStreamer; all take minutes.
    assert readme.read_text().count("Not measured yet") == 7


def _image(seed: int) -> Pixels:
    return Street(seed, FRAME).frame(1.0)[0]


def _script(root: Path, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def _memory_result() -> dict[str, object]:
    return {
        "date": "2000-01-01",
        "machine": {"cpu": "C", "cores": 2, "cpu_flags": None, "python": "3.11"},
        "packages": {},
        "settings": {},
        "foreign_cpus": 0.0,
        "dirty": False,
        "results": {
            "resident": {
                "frames": 10, "after_warm_up_mib": 100.0, "at_end_mib": 101.0,
                "kib_per_1000_frames": 1.0,
            },
            "traced": {
                "frames": 10, "growth_kib": 0.0, "peak_above_kib": 1.0, "frame_kib": 900.0
            },
        },
    }  # fmt: skip
