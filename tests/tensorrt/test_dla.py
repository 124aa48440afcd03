"""Builds for a DLA: what they need, what runs there, and what is refused."""

import logging
from pathlib import Path
from typing import Any

import pytest

from edgeseg.backends.plans import unpacked
from edgeseg.errors import BuildError, DeviceError, UsageError
from edgeseg.types import CompileOptions, Precision
from tests.tensorrt import fake_plan
from tests.tensorrt.conftest import Installed
from tests.tensorrt.small_graphs import activations, calibration_cache, written

pytestmark = [
    pytest.mark.needs("onnx", "onnxruntime", "onnxsim"),
    # A calibration cache is deprecated, and the only way: edgeseg itself keeps that quiet.
    pytest.mark.filterwarnings("error::DeprecationWarning"),
]


def on(*versions: str, **board: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "trt", [(version, board) for version in versions], indirect=True, ids=versions
    )


def int8(**options: Any) -> CompileOptions:
    wanted = {"dla": 0, "gpu_fallback": True, "precision": Precision.INT8}
    return CompileOptions(**(wanted | options))


def in_plan(plan: bytes) -> dict[str, Any]:
    """What the fake wrote of the engine that it built."""
    return fake_plan.unpacked(unpacked(plan)[1])[0]


def devices(plan: bytes) -> dict[str, bool]:
    """Whether each layer of a plan is on the DLA."""
    return {layer["Name"]: layer["LayerType"] == "DLA" for layer in in_plan(plan)["layers"]}


def test_a_board_without_a_dla_says_which_have_one(trt: Installed, tmp_path: Path) -> None:
    typed = trt.version.startswith("11")
    path = written(tmp_path, "typed" if typed else "float")
    if trt.gpu is None and trt.module.fingerprint()["dla_cores"] != "0":
        pytest.skip("this board has a DLA")
    with pytest.raises(DeviceError, match="no DLA") as caught:
        trt.module.compile(path, int8(calibration_cache=calibration_cache()))
    assert "AGX Orin" in caught.value.fix


@on("8.6.1", "10.3.0", "10.7.0", dla_cores=2)
def test_int8_takes_its_scales_from_a_calibration_cache(trt: Installed, tmp_path: Path) -> None:
    cache = calibration_cache()  # of 10.3.0: the header becomes that of the version at hand
    assert trt.module.dla_wants_cache()
    assert trt.module.dialect(dla=0) == "wide"
    plan = trt.module.compile(written(tmp_path, "float"), int8(dla=1, calibration_cache=cache))
    assert unpacked(plan)[0]["dla"] == 1
    assert trt.fake.calibrated == 0
    assert not {*activations()} & {*trt.fake.missing_scales}
    assert any(devices(plan).values())


@on("8.6.1", "10.3.0", "10.13.0.35", dla_cores=1)
def test_named_nodes_of_floats_stay_out_of_int8(trt: Installed, tmp_path: Path) -> None:
    names = frozenset({"Cast_bytes", "Mul_scaled", "stem", "ArgMax_ids"})
    told = int8(calibration_cache=calibration_cache(), float_nodes=names)
    plan = trt.module.compile(written(tmp_path, "float"), told)
    assert in_plan(plan)["constraints"] == {"Mul_scaled": "HALF", "stem": "HALF"}


@pytest.mark.parametrize(("dla", "flags"), [(None, []), (0, ["ADJUST_FOR_DLA"])])
@on("11.4.0.106", dla_cores=1)
def test_the_parser_shapes_a_graph_for_the_dla_only_where_it_goes_there(
    trt: Installed, tmp_path: Path, dla: int | None, flags: list[str]
) -> None:
    told = int8(dla=dla, gpu_fallback=dla is not None)
    plan = trt.module.compile(written(tmp_path, "typed"), told)
    assert in_plan(plan)["parser_flags"] == flags


@on("11.4.0.106", dla_cores=2)
def test_int8_takes_a_typed_graph_with_qdq_where_there_are_no_calibrators(
    trt: Installed, tmp_path: Path
) -> None:
    assert not trt.module.dla_wants_cache()
    assert trt.module.dialect(dla=0) == "typed"
    plan = trt.module.compile(written(tmp_path, "typed"), int8())
    assert any(devices(plan).values())


@on("8.6.1", "10.3.0", dla_cores=1)
def test_fp16_needs_no_scales(trt: Installed, tmp_path: Path) -> None:
    plan = trt.module.compile(written(tmp_path, "float"), int8(precision=Precision.FP16))
    assert any(devices(plan).values())


@on("10.3.0", dla_cores=1)
def test_what_runs_on_the_gpu_is_told_with_its_reason_before_the_build(
    trt: Installed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    told = int8(precision=Precision.FP16)
    plan = trt.module.compile(written(tmp_path, "float"), told)
    there = devices(plan)
    assert f"{sum(there.values())} of {len(there)} layers run on DLA 0" in caplog.text
    away = [name for name, on_dla in there.items() if not on_dla]
    assert all(name in caplog.text for name in away)
    assert "a DLA has no ArgMax" in caplog.text


@on("10.3.0", dla_cores=1)
def test_without_gpu_fallback_every_layer_must_run_on_the_dla(
    trt: Installed, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match=r"(?s)CAST .*TOPK") as caught:
        trt.module.compile(
            written(tmp_path, "float"), int8(precision=Precision.FP16, gpu_fallback=False)
        )
    assert "--gpu-fallback" in caught.value.fix
    assert trt.fake.builds == 0


@on("10.3.0", dla_cores=2)
def test_a_core_that_is_not_there_is_refused(trt: Installed, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no DLA core 2: this board has 2") as caught:
        trt.module.compile(written(tmp_path, "float"), int8(dla=2))
    assert "--dla 0 or 1" in caught.value.fix


@on("10.3.0", dla_cores=2)
def test_float32_is_refused(trt: Installed, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="INT8 and FP16 only"):
        trt.module.compile(written(tmp_path, "float"), int8(precision=Precision.FP32))


@on("10.3.0", dla_cores=1)
def test_int8_without_scales_is_refused(trt: Installed, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="calibration cache"):
        trt.module.compile(written(tmp_path, "float"), int8())


@on("10.3.0", dla_cores=1)
def test_a_text_that_is_no_calibration_cache_is_refused(trt: Installed, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="TRT-"):
        trt.module.compile(written(tmp_path, "float"), int8(calibration_cache=b"scales"))


@on("10.3.0", dla_cores=1)
def test_a_graph_with_qdq_is_refused_where_a_cache_is_wanted(
    trt: Installed, tmp_path: Path
) -> None:
    told = int8(calibration_cache=calibration_cache())
    with pytest.raises(BuildError, match="no Q/DQ"):
        trt.module.compile(written(tmp_path, "typed"), told)


@on("11.4.0.106", dla_cores=1)
def test_a_version_with_neither_way_is_refused(
    trt: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(trt.tensorrt.OnnxParserFlag, "ADJUST_FOR_DLA")  # as in 11.0 to 11.3
    with pytest.raises(UsageError, match=r"neither a calibration cache nor Q/DQ"):
        trt.module.compile(written(tmp_path, "typed"), int8())


@pytest.mark.parametrize(("cameras", "error"), [(1, BuildError), (3, UsageError)])
@on("10.3.0", dla_cores=1)
def test_shapes_must_be_fixed(
    trt: Installed, tmp_path: Path, cameras: int, error: type[Exception]
) -> None:
    told = int8(precision=Precision.FP16, cameras=cameras)
    with pytest.raises(error, match="fixed shapes"):
        trt.module.compile(written(tmp_path, "cameras"), told)
