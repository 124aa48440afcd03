"""What all objects of one fake TensorRT share: its version, its board, and what tests count."""

import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from tests.device import simulated_gpu
from tests.tensorrt.surface import Surface


class FakeTensorRTFault(AssertionError):
    """Something that a real TensorRT would end the process for, or leave undefined."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """What a scenario may choose."""

    dla_cores: int = 0
    refuse_uint8: bool = False
    """A TensorRT that takes no uint8 at its borders."""
    free_mib: int | None = None
    """What a build can have; None is the memory of the simulated GPU."""
    steps: int = 3
    """Steps of each of the two phases of a build."""
    on_step: Callable[[], None] | None = None
    """Called between the steps of a build."""
    gpu_name: str | None = None
    """What the plan says it was built on; None is the simulated GPU."""
    compute_capability: tuple[int, int] | None = None


@dataclass(eq=False, kw_only=True)
class State:
    """`timed` and `reused` count layers of builds, `faults` what a real one would not survive."""

    surface: Surface
    board: Board
    module: ModuleType
    timed: int = 0
    reused: int = 0
    builds: int = 0
    deserialized: int = 0
    garbage: int = 0
    """Plans that were none, or not whole."""
    calibrated: int = 0
    """Calls of get_batch."""
    missing_scales: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    pending: dict[object, tuple[int, int, object]] = field(default_factory=dict)
    """Work that is not done: activation memory, stream and context of each."""
    captured: dict[int, int] = field(default_factory=dict)
    """Activation memory of captured graphs to the stream that they were captured on."""
    contexts: "weakref.WeakSet[Any]" = field(default_factory=weakref.WeakSet)

    @property
    def release(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.surface.version.split("."))

    @property
    def gpu(self) -> simulated_gpu.SimulatedGpu | None:
        """The installed GPU; None where there is none, or no driver."""
        try:
            gpu = simulated_gpu.current()
        except AssertionError:
            return None
        return None if gpu.init_result or not gpu.devices else gpu

    @property
    def device(self) -> tuple[str, tuple[int, int]]:
        """Name and compute capability, which plans and timing caches are tied to."""
        gpu = self.gpu
        assert gpu is not None
        name = self.board.gpu_name or gpu.name
        return name, self.board.compute_capability or gpu.compute_capability

    def new(self, kind: str, /, **values: Any) -> Any:
        """An object of the class `kind`, which only TensorRT makes."""
        wanted = getattr(self.module, kind)
        made = wanted.__new__(wanted)
        made._made = True
        made._setup(**values)
        return made

    def value(self, name: str) -> Any:
        """The enum value `name`, as "DataType.HALF"; None where this version lacks it."""
        owner, _, member = name.partition(".")
        return getattr(getattr(self.module, owner, None), member, None)

    def log(self, logger: Any, severity: str, message: str) -> None:
        """Call the logger, from a thread of its own if it is a warning or less."""
        value = getattr(self.module.ILogger, severity)
        call = self.called if severity in {"ERROR", "INTERNAL_ERROR"} else self.called_elsewhere
        call(logger.log, value, message)

    def called_elsewhere(self, callback: Callable[..., Any], *args: object) -> Any:
        """As `called`, in a thread of TensorRT's own."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self.called, callback, *args).result()

    def called(self, callback: Callable[..., Any], *args: object) -> Any:
        """What a callback of the user gives; nothing may leave it but its value."""
        try:
            return callback(*args)
        except BaseException as error:
            raise self.fault(f"{callback} let {error!r} escape into TensorRT") from error

    def fault(self, what: str) -> FakeTensorRTFault:
        self.faults.append(what)
        return FakeTensorRTFault(what)

    def deprecated(self, since: tuple[int, int]) -> None:
        """Warn as the bindings do, where this version is as new as `since`."""
        if self.release[:2] >= since:
            words = f"Deprecated in TensorRT {since[0]}.{since[1]}."
            warnings.warn(words, DeprecationWarning, stacklevel=4)
