"""What a plan is tied to, and what stands in the way of a fingerprint."""

import sys

import pytest

from edgeseg.errors import DeviceError
from tests.tensorrt.conftest import Installed

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

BOARD = {"name": "Orin", "compute_capability": (8, 7), "multiprocessors": 16, "driver": (12, 6)}


@pytest.mark.parametrize("trt", [("10.3.0", {"dla_cores": 2, "gpu": BOARD})], indirect=True)
def test_a_fingerprint_names_the_board_and_the_version(
    trt: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["edgeseg.backends.tensorrt.fingerprint"]
    monkeypatch.setattr(module, "machine", lambda: {"l4t": "36.4.3", "cores": 6})
    assert trt.module.fingerprint() == {
        "backend": "tensorrt",
        "version": "10.3.0",
        "gpu": "Orin",
        "compute_capability": "8.7",
        "multiprocessors": "16",
        "cuda": "12.6",
        "dla_cores": "2",
        "l4t": "36.4.3",
    }


def test_every_version_has_a_fingerprint_of_words(trt: Installed) -> None:
    found = trt.module.fingerprint()
    assert found == trt.module.fingerprint()
    assert found["version"] == trt.version
    assert all(isinstance(value, str) and value for value in found.values())


@pytest.mark.parametrize("trt", [("10.3.0", {"gpu": {"devices": 0}})], indirect=True)
def test_a_machine_without_a_gpu_has_none(trt: Installed) -> None:
    with pytest.raises(DeviceError) as caught:
        trt.module.fingerprint()
    assert caught.value.exit_code == 4
    assert caught.value.fix


@pytest.mark.parametrize("trt", [("8.6.1", {})], indirect=True)
def test_a_tensorrt_that_does_not_start_has_none(
    trt: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_: object) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(trt.tensorrt, "Runtime", nothing)
    with pytest.raises(DeviceError, match=r"8\.6\.1 does not start") as caught:
        trt.module.fingerprint()
    assert "driver" in caught.value.fix


@pytest.mark.parametrize("trt", [("10.3.0", {"gpu": BOARD})], indirect=True)
def test_nothing_of_the_gpu_is_held_afterwards(trt: Installed) -> None:
    trt.module.fingerprint()
    assert trt.gpu is not None
    assert trt.gpu.leaks() == []
