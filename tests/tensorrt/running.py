"""What the tests of running plans share: plans, runners, and what the masks must be."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import pytest

from edgeseg.backends.plans import packed, unpacked
from edgeseg.types import CompileOptions, Pixels, RuntimeOptions, Slot
from tests.networks import picture
from tests.tensorrt.small_graphs import FRAME, serialized

if TYPE_CHECKING:
    from edgeseg.backends.tensorrt.runner import TensorRTRunner
    from tests.tensorrt.conftest import Installed

DISCRETE = {"integrated": False, "compute_capability": (9, 0)}
PLANS: dict[object, bytes] = {}
"""A fake of one version takes the plans that another fake of it made for the same GPU."""


def compiled(trt: "Installed", folder: Path, graph: bytes, **options: object) -> bytes:
    board = trt.gpu and trt.gpu.compute_capability
    key = (trt.version, board, graph, tuple(options.items()))
    if key not in PLANS:
        (folder / "graph.onnx").write_bytes(graph)
        PLANS[key] = trt.module.compile(folder / "graph.onnx", CompileOptions(**options))
    return PLANS[key]


def altered(plan: bytes, **changes: object) -> bytes:
    """The plan with other words in its header."""
    header, body = unpacked(plan)
    return packed({**header, **changes}, body)


def on(version: str = "10.3.0", **board: object) -> pytest.MarkDecorator:
    """One version and board, for what does not differ between versions."""
    return pytest.mark.parametrize("trt", [(version, board)], indirect=True, ids=[version])


def opened(
    trt: "Installed", plan: bytes, *, workers: int = 1, **runtime: object
) -> "TensorRTRunner":
    options = RuntimeOptions(**runtime)
    runner: TensorRTRunner = trt.module.load(plan, workers=workers, runtime=options)
    return runner


def run(runner: "TensorRTRunner", slot: Slot, image: Pixels) -> Pixels:
    np.copyto(slot.pixels, image)
    runner.launch(slot)
    assert slot.pending is not None
    slot.pending()
    return slot.labels.copy()


def wanted(image: Pixels) -> Pixels:
    """What ONNX Runtime makes of the float graph."""
    return np.asarray(_session().run(None, {"frame": image[None]})[0])[0]


@cache
def _session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(serialized("float"), providers=["CPUExecutionProvider"])


def image(seed: int = 0) -> Pixels:
    return picture(tuple(FRAME), seed)


def assert_given_back(trt: "Installed") -> None:
    """Whatever a test did: no memory, stream, event, graph or context of it is left."""
    if trt.gpu is not None:
        assert trt.gpu.leaks() == []
        assert trt.fake.faults == []
