"""A plan from the graphs of an engine folder, and what its manifest says of it."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from edgeseg.backends.plans import unpacked
from edgeseg.manifest import Plan, read_manifest
from edgeseg.plan import compiled_plan
from edgeseg.recipe import PlanOptions
from tests.tensorrt import fake_plan
from tests.tensorrt.conftest import Installed
from tests.tensorrt.running import on

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim", "openvino")


@pytest.fixture
def stage(small_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an engine that was built for a CPU."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_int8, tmp_path / "stage")
    return tmp_path / "stage"


def planned(stage: Path, **options: Any) -> tuple[Plan, dict[str, Any]]:
    """What the manifest says of the plan, and what the fake wrote of its engine."""
    plan = compiled_plan(stage, read_manifest(stage), "tensorrt", PlanOptions(**options))
    return plan, fake_plan.unpacked(unpacked((stage / plan.file).read_bytes())[1])[0]


@on("8.6.1")
def test_a_plan_has_the_note_of_the_backend(trt: Installed, stage: Path) -> None:
    assert planned(stage)[0].note == trt.module.NOTE


@on("8.6.1", refuse_uint8=True)
def test_a_plan_that_takes_no_bytes_says_so(trt: Installed, stage: Path) -> None:
    note = planned(stage)[0].note
    assert note.startswith(trt.module.NOTE)
    assert "takes no uint8" in note


@on("8.6.1", dla_cores=1)
def test_a_dla_keeps_head_and_last_layer_out_of_int8(trt: Installed, stage: Path) -> None:
    told = planned(stage, dla=0, gpu_fallback=True)[1]["constraints"]
    assert {"Mul_scaled", "Add_pixels", "Resize_full_logits"} <= told.keys()
    assert {*read_manifest(stage).float_layers} <= told.keys()
    assert {*told.values()} == {"HALF"}
    assert trt.fake.faults == []
