"""The tiny network in the forms that several files here look at."""

import numpy as np
import pytest
from onnx import ModelProto

from edgeseg.graph.quantize import activation_tensors, quantized
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.tap import tapped
from edgeseg.types import Size
from tests.networks import SIZE, picture, pixels_of, tiny_core
from tests.oracle import run_all


@pytest.fixture(scope="session")
def core() -> ModelProto:
    return fixed_core(tiny_core(symbolic=True, opset=18), Size(*SIZE))


@pytest.fixture(scope="session")
def amax(core: ModelProto) -> dict[str, float]:
    """Two thirds of the largest magnitude on one picture: other pictures saturate."""
    names = activation_tensors(core)
    seen = run_all(tapped(core, names), {"pixels": pixels_of(picture())})
    return {name: float(np.abs(x).max()) / 1.5 for name, x in zip(names, seen, strict=True)}


@pytest.fixture(scope="session")
def int8_core(core: ModelProto, amax: dict[str, float]) -> ModelProto:
    return quantized(core, amax)
