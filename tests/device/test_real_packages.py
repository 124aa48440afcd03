"""The real cuda-bindings and pycuda: the fakes are held against them, and our code runs on them.

On a machine without a GPU both run over the host driver of stub_libcuda.c.
"""

import ctypes
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from enum import IntEnum
from pathlib import Path

import pytest

from edgeseg.errors import DeviceError
from tests.device import fake_cuda, fake_pycuda, pycuda_types

HERE = Path(__file__).parent
PYCUDA = os.environ.get("EDGESEG_PYCUDA", "")
WITHOUT_BINDINGS = "import sys; sys.modules['cuda'] = None; "
EXERCISE = "from tests.device.exercise import main; main({!r})"
OPEN = """
from edgeseg.device.choice import open_device
from edgeseg.errors import EdgesegError
try:
    open_device(package="pycuda")
except EdgesegError as error:
    print(error.exit_code, error.problem, error.fix)
"""
DESCRIBE = """
import json, pycuda.driver as cuda
names = {names}
enums = {{name: {{key: int(value) for key, value in vars(getattr(cuda, name)).items()
         if key.isupper() and isinstance(value, int)}} for name in {enums}}}
docs = {{name: getattr(cuda, name).__doc__ or "" for name in names if hasattr(cuda, name)}}
docs["attach"] = cuda.ManagedAllocation.attach.__doc__
print(json.dumps([[name for name in names if not hasattr(cuda, name)], enums, docs]))
"""
needs_pycuda = pytest.mark.skipif(
    not PYCUDA,
    reason="EDGESEG_PYCUDA names no Python with pycuda (tests/device/build_pycuda.py makes one): "
    "that pycuda has the names and takes the arguments that edgeseg uses stays unverified",
)


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the host driver."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here: that cuda-bindings take our arguments stays unverified")
    folder = tmp_path_factory.mktemp("stub")
    options = ["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    library = folder / "libcuda.so.1"
    subprocess.run(["gcc", *options, HERE / "stub_libcuda.c", "-o", library], check=True)
    return folder


def ran(python: str, code: str, root: Path, **environment: object) -> str:
    """What `code` prints in a process of its own, with the packages of this one."""
    path = os.pathsep.join([str(root), sysconfig.get_path("purelib")])
    done = subprocess.run(
        [python, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **{k: str(v) for k, v in environment.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.needs("cuda")
def test_fake_cuda_has_no_name_nor_value_that_the_real_one_lacks() -> None:
    real = importlib.import_module("cuda.bindings.driver")
    assert [name for name in fake_cuda.PUBLIC if not hasattr(real, name)] == []
    for name in fake_cuda.PUBLIC:
        fake = getattr(fake_cuda, name)
        if isinstance(fake, int):
            assert getattr(real, name) == fake
        elif isinstance(fake, type) and issubclass(fake, IntEnum):
            members = {member.name: int(member) for member in getattr(real, name)}
            assert {member.name: int(member) for member in fake}.items() <= members.items()


@pytest.mark.needs("cuda")
def test_functions_of_fake_cuda_take_as_many_arguments_as_the_real_ones() -> None:
    real = importlib.import_module("cuda.bindings.driver")
    functions = [name for name in fake_cuda.PUBLIC if name.startswith("cu")]
    assert len(functions) > 30
    for name in functions:
        header = re.match(rf"{name}\((.*)\)", getattr(real, name).__doc__)
        assert header is not None
        taken = [part for part in header[1].split(",") if part.strip()]
        assert len(taken) == len(inspect.signature(getattr(fake_cuda, name)).parameters), name


@pytest.mark.needs("cuda")
def test_cuda_bindings_do_all_that_is_asked_of_a_gpu(stub: Path, root: Path) -> None:
    said = ran(
        sys.executable,
        EXERCISE.format("cuda-bindings"),
        root,
        LD_LIBRARY_PATH=stub,
        EDGESEG_STUB_GPU=1,
    )
    assert said.startswith("cuda-bindings ")


@pytest.mark.needs("cuda")
@pytest.mark.skipif(has_driver(), reason="there is a driver here")
def test_machine_without_a_driver_is_a_device_error() -> None:
    from edgeseg.device.choice import open_device

    with pytest.raises(DeviceError, match="driver cannot be loaded") as caught:
        open_device(package="cuda-bindings")
    assert caught.value.exit_code == 4
    assert "install NVIDIA's driver" in caught.value.fix


@needs_pycuda
def test_fake_pycuda_has_no_name_nor_value_that_the_real_one_lacks(root: Path) -> None:
    enums = ["device_attribute", "event_flags", "host_alloc_flags", "mem_attach_flags"]
    code = DESCRIBE.format(names=fake_pycuda.PUBLIC, enums=enums)
    missing, real, docs = json.loads(ran(PYCUDA, code, root, LD_LIBRARY_PATH=stub_of_pycuda()))
    assert missing == []
    for name in enums:
        fake = {k: int(v) for k, v in vars(getattr(pycuda_types, name)).items() if k.isupper()}
        assert fake.items() <= real[name].items()
    for name in ("managed_empty", "memcpy_dtoh_async", "memcpy_htod_async", "pagelocked_empty",
                 "attach"):  # fmt: skip
        owner = fake_pycuda.ManagedAllocation if name == "attach" else fake_pycuda
        taken = [key for key in inspect.signature(getattr(owner, name)).parameters if key != "self"]
        assert [key for key in re.findall(r"\)(\w+)", docs[name]) if key in taken] == taken, name


@needs_pycuda
@pytest.mark.parametrize("before", ["", WITHOUT_BINDINGS], ids=["by cuda-bindings", "by ctypes"])
def test_pycuda_does_all_that_is_asked_of_a_gpu(root: Path, before: str) -> None:
    said = ran(
        PYCUDA,
        before + EXERCISE.format("pycuda"),
        root,
        LD_LIBRARY_PATH=stub_of_pycuda(),
        EDGESEG_STUB_GPU=1,
    )
    assert said.startswith("pycuda ")


@needs_pycuda
@pytest.mark.parametrize(
    ("result", "part"),
    [(100, "no CUDA-capable device"), (803, "unsupported display driver"), (34, "LD_LIBRARY_PATH")],
)
def test_pycuda_over_a_driver_that_does_not_start_is_a_device_error(
    root: Path, result: int, part: str
) -> None:
    said = ran(PYCUDA, OPEN, root, LD_LIBRARY_PATH=stub_of_pycuda(), EDGESEG_STUB_RESULT=result)
    assert said.startswith("4 ")
    assert part in said


@needs_pycuda
@pytest.mark.skipif(has_driver(), reason="there is a driver here")
def test_pycuda_without_a_driver_is_a_device_error(root: Path) -> None:
    said = ran(PYCUDA, OPEN, root)
    assert said.startswith("4 ")
    assert "install NVIDIA's driver" in said


@needs_pycuda
@pytest.mark.skipif(has_driver(), reason="there is a driver here")
def test_pycuda_over_a_driver_that_lacks_a_function_is_too_old_a_driver(
    root: Path, stub: Path
) -> None:
    said = ran(PYCUDA, OPEN, root, LD_LIBRARY_PATH=stub)
    assert said.startswith("4 ")
    assert "too old" in said


@pytest.mark.device
@pytest.mark.parametrize("package", ["pycuda", "cuda-bindings"])
def test_gpu_of_this_machine_does_all_that_is_asked_of_it(root: Path, package: str) -> None:
    module = {"pycuda": "pycuda", "cuda-bindings": "cuda"}[package]
    if not has_driver() or importlib.util.find_spec(module) is None:
        pytest.skip(f"no GPU, or no {package}: memory, streams and graphs stay unverified on one")
    assert ran(sys.executable, EXERCISE.format(package), root).startswith(package)


def stub_of_pycuda() -> Path:
    """The driver beside the interpreter that EDGESEG_PYCUDA names."""
    return Path(PYCUDA).parent.parent / "stub"
