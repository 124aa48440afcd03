"""The frame graph of the tiny network, and slots as the engine makes them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.simplify import fixed_core
from edgeseg.types import PixelFormat, Runner, Size, Slot
from tests.networks import SIZE, tiny_core

FRAME = Size(60, 80)
GAIN, BIAS = (1 / 64, 1 / 50, 1 / 80), (-2.0, -2.25, -1.5)


@pytest.fixture(scope="session")
def spec() -> FrameSpec:
    return FrameSpec(
        size=FRAME,
        pixel_format=PixelFormat.RGB8,
        order="rgb",
        gain=GAIN,
        bias=BIAS,
        mask_size=FRAME,
    )


@pytest.fixture(scope="session")
def core() -> ModelProto:
    return fixed_core(tiny_core(), Size(*SIZE))


@pytest.fixture(scope="session")
def graph(core: ModelProto, spec: FrameSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "graph.onnx"
    onnx.save(frame_graph(core, spec), path)
    return path


@pytest.fixture(scope="session")
def new_slot() -> Callable[[Runner], Slot]:
    def make(runner: Runner) -> Slot:
        inputs = {name: np.zeros(item.shape, np.uint8) for name, item in runner.inputs.items()}
        # 77 is no class: a label that was not written shows.
        outputs = {name: np.full(item.shape, 77, np.uint8) for name, item in runner.outputs.items()}
        return Slot(
            inputs=inputs,
            outputs=outputs,
            pixels=inputs["frame"][0],
            labels=outputs["labels"][0],
        )

    return make
