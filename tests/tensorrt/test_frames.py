"""Where frames and labels lie, and what is copied or converted on the way."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from tests.device.gpu_parts import OFFSET
from tests.tensorrt.conftest import Installed
from tests.tensorrt.running import (
    DISCRETE,
    compiled,
    image,
    on,
    opened,
    run,
    wanted,
)
from tests.tensorrt.small_graphs import FRAME, serialized

if TYPE_CHECKING:
    from edgeseg.backends.tensorrt.runner import TensorRTRunner

pytestmark = [pytest.mark.needs("onnx", "onnxruntime"), pytest.mark.usefixtures("nothing_is_left")]

PIXELS, LABELS = 3 * FRAME.height * FRAME.width, FRAME.height * FRAME.width


@on()
def test_mapped_memory_is_read_where_the_frame_was_written(
    trt: Installed, runner: "TensorRTRunner"
) -> None:
    slot = runner.new_slot()
    (context,) = trt.fake.contexts
    assert context.get_tensor_address("frame") == slot.pixels.ctypes.data + OFFSET
    assert context.get_tensor_address("labels") == slot.labels.ctypes.data + OFFSET
    run(runner, slot, image())
    assert trt.gpu is not None
    assert trt.gpu.copies == []


@pytest.mark.parametrize("graph", [True, False])
@on("8.6.1", gpu=DISCRETE, package="cuda")
def test_copy_mode_copies_each_frame_once_in_and_once_out(
    trt: Installed, plan: bytes, graph: bool
) -> None:
    runner = opened(trt, plan, cuda_graph=graph)
    slot = runner.new_slot()
    assert trt.gpu is not None
    assert trt.gpu.copies == []
    for seed in range(2):
        np.testing.assert_array_equal(run(runner, slot, image(seed)), wanted(image(seed)))
    assert trt.gpu.copies == [("HtoD", PIXELS), ("DtoH", LABELS)] * 2
    runner.close()


@on(gpu={"compute_capability": (5, 3)})
def test_managed_memory_has_one_address_and_no_copies(
    trt: Installed, runner: "TensorRTRunner"
) -> None:
    slot = runner.new_slot()
    (context,) = trt.fake.contexts
    assert context.get_tensor_address("frame") == slot.pixels.ctypes.data
    for seed in range(3):
        np.testing.assert_array_equal(run(runner, slot, image(seed)), wanted(image(seed)))
    assert trt.gpu is not None
    assert trt.gpu.copies == []


def with_borders(frame: int, labels: int) -> bytes:
    """The float graph with borders of other types, and without the casts that then are none."""
    model = onnx.load_from_string(serialized("float"))
    model.graph.input[0].type.tensor_type.elem_type = frame
    made_by = {name: node for node in model.graph.node for name in node.output}
    casts = [made_by["labels"]]  # to uint8, and before it to float
    if labels == onnx.TensorProto.INT64:
        casts.append(made_by[casts[0].input[0]])
    for node in casts:
        model.graph.node.remove(node)
    made_by[casts[-1].input[0]].output[0] = "labels"
    model.graph.output[0].type.tensor_type.elem_type = labels
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("memory", ["mapped", "managed", "copy"])
@on()
def test_float_borders_are_converted_beside_the_frame(
    trt: Installed, tmp_path: Path, memory: str
) -> None:
    graph = with_borders(onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT)
    runner = opened(trt, compiled(trt, tmp_path, graph), memory=memory)
    assert {spec.dtype for spec in runner.inputs.values()} == {np.dtype(np.uint8)}
    slot = runner.new_slot()
    assert (slot.pixels.dtype, slot.labels.dtype) == (np.uint8, np.uint8)
    for seed in range(2):
        np.testing.assert_array_equal(run(runner, slot, image(seed)), wanted(image(seed)))
    assert trt.gpu is not None
    if memory == "copy":
        assert trt.gpu.copies == [("HtoD", 4 * PIXELS), ("DtoH", 4 * LABELS)] * 2
    runner.close()


@pytest.mark.parametrize(
    ("trt", "bytes_each"),
    [(("8.6.1", {"gpu": DISCRETE}), 4), (("10.3.0", {"gpu": DISCRETE}), 8)],
    indirect=["trt"],
    ids=["int32", "int64"],
)
def test_whole_labels_are_sized_by_the_engine_and_not_by_the_graph(
    trt: Installed, tmp_path: Path, bytes_each: int
) -> None:
    graph = with_borders(onnx.TensorProto.UINT8, onnx.TensorProto.INT64)
    runner = opened(trt, compiled(trt, tmp_path, graph))
    slot = runner.new_slot()
    np.testing.assert_array_equal(run(runner, slot, image()), wanted(image()))
    assert trt.gpu is not None
    assert trt.gpu.copies == [("HtoD", PIXELS), ("DtoH", bytes_each * LABELS)]
    runner.close()


@pytest.mark.parametrize("trt", ["8.6.1", "10.3.0"], indirect=True)
def test_several_cameras_are_one_launch(trt: Installed, tmp_path: Path) -> None:
    plan = compiled(trt, tmp_path, serialized("cameras"), cameras=2)
    runner = opened(trt, plan, workers=2)
    slots = [runner.new_slot() for _ in range(2)]
    for first, slot in enumerate(slots):
        assert slot.inputs["frame"].shape == (2, *FRAME, 3)
        np.copyto(slot.inputs["frame"][1], image(7 + first))
        np.testing.assert_array_equal(run(runner, slot, image(first)), wanted(image(first)))
        np.testing.assert_array_equal(slot.outputs["labels"][1], wanted(image(7 + first)))
    runner.close()
