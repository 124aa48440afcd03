"""What the scenarios share. They run on the stand-ins, and on a board with `-m device`.

On a board the masks may differ from ONNX Runtime's where two scores are nearly equal, and kernels
of FP16 and INT8 round otherwise; the stand-ins compute as ONNX Runtime does.
"""

import numpy as np
import onnxruntime
import pytest

from edgeseg.types import Pixels
from tests.tensorrt.conftest import Installed
from tests.tensorrt.running import assert_given_back, image, opened, run

REAL = pytest.param("real", marks=pytest.mark.device)


def least(trt: Installed) -> float:
    """The share of the pixels that have to be as in ONNX Runtime."""
    return 1.0 if trt.gpu is not None else 0.98


def check(trt: Installed, found: Pixels, mask: Pixels) -> None:
    assert found.shape == mask.shape
    assert np.mean(found == mask) >= least(trt)


def masks_of(trt: Installed, plan: bytes, **runtime: object) -> list[Pixels]:
    """What a plan says to two pictures."""
    runner = opened(trt, plan, **runtime)
    try:
        slot = runner.new_slot()
        return [run(runner, slot, image(seed)) for seed in range(2)]
    finally:
        runner.close()
        assert_given_back(trt)


def labels_of(graph: bytes) -> list[Pixels]:
    """What the graph says to them in ONNX Runtime, node by node."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return [session.run(None, {"frame": image(seed)[None]})[0][0] for seed in range(2)]
