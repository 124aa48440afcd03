"""edgeseg: semantic segmentation networks as INT8 and FP16 engines for cameras."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgeseg.benchmark import benchmark
    from edgeseg.build import build
    from edgeseg.demo import demo
    from edgeseg.diff import diff
    from edgeseg.doctor import doctor
    from edgeseg.engine import Engine
    from edgeseg.errors import EdgesegError
    from edgeseg.evaluate import evaluate
    from edgeseg.export import export
    from edgeseg.inspect import inspect
    from edgeseg.lint import lint
    from edgeseg.models import models
    from edgeseg.ranges_export import export_ranges
    from edgeseg.scales import scale_weights
    from edgeseg.scene import Street
    from edgeseg.sensitivity import sensitivity
    from edgeseg.sources import Timing
    from edgeseg.stream import stream
    from edgeseg.train import train
    from edgeseg.types import Size
    from edgeseg.video.shm_ring import SharedLabels

_WHERE = {
    "Engine": "edgeseg.engine",
    "EdgesegError": "edgeseg.errors",
    "SharedLabels": "edgeseg.video.shm_ring",
    "Size": "edgeseg.types",
    "Street": "edgeseg.scene",
    "Timing": "edgeseg.sources",
    "benchmark": "edgeseg.benchmark",
    "build": "edgeseg.build",
    "demo": "edgeseg.demo",
    "diff": "edgeseg.diff",
    "doctor": "edgeseg.doctor",
    "evaluate": "edgeseg.evaluate",
    "export": "edgeseg.export",
    "export_ranges": "edgeseg.ranges_export",
    "inspect": "edgeseg.inspect",
    "lint": "edgeseg.lint",
    "models": "edgeseg.models",
    "scale_weights": "edgeseg.scales",
    "sensitivity": "edgeseg.sensitivity",
    "stream": "edgeseg.stream",
    "train": "edgeseg.train",
}

__all__ = [
    "EdgesegError",
    "Engine",
    "SharedLabels",
    "Size",
    "Street",
    "Timing",
    "__version__",
    "benchmark",
    "build",
    "demo",
    "diff",
    "doctor",
    "evaluate",
    "export",
    "export_ranges",
    "inspect",
    "lint",
    "models",
    "scale_weights",
    "sensitivity",
    "stream",
    "train",
]


class _Package(ModuleType):
    """This package, in which a name such as `build` is the function even where a module has it.

    Importing `edgeseg.build` would otherwise put the module in the place of the function.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _WHERE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        """Load a public name on first use: `import edgeseg` itself imports nothing heavy."""
        if name not in _WHERE:
            raise AttributeError(f"module 'edgeseg' has no attribute {name!r}")
        value = getattr(import_module(_WHERE[name]), name)
        setattr(self, name, value)
        return value


sys.modules[__name__].__class__ = _Package
