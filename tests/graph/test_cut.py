"""A frame graph is taken apart and put together for another camera."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, load_model_from_string

from edgeseg.graph.cut import core_of
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.nodes import tensor_shape
from edgeseg.graph.quantize import quantization_hash
from edgeseg.graph.reframe import reframed, spec_of
from edgeseg.manifest import Manifest
from edgeseg.types import PixelFormat, Size
from tests.engines import tiny_manifest
from tests.networks import SIZE, picture, pixels_of
from tests.oracle import bilinear, labels_and_decided, run


def manifest_for(frame: str, **changes: object) -> Manifest:
    return tiny_manifest(frame=frame, **changes)


def framed(core: ModelProto, frame: str = "80x60", **changes: object) -> ModelProto:
    return frame_graph(core, spec_of(manifest_for(frame, **changes)))


@pytest.mark.parametrize("name", ["core", "int8_core"])
@pytest.mark.parametrize(
    "changes", [{}, {"frame_format": "nv12"}, {"frame_format": "bgrx8", "mask_size": "network"}]
)
def test_the_core_of_a_frame_graph_is_the_core(
    name: str, changes: dict[str, object], request: pytest.FixtureRequest
) -> None:
    core: ModelProto = request.getfixturevalue(name)
    found = core_of(framed(core, **changes))
    onnx.checker.check_model(found, full_check=True)
    assert [tensor_shape(value) for value in (*found.graph.input, *found.graph.output)] == [
        (1, 3, 48, 64),
        (1, 5, 12, 16),
    ]
    assert [node.name for node in found.graph.node] == [node.name for node in core.graph.node]
    feeds = {"pixels": pixels_of(picture(seed=6))}
    np.testing.assert_array_equal(run(found, feeds), run(core, feeds))


def test_cutting_keeps_the_quantisation(int8_core: ModelProto) -> None:
    assert quantization_hash(core_of(framed(int8_core))) == quantization_hash(int8_core)


@pytest.mark.parametrize("frame", ["80x60", "64x48", "130x90"])
def test_a_reframed_graph_gives_labels_of_the_new_size(
    core: ModelProto, tmp_path: Path, frame: str
) -> None:
    path = tmp_path / "graph.onnx"
    onnx.save(framed(core, "100x70", frame_format="nv12"), path)
    size = manifest_for(frame).frame_size
    model = load_model_from_string(reframed(path, manifest_for(frame)))
    rgb = picture(size)
    planes = bilinear(rgb.transpose(2, 0, 1), SIZE) / 64 - 2
    logits = run(core, {"pixels": planes[None].astype(np.float32)})[0]
    wanted, decided = labels_and_decided(logits, size)
    found = run(model, {"frame": rgb[None]})[0]
    np.testing.assert_array_equal(found[decided], wanted[decided])
    assert found.shape == size


def test_head_and_tail_follow_the_manifest() -> None:
    manifest = manifest_for("80x60", order="bgr", frame_format="i420", mask_size="network")
    assert spec_of(manifest) == FrameSpec(
        size=Size(60, 80),
        pixel_format=PixelFormat.I420,
        order="bgr",
        gain=(1 / 64,) * 3,
        bias=(-2.0,) * 3,
        mask_size=Size(48, 64),
    )
    assert spec_of(manifest_for("80x60")).mask_size == Size(60, 80)
