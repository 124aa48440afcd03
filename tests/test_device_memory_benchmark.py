"""The benchmark of device memory: its loop on the simulated GPU, and its end without a GPU."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeseg.device.memory import Stream
from edgeseg.errors import DeviceError
from edgeseg.types import Size
from tests.device.fakes import fake_gpu
from tests.device.simulated_gpu import SimulatedGpu, current

device_memory = pytest.importorskip("benchmarks.device_memory")
SMALL = (Size(16, 24),)


class Kernel:
    """What the PTX does, on the simulated GPU."""

    def launch(self, frame: int, labels: int, pixels: int, stream: Stream) -> None:
        gpu = current()

        def work() -> None:
            picture = gpu.view(frame, 3 * pixels).reshape(-1, 3)
            gpu.view(labels, pixels)[:] = picture.max(axis=-1)

        gpu.enqueue(stream.handle, work)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_memory, "SIZES", SMALL)
    monkeypatch.setattr(device_memory, "WORK", 2)
    monkeypatch.setattr(device_memory, "Brightest", Kernel)


def _copies(gpu: SimulatedGpu, mode: str, frames: int) -> list[tuple[str, int]]:
    """The copies of one mode alone, without those of the warm-up."""
    device = device_memory.open_device()
    with device.active():
        device_memory.one_at_a_time(device, Kernel(), SMALL[0], mode, frames)
    device.close()
    return gpu.copies[-2 * frames :]


@pytest.mark.parametrize("package", ["pycuda", "cuda"])
def test_every_mode_with_either_package(package: str, tmp_path: Path) -> None:
    with fake_gpu(package) as gpu:
        found = device_memory.with_every_package(3)
        assert gpu.leaks() == []

    (name,) = found["packages"]
    assert name == {"pycuda": "pycuda", "cuda": "cuda-bindings"}[package]
    assert len(found["left_out"]) == 1
    (size,) = found["packages"][name]["sizes"].values()
    assert set(size) == {"mapped", "managed", "copy", "overlap"}
    assert size["copy"]["wall_ms"]["count"] == 3
    assert size["overlap"]["ratio"] > 0
    json.dumps(found)
    assert list(tmp_path.iterdir()) == []


def test_only_copy_copies_and_it_copies_each_frame_and_its_labels() -> None:
    nbytes = SMALL[0].height * SMALL[0].width
    with fake_gpu("cuda") as gpu:
        assert _copies(gpu, "mapped", 2) == []
        assert _copies(gpu, "managed", 2) == []
        assert _copies(gpu, "copy", 2) == [("HtoD", 3 * nbytes), ("DtoH", nbytes)] * 2


def test_wrong_labels_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_memory, "labels_of", lambda frame: np.zeros(frame.shape[:2]))

    with fake_gpu("cuda"), pytest.raises(DeviceError, match="labels are wrong"):
        device_memory.with_every_package(1)


def test_a_gpu_that_cannot_map_is_measured_without() -> None:
    with fake_gpu("cuda", can_map_host=False):
        found = device_memory.with_every_package(1)

    (size,) = found["packages"]["cuda-bindings"]["sizes"].values()
    assert set(size) == {"managed", "copy", "overlap"}


def test_a_driver_without_a_gpu_is_an_error() -> None:
    with fake_gpu("cuda", init_result=100), pytest.raises(DeviceError):
        device_memory.with_every_package(1)


def test_the_script_ends_with_the_code_of_its_error(root: Path, tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        "from edgeseg.device import choice\n"
        "from edgeseg.errors import DeviceError\n"
        "def refuse(index=0, package=None):\n"
        "    raise DeviceError('no driver', fix='install one')\n"
        "choice.open_device = refuse\n"
        "sys.argv = ['device_memory', '--out', sys.argv[1]]\n"
        "runpy.run_module('benchmarks.device_memory', run_name='__main__')\n"
    )
    out = tmp_path / "found.json"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(out)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 4
    assert ran.stderr == "no driver\n  fix: install one\n"
    assert not out.exists()
