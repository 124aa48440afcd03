"""What only a process shows: signals, a closed pipe, what is imported and what that costs."""

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import edgeseg
from tests.cli.conftest import Call
from tests.small import QUICKLY, write_network

HEAVY = ("torch", "onnx", "onnxsim", "cv2", "av", "openvino", "onnxruntime", "PIL", "safetensors")
VIDEO = pytest.mark.needs("openvino", "av", "cv2", "onnx")

LONG_VERIFIED = (
    "--int8", "--calibrate", "synthetic:train", "--count", 1, "--val", "synthetic:val",
    "--max-drop", 100, *QUICKLY,
)  # fmt: skip
"""Of a build whose plan is there long before its sixty pictures have been compared."""

Start = Callable[..., "subprocess.Popen[str]"]


@VIDEO
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_build_leaves_nothing(
    process: Start, workplace: Path, number: int, code: int
) -> None:
    child = process("build", write_network(workplace / "net.onnx"), *LONG_VERIFIED)
    _wait_for(lambda: list(workplace.glob("engines/.*/plan.*")), child)

    child.send_signal(number)
    out, err = child.communicate(timeout=60)

    assert child.returncode == code, err
    assert out == ""
    said = [line for line in err.splitlines() if not line.startswith(("WARNING", "INFO"))]
    assert said[0].startswith(("edgeseg: interrupted", "edgeseg: terminated"))
    assert "Traceback" not in err
    assert list(workplace.glob("engines/*")) == []


@VIDEO
def test_an_interrupted_build_leaves_the_older_engine(
    process: Start, workplace: Path, small_int8: Path
) -> None:
    import shutil

    shutil.copytree(small_int8, workplace / "engine")
    before = (workplace / "engine" / "manifest.json").read_bytes()
    child = process("build", write_network(workplace / "net.onnx"), *LONG_VERIFIED, "-o", "engine")
    _wait_for(lambda: list(workplace.glob(".engine.*/plan.*")), child)

    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)

    assert (workplace / "engine" / "manifest.json").read_bytes() == before
    assert {path.name for path in workplace.iterdir()} == {
        "calibration",
        "engine",
        "net.onnx",
        "net.toml",
    }
    edgeseg.Engine.open(workplace / "engine").close()


@VIDEO
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_a_video_that_plays(
    process: Start, workplace: Path, small_int8: Path, number: int, code: int
) -> None:
    child = process("run", small_int8, "null://?seconds=90000&size=120x90", "out.mkv", "seen/")
    _wait_for(lambda: len(list(workplace.glob("seen/masks/*.png"))) > 10, child)

    child.send_signal(number)
    _, err = child.communicate(timeout=60)

    assert child.returncode == code, err
    assert "Traceback" not in err
    assert {path.name for path in workplace.iterdir()} == {"out.mkv", "seen"}
    frames = [result.index for result in edgeseg.stream(small_int8, str(workplace / "out.mkv"))]
    assert len(frames) > 10


@pytest.mark.parametrize("line", ["import edgeseg", "HELP", "HELP build", "HELP run"])
def test_nothing_heavy_is_imported_for(line: str, root: Path) -> None:
    if line.startswith("HELP"):
        arguments = ["edgeseg", *line.split()[1:], "--help"]
        line = (
            f"import sys; sys.argv = {arguments!r}\nfrom edgeseg.cli import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass"
        )
    code = f"{line}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True)

    imported = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in HEAVY if name in imported] == []


def test_help_costs_little(root: Path) -> None:
    """0.3 s of CPU on an idle machine; a loaded one is forgiven half as much again."""
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        line = [sys.executable, "-m", "edgeseg", "--help"]
        subprocess.run(line, cwd=root, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    assert min(spent) < 0.45


@VIDEO
def test_progress_does_not_mix_with_json(as_process: Call, small_null: Path) -> None:
    done = as_process("run", small_null, "null://?seconds=1&size=128x96", "--json")

    assert done.code == 0
    assert json.loads(done.out)["frames"] == 30
    assert done.err == ""


@VIDEO
def test_a_bug_is_called_one(as_process: Call, small_null: Path) -> None:
    """A failure that nobody foresaw: exit code 1, with the trace that a report needs."""
    before = "import edgeseg.inspect, sys\ndef broken(path, **options): raise KeyError('oops')\n"
    before += "sys.modules['edgeseg.inspect'].inspect = broken"

    done = as_process("inspect", small_null, before=before)

    assert done.code == 1
    assert "this is a bug in edgeseg" in done.err
    assert "KeyError: 'oops'" in done.err


def _wait_for(seen: Callable[[], object], child: "subprocess.Popen[str]") -> None:
    for _ in range(600):
        if seen():
            return
        assert child.poll() is None, child.communicate()
        time.sleep(0.1)
    raise AssertionError("it never came")


def test_a_build_that_cannot_be_stopped_does_not_keep_the_process(as_process: Call) -> None:
    """TensorRT 8.6 is inside a build for minutes, and hears nothing of Ctrl-C."""
    before = (
        "import threading, time, edgeseg.cli as cli, atexit\n"
        "atexit.register(print, 'the interpreter was torn down')\n"
        "build = threading.Thread(target=time.sleep, args=(60,), name='tensorrt-build')\n"
        "build.daemon = True\n"
        "build.start()"
    )

    done = as_process("run", "no-such-engine", "synthetic://", before=before)

    assert done.code == 6
    assert "no-such-engine" in done.err
    assert done.out == ""
