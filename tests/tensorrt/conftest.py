"""The scenarios run on the fake of every recorded version, and with `-m device` on a real board."""

import importlib
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import edgeseg_cli, workplace
from tests.device.fakes import fake_gpu
from tests.device.simulated_gpu import SimulatedGpu
from tests.tensorrt.fake_state import Board, State
from tests.tensorrt.fake_use import Use, with_context
from tests.tensorrt.fakes import fake_tensorrt, made_module
from tests.tensorrt.running import assert_given_back, compiled, opened
from tests.tensorrt.small_graphs import serialized
from tests.tensorrt.surface import VERSIONS

if TYPE_CHECKING:
    from edgeseg.backends.tensorrt.runner import TensorRTRunner

__all__ = ["edgeseg_cli", "workplace"]

UNVERIFIED = (
    "no TensorRT here: that plans are built and run by a real one stays unverified; run "
    "pytest -m device on a board"
)


@dataclass(frozen=True, kw_only=True)
class Installed:
    """One TensorRT, and the backend that was imported with it."""

    version: str
    module: ModuleType
    """edgeseg.backends.tensorrt."""
    tensorrt: ModuleType
    gpu: SimulatedGpu | None
    """None where the GPU is a real one."""

    @property
    def fake(self) -> State:
        """What the fake counted; skips the test on a real TensorRT, which counts nothing."""
        if self.gpu is None:
            pytest.skip("looks into the fake")
        state: State = self.tensorrt.fake  # type: ignore[attr-defined]
        return state


@pytest.fixture(params=[*VERSIONS, pytest.param("real", marks=pytest.mark.device)])
def trt(request: pytest.FixtureRequest) -> Iterator[Installed]:
    """The backend with each version; parametrise indirectly with (version, board) for another.

    A board is a dict: `gpu` are facts of SimulatedGpu and `package` its driver, all else is
    Board's.
    """
    param = request.param
    version, board = param if isinstance(param, tuple) else (param, {})
    if version == "real":
        yield _real()
        return
    with ExitStack() as stack:
        yield _faked(stack, version, **board)


def _faked(
    stack: ExitStack,
    version: str,
    *,
    gpu: dict[str, Any] | None = None,
    package: str = "pycuda",
    **board: Any,
) -> Installed:
    simulated = stack.enter_context(fake_gpu(package, **(gpu or {})))
    module = stack.enter_context(fake_tensorrt(version, **board))
    ours = importlib.import_module("edgeseg.backends.tensorrt")
    return Installed(version=version, module=ours, tensorrt=module, gpu=simulated)


def _real() -> Installed:
    if importlib.util.find_spec("tensorrt") is None:
        pytest.skip(UNVERIFIED)
    real = importlib.import_module("tensorrt")
    ours = importlib.import_module("edgeseg.backends.tensorrt")
    return Installed(version=real.__version__, module=ours, tensorrt=real, gpu=None)


@pytest.fixture
def use() -> Iterator[Callable[..., Use]]:
    """Makes a `Use` of the fake of a version; keywords but `typed` choose the board."""
    with fake_gpu() as gpu:

        def make(version: str = "10.3.0", *, typed: bool = False, **board: Any) -> Use:
            return Use(made_module(version, Board(**board)), gpu, typed=typed)

        with_context(gpu)
        yield make


OnBoard = Callable[..., Any]


@pytest.fixture
def board() -> Iterator[OnBoard]:
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


@pytest.fixture
def plan(trt: Installed, tmp_path: Path) -> bytes:
    """Of the float graph."""
    return compiled(trt, tmp_path, serialized("float"))


@pytest.fixture
def nothing_is_left(trt: Installed) -> Iterator[None]:
    """Whatever a test did, the GPU has everything back."""
    yield
    assert_given_back(trt)


@pytest.fixture
def runner(trt: Installed, plan: bytes) -> "Iterator[TensorRTRunner]":
    made = opened(trt, plan)
    yield made
    made.close()
