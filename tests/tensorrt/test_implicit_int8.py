"""The float graph and the scales that a DLA before 11.4 is given, in the builder."""

from pathlib import Path

import pytest

from edgeseg.graph.plain_int8 import frame_ranges
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.tap import float_activations
from edgeseg.ranges_export import scale_of, tensorrt_cache
from edgeseg.types import CompileOptions, Precision, Size
from tests.networks import SIZE, tiny_core
from tests.tensorrt.conftest import Installed
from tests.tensorrt.small_graphs import serialized

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim")

WITH_DLA = [(version, {"dla_cores": 2}) for version in ("8.6.1", "10.3.0", "10.7.0")]


def cache_of(graph: bytes, version: str, *, without: str = "") -> bytes:
    import onnx

    core = fixed_core(tiny_core(), Size(*SIZE))
    calibrated = dict.fromkeys(float_activations(core), 4.0)
    ranges = frame_ranges(onnx.load_model_from_string(graph), calibrated)
    ranges.pop(without, None)
    scales = {name: scale_of(amax) for name, amax in ranges.items()}
    return tensorrt_cache(scales, version).encode()


def compiled(trt: Installed, folder: Path, cache: bytes) -> bytes:
    path = folder / "graph.onnx"
    path.write_bytes(serialized("float"))
    options = CompileOptions(
        precision=Precision.INT8, dla=0, gpu_fallback=True, calibration_cache=cache
    )
    plan: bytes = trt.module.compile(path, options)
    return plan


@pytest.mark.parametrize("trt", WITH_DLA, indirect=True, ids=[version for version, _ in WITH_DLA])
def test_no_tensor_lacks_a_scale(trt: Installed, tmp_path: Path) -> None:
    assert compiled(trt, tmp_path, cache_of(serialized("float"), trt.version))
    assert trt.fake.missing_scales == []
    assert trt.fake.calibrated == 0


@pytest.mark.parametrize("trt", WITH_DLA[1:2], indirect=True, ids=["10.3.0"])
def test_the_builder_would_have_missed_one(trt: Installed, tmp_path: Path) -> None:
    compiled(trt, tmp_path, cache_of(serialized("float"), trt.version, without="scaled"))

    assert "scaled" in trt.fake.missing_scales
