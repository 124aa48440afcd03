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
    margins: list[float] = []
    with Engine.open(camvid_engine, backend_name="openvino") as engine:
        slot = engine.new_slot()
        for index in range(len(frames)):
            np.copyto(slot.pixels, frames.frame(index).image)
            engine.launch(slot)
            expected = whole({"frame": slot.inputs["frame"]})["labels"][0]
            for y, x in np.argwhere(slot.labels != expected):
                margins.append(margin_at(slot.bound.logits[0], slot.labels.shape, y, x))

    # Of 40 million pixels: where the two best classes tie, float rounding decides.
    assert len(margins) <= 4
    assert all(margin < 1e-5 for margin in margins)


def margin_at(logits: np.ndarray, shape: tuple[int, ...], y: int, x: int) -> float:
    """How much the best class leads at one pixel, relative to its score; bilinear in float64."""
    below, right = (
        np.clip((at + 0.5) * low / high - 0.5, 0, low - 1)
        for at, low, high in zip((y, x), logits.shape[1:], shape, strict=True)
    )
    top, left = int(below), int(right)
    block = logits[:, top : top + 2, left : left + 2].astype(np.float64)
    rows = block[:, 0] + (below - top) * (block[:, -1] - block[:, 0])
    scores = rows[:, 0] + (right - left) * (rows[:, -1] - rows[:, 0])
    second, best = np.sort(scores)[-2:]
    return float((best - second) / abs(best))


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
