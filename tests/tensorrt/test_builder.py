"""Plans by every recorded TensorRT: what they are, what refuses, and what ends a build."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from edgeseg.backends.plans import unpacked
from edgeseg.errors import BuildError, DeviceError, InputFileError, UsageError
from edgeseg.graph.float_borders import with_float_borders
from edgeseg.types import CompileOptions, Precision
from tests.tensorrt import fake_plan
from tests.tensorrt.conftest import Installed
from tests.tensorrt.small_graphs import FRAME, written

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim")

INT8 = CompileOptions(precision=Precision.INT8)


def on(version: str, **board: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("trt", [(version, board)], indirect=True)


def in_plan(plan: bytes) -> dict[str, Any]:
    """What the fake wrote of the engine that it built."""
    return fake_plan.unpacked(unpacked(plan)[1])[0]


def test_a_plan_says_what_it_is(trt: Installed, tmp_path: Path) -> None:
    header, body = unpacked(trt.module.compile(written(tmp_path, "float"), CompileOptions()))
    assert header == {
        "io": "uint8",
        "dla": None,
        "cameras": 1,
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "tensorrt": trt.version,
        "graph": "wide",
        "version_compatible": False,
    }


def test_int8_is_built_from_the_dialect_that_a_version_takes(
    trt: Installed, tmp_path: Path
) -> None:
    typed = trt.module.dialect() == "typed"
    plan = trt.module.compile(written(tmp_path, "typed" if typed else "int8"), INT8)
    assert unpacked(plan)[0]["graph"] == trt.module.dialect()


@on("8.6.1")
def test_fp16_needs_no_other_graph_in_8_6(trt: Installed, tmp_path: Path) -> None:
    told = CompileOptions(precision=Precision.FP16)
    assert unpacked(trt.module.compile(written(tmp_path, "float"), told))[0]["graph"] == "wide"


def test_one_to_as_many_cameras_as_were_asked_for_fit_a_plan(
    trt: Installed, tmp_path: Path
) -> None:
    plan = trt.module.compile(written(tmp_path, "cameras"), CompileOptions(cameras=4))
    assert unpacked(plan)[0]["cameras"] == 4
    frame = [FRAME.height, FRAME.width, 3]
    assert trt.fake.faults == []
    assert in_plan(plan)["profiles"] == [{"frame": [[1, *frame], [4, *frame], [4, *frame]]}]


@on("10.3.0")
def test_a_graph_of_one_camera_is_not_built_for_four(trt: Installed, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="1 frames at once, and 4"):
        trt.module.compile(written(tmp_path, "float"), CompileOptions(cameras=4))


@on("10.3.0")
def test_a_graph_that_cannot_be_read_is_an_input_file_error(trt: Installed, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"graph\.onnx"):
        trt.module.compile(tmp_path / "graph.onnx", CompileOptions())


@on("10.7.0", refuse_uint8=True)
def test_refused_uint8_borders_become_float(
    trt: Installed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = CompileOptions(float_borders=with_float_borders)
    header, _ = unpacked(trt.module.compile(written(tmp_path, "float"), told))
    assert header["io"] == "float"
    assert "takes no uint8" in caplog.text


@on("10.7.0", refuse_uint8=True)
def test_refused_uint8_borders_are_an_error_without_another_form(
    trt: Installed, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match="UINT8 input frame"):
        trt.module.compile(written(tmp_path, "float"), CompileOptions())


@on("8.6.1", free_mib=300)
def test_memory_that_runs_out_gets_one_more_try_with_a_quarter(
    trt: Installed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trt.module.compile(written(tmp_path, "float"), CompileOptions(workspace_mib=1024))
    assert trt.fake.builds == 2
    assert "once more with 256 MiB" in caplog.text


@on("10.3.0", free_mib=30)
def test_memory_that_runs_out_twice_ends_the_build(trt: Installed, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"(?s)256 MiB.*out of memory") as caught:
        trt.module.compile(written(tmp_path, "float"), CompileOptions(workspace_mib=1024))
    assert trt.fake.builds == 2
    assert caught.value.fix


@on("10.3.0", free_mib=30)
def test_memory_that_runs_out_gets_no_second_try_with_more(trt: Installed, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"(?s)40 MiB.*out of memory"):
        trt.module.compile(written(tmp_path, "float"), CompileOptions(workspace_mib=40))
    assert trt.fake.builds == 1


@on("10.3.0", gpu={"integrated": True}, free_mib=1100)
def test_a_board_that_shares_its_memory_gets_a_limit_by_itself(
    trt: Installed, tmp_path: Path
) -> None:
    trt.module.compile(written(tmp_path, "float"), CompileOptions())
    assert trt.fake.builds == 1


@on("10.3.0")
def test_a_later_version_may_load_a_plan_that_was_built_for_it(
    trt: Installed, tmp_path: Path
) -> None:
    told = CompileOptions(version_compatible=True, optimization_level=1)
    plan = trt.module.compile(written(tmp_path, "float"), told)
    assert unpacked(plan)[0]["version_compatible"]
    assert in_plan(plan)["compatible"]


@on("10.16.1.11")
def test_the_layers_of_a_plan_can_be_looked_at(trt: Installed, tmp_path: Path) -> None:
    plan = trt.module.compile(written(tmp_path, "float"), CompileOptions())
    assert all("Inputs" in layer for layer in in_plan(plan)["layers"])


@on("8.6.1")
def test_a_typed_graph_is_refused_where_there_is_no_strong_typing(
    trt: Installed, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match=r"graph\.typed\.onnx") as caught:
        trt.module.compile(written(tmp_path, "typed"), INT8)
    assert "graph.onnx" in caught.value.fix


@on("11.4.0.106")
def test_a_wide_graph_is_float_outside_qdq_where_no_flag_says_otherwise(
    trt: Installed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trt.module.compile(written(tmp_path, "int8"), INT8)
    assert "runs in float32" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimization_level": 6}, "level 6"),
        ({"gpu_fallback": True}, "gpu-fallback"),
        ({"cameras": 0}, "0 cameras"),
        ({"workspace_mib": 0}, "0 MiB"),
    ],
)
@on("10.3.0")
def test_options_that_mean_nothing_are_refused(
    trt: Installed, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        trt.module.compile(written(tmp_path, "float"), CompileOptions(**options))
    assert trt.fake.builds == 0


@on("10.3.0", gpu={"devices": 0})
def test_without_a_gpu_there_is_no_build(trt: Installed, tmp_path: Path) -> None:
    with pytest.raises(DeviceError):
        trt.module.compile(written(tmp_path, "float"), CompileOptions())


@on("10.3.0")
def test_a_tensorrt_that_does_not_start_is_a_device_error(
    trt: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_: object) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(trt.tensorrt, "Builder", nothing)
    with pytest.raises(DeviceError, match=r"10\.3\.0 does not start"):
        trt.module.compile(written(tmp_path, "float"), CompileOptions())
