"""What every TensorRT has to do when it builds: on stand-ins, and with `-m device` on a board."""

import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeseg.backends import BACKENDS
from edgeseg.backends.plans import unpacked
from edgeseg.errors import BuildError, DeviceError
from edgeseg.graph.frame import frame_graph
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.typed import typed
from edgeseg.types import CompileOptions, Precision, Size
from tests.networks import SIZE, tiny_core
from tests.tensorrt.conftest import Installed
from tests.tensorrt.running import assert_given_back, compiled, image, opened, wanted
from tests.tensorrt.scenario import REAL, check, labels_of, masks_of
from tests.tensorrt.small_graphs import SPEC, calibration_cache, serialized, written
from tests.tensorrt.surface import VERSIONS

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

WITH_DLA = [*((version, {"dla_cores": 2}) for version in VERSIONS), REAL]


def quantized_plan(trt: Installed, folder: Path) -> tuple[bytes, bytes]:
    """The plan of the INT8 graph in the dialect of this version, and that graph."""
    kind = "typed" if trt.module.dialect() == "typed" else "int8"
    graph = written(folder, kind)
    plan: bytes = trt.module.compile(graph, CompileOptions(precision=Precision.INT8))
    return plan, serialized(kind)


def test_static_shape_in_float_with_uint8_borders(trt: Installed, tmp_path: Path) -> None:
    plan = compiled(trt, tmp_path, serialized("float"))

    found = masks_of(trt, plan)

    assert unpacked(plan)[0]["io"] == "uint8"
    for seed, mask in enumerate(found):
        check(trt, mask, wanted(image(seed)))


def test_dynamic_profile_of_three_cameras(trt: Installed, tmp_path: Path) -> None:
    plan = compiled(trt, tmp_path, serialized("cameras"), cameras=3)
    runner = opened(trt, plan)
    for first in (0, 3):  # two slots share the one profile
        slot = runner.new_slot()
        for index in range(3):
            np.copyto(slot.inputs["frame"][index], image(first + index))
        runner.launch(slot)
        assert slot.pending is not None
        slot.pending()
        for index in range(3):
            check(trt, slot.outputs["labels"][index], wanted(image(first + index)))
    runner.close()
    assert_given_back(trt)


def test_int8_by_qdq(trt: Installed, tmp_path: Path) -> None:
    plan, graph = quantized_plan(trt, tmp_path)

    for found, mask in zip(masks_of(trt, plan), labels_of(graph), strict=True):
        check(trt, found, mask)


def test_fp16_by_flag_or_by_the_types_of_the_graph(trt: Installed, tmp_path: Path) -> None:
    model = frame_graph(fixed_core(tiny_core(), Size(*SIZE)), SPEC)
    name = "graph.onnx"
    if trt.module.dialect() == "typed":
        model, name = typed(model), "graph.typed.onnx"
    (tmp_path / name).write_bytes(model.SerializeToString())

    plan = trt.module.compile(tmp_path / name, CompileOptions(precision=Precision.FP16))

    for found, mask in zip(masks_of(trt, plan), labels_of(model.SerializeToString()), strict=True):
        check(trt, found, mask)


@pytest.mark.parametrize("trt", WITH_DLA, indirect=True)
def test_int8_on_a_dla_by_cache_or_by_qdq(trt: Installed, tmp_path: Path) -> None:
    if trt.module.fingerprint().get("dla_cores", "0") == "0":
        pytest.skip("this board has no DLA: that plans run on one stays unverified")
    cached = trt.module.dla_wants_cache()
    graph = written(tmp_path, "float" if cached else "typed")
    options = CompileOptions(
        precision=Precision.INT8,
        dla=0,
        gpu_fallback=True,
        calibration_cache=calibration_cache() if cached else None,
    )

    plan = trt.module.compile(graph, options)

    assert unpacked(plan)[0]["dla"] == 0
    for found, mask in zip(masks_of(trt, plan), labels_of(serialized("int8")), strict=True):
        assert np.mean(found == mask) > 0.5, "INT8 by other scales is not the same, but alike"


def test_dla_is_refused_where_there_is_none(trt: Installed, tmp_path: Path) -> None:
    if trt.module.fingerprint().get("dla_cores", "0") != "0":
        pytest.skip("this board has a DLA")
    graph = written(tmp_path, "float")

    with pytest.raises(DeviceError, match="no DLA"):
        trt.module.compile(graph, CompileOptions(precision=Precision.FP16, dla=0))


def test_timing_cache_goes_round(trt: Installed, tmp_path: Path) -> None:
    cache, graph = tmp_path / "cache" / trt.module.timing_cache_name(), written(tmp_path, "float")

    plans = [trt.module.compile(graph, CompileOptions(timing_cache=cache)) for _ in range(2)]

    assert cache.stat().st_size > 0
    for plan in plans:
        check(trt, masks_of(trt, plan)[0], wanted(image()))
    if trt.gpu is not None:
        assert trt.fake.reused > 0


def test_cancelled_build_gives_nothing_but_the_interrupt(trt: Installed, tmp_path: Path) -> None:
    if not hasattr(trt.tensorrt, "IProgressMonitor"):
        pytest.skip("8.6 asks nobody during a build: see test_progress.py")
    cache = tmp_path / "timing.bin"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trt.module.compile(
            written(tmp_path, "float"), CompileOptions(timing_cache=cache), interrupt
        )

    assert not cache.exists()
    for thread in threading.enumerate():
        if thread.name == "tensorrt-build":
            thread.join(60)
            assert not thread.is_alive()


def test_operator_that_the_parser_lacks_is_named(trt: Installed, tmp_path: Path) -> None:
    model = onnx.load_from_string(serialized("float"))
    node = next(node for node in model.graph.node if node.op_type == "Relu")
    node.op_type, node.name = "NoSuchOperator", "body/odd"
    (tmp_path / "graph.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(BuildError, match="NoSuchOperator"):
        trt.module.compile(tmp_path / "graph.onnx", CompileOptions())


@pytest.mark.parametrize("kind", [onnx.TensorProto.INT32, onnx.TensorProto.INT64])
def test_whole_labels_are_sized_by_the_engine(trt: Installed, tmp_path: Path, kind: int) -> None:
    model = onnx.load_from_string(serialized("float"))
    cast = next(node for node in model.graph.node if "labels" in node.output)
    next(item for item in cast.attribute if item.name == "to").i = kind
    model.graph.output[0].type.tensor_type.elem_type = kind
    plan = compiled(trt, tmp_path, model.SerializeToString())

    for seed, mask in enumerate(masks_of(trt, plan)):
        assert mask.dtype == np.uint8
        check(trt, mask, wanted(image(seed)))


def test_backend_row_is_the_module_under_test(trt: Installed) -> None:
    assert trt.module.__name__ == BACKENDS["tensorrt"]
    assert trt.module.fingerprint()["version"] == trt.version
