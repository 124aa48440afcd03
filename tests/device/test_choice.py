import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder

import pytest

from edgeseg.device.memory import GpuFacts, MemoryMode
from edgeseg.errors import DeviceError, EdgesegError, MissingPackage, UsageError
from tests.device.fakes import fake_gpu

BOARDS = {
    "Orin": ((8, 7), True, True, False, "mapped"),
    "Xavier": ((7, 2), True, True, False, "mapped"),
    "Thor": ((11, 0), True, True, True, "mapped"),
    "Nano, whose pinned memory is uncached": ((5, 3), True, True, False, "managed"),
    "a board that maps nothing": ((8, 7), True, False, False, "managed"),
    "a card": ((8, 9), False, True, True, "copy"),
}


@pytest.fixture
def open_device() -> Iterator[object]:
    """`open_device` where no package is faked yet but both are hidden."""
    with fake_gpu("pycuda"):
        from edgeseg.device.choice import open_device

        for name in [name for name in sys.modules if name.startswith("pycuda")]:
            sys.modules[name] = None
        yield open_device


class Broken(MetaPathFinder):
    """Lets the import of pycuda fail with a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def find_spec(self, name: str, *_: object) -> None:
        if name.startswith("pycuda"):
            raise ImportError(self.text)


@pytest.mark.parametrize("board", BOARDS)
def test_memory_mode_follows_what_the_board_can(board: str) -> None:
    from edgeseg.device.choice import mode_for

    capability, integrated, can_map, concurrent, mode = BOARDS[board]
    facts = GpuFacts(
        name="named like any other",
        compute_capability=capability,
        multiprocessors=8,
        integrated=integrated,
        can_map_host=can_map,
        concurrent_managed=concurrent,
        pageable_access=False,
        total_memory_mib=8192,
        driver=(12, 6),
    )
    expected: MemoryMode = mode
    assert mode_for(facts) == expected


@pytest.mark.parametrize(
    ("installed", "asked", "driving"),
    [
        ("both", None, "pycuda"),
        ("both", "cuda-bindings", "cuda-bindings"),
        ("pycuda", None, "pycuda"),
        ("cuda", None, "cuda-bindings"),
    ],
)
def test_pycuda_is_taken_before_cuda_bindings(
    installed: str, asked: str | None, driving: str
) -> None:
    with fake_gpu(installed):
        from edgeseg.device.choice import open_device

        device = open_device(package=asked)
        assert device.package.split()[0] == driving
        device.close()


@pytest.mark.parametrize("asked", [None, "pycuda", "cuda-bindings"])
def test_package_that_is_not_installed_is_named_with_the_line_that_installs_it(
    open_device: object, asked: str | None
) -> None:
    with pytest.raises(MissingPackage) as caught:
        open_device(package=asked)
    for package in [asked] if asked else ["pycuda", "cuda-bindings"]:
        assert package in caught.value.problem
    assert "pip install 'edgeseg[" in caught.value.fix


def test_package_of_another_name_is_refused_with_the_known_ones(open_device: object) -> None:
    with pytest.raises(UsageError, match="cuda-bindings, pycuda"):
        open_device(package="cupy")


@pytest.mark.parametrize(
    ("text", "kind", "fix"),
    [
        ("libcuda.so.1: cannot open shared object file", DeviceError, "install NVIDIA's driver"),
        ("_driver.so: undefined symbol: cuCtxCreate_v4", DeviceError, "update the driver"),
        ("libcurand.so.10: cannot open shared object file", MissingPackage, "build it anew"),
    ],
)
def test_pycuda_that_cannot_be_loaded_tells_why(
    open_device: object, monkeypatch: pytest.MonkeyPatch, text: str, kind: type, fix: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("pycuda")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(text), *sys.meta_path])
    with pytest.raises(EdgesegError) as caught:
        open_device()
    assert type(caught.value) is kind
    assert text in caught.value.problem
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("result", "fix"),
    [(100, "nvidia-smi"), (803, "update the driver"), (34, "LD_LIBRARY_PATH"), (999, "dmesg")],
)
def test_driver_that_does_not_start_is_a_device_error_with_a_mend(
    package: str, result: int, fix: str
) -> None:
    with fake_gpu(package, init_result=result) as gpu:
        from edgeseg.device.choice import open_device

        with pytest.raises(DeviceError) as caught:
            open_device()
        assert caught.value.exit_code == 4
        assert fix in caught.value.fix
        assert gpu.leaks() == []


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("Failed to dlopen libcuda.so.1", "install NVIDIA's driver"),
        ('Function "cuInit" not found', "update the driver"),
    ],
)
def test_cuda_bindings_without_a_driver_that_fits_are_a_device_error(
    monkeypatch: pytest.MonkeyPatch, text: str, fix: str
) -> None:
    def cu_init(_: int) -> None:
        raise RuntimeError(text)

    with fake_gpu("cuda"):
        monkeypatch.setattr(sys.modules["cuda.bindings.driver"], "cuInit", cu_init)
        from edgeseg.device.choice import open_device

        with pytest.raises(DeviceError, match=text) as caught:
            open_device()
        assert fix in caught.value.fix


def test_cuda_bindings_of_a_later_cuda_than_the_drivers_are_refused() -> None:
    with fake_gpu("cuda", driver=(11, 4)) as gpu:
        from edgeseg.device.choice import open_device

        with pytest.raises(DeviceError, match=r"it supports CUDA 11\.4.* needs 12"):
            open_device()
        assert gpu.leaks() == []


def test_gpu_that_is_not_there_is_refused_with_how_many_there_are(package: str) -> None:
    with fake_gpu(package, devices=2) as gpu:
        from edgeseg.device.choice import open_device

        with pytest.raises(DeviceError, match="no GPU 2: this machine has 2") as caught:
            open_device(2)
        assert caught.value.fix == "use 0 to 1"
        assert gpu.leaks() == []
