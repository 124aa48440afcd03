"""What the product promises, at full size: run by `make test-full`."""

from pathlib import Path

import numpy as np
import pytest

import edgeseg
from edgeseg.datasets import open_dataset
from edgeseg.engine import Engine

pytestmark = [pytest.mark.slow, pytest.mark.needs("openvino", "cv2", "PIL", "onnx", "onnxsim")]

NETWORK = "deeplabv3plus-mobilenetv2"
ROAD = "onnx/kazuhito00-road_segmentation_adas_0001.onnx"


@pytest.fixture(scope="module")
def camvid_engine(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        engine = edgeseg.build(
            NETWORK,
            precision="int8",
            calibrate="camvid:train",
            val="camvid:val",
            root=shared / "camvid",
        )
        engine.close()
    return folder / engine.folder


def test_int8_keeps_its_miou_on_camvid_test(camvid_engine: Path, shared: Path) -> None:
    found = edgeseg.evaluate(camvid_engine, "camvid:test", root=shared / "camvid")

    assert found.frames == 233
    assert found.drop is not None
    assert found.drop <= 0.3
    assert found.agreement >= 98.5


def test_labels_are_those_of_the_whole_graph_on_all_of_camvid_test(
    camvid_engine: Path, shared: Path
) -> None:
    """The tail outside the graph against the same graph with its own tail, both in OpenVINO."""
    from openvino import Core

    core = Core()
    graph = core.read_model(camvid_engine / "graph.onnx")
    whole = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    frames = open_dataset("camvid:test", root=shared / "camvid")
    different = 0
    with Engine.open(camvid_engine, backend_name="openvino") as engine:
        for index in range(len(frames)):
            image = frames.frame(index).image
            expected = whole({"frame": image[None]})["labels"][0]
            different += int(np.count_nonzero(engine(image) != expected))

    assert different == 0


def test_a_strangers_network_sees_the_road_of_camvid(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    road = Path("road.onnx")
    road.write_bytes((shared / ROAD).read_bytes())
    engine = edgeseg.build(
        road,
        precision="int8",
        calibrate="camvid:train",
        count=40,
        val="camvid:val",
        val_count=20,
        root=shared / "camvid",
        class_map={"Road": ["road", "marking"]},
        description={
            "order": "bgr",
            "mean": (0, 0, 0),
            "std": (1, 1, 1),
            "output": "softmax",
            "labels": ["background", "road", "curb", "marking"],
        },
    )
    with engine:
        found = edgeseg.evaluate(
            engine,
            "camvid:test",
            root=shared / "camvid",
            count=60,
            class_map={"Road": ["road", "marking"]},
        )

    assert found.miou is not None
    assert found.miou > 94
    assert found.agreement > 98.5
