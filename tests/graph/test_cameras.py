"""One graph for several cameras: each picture gets the labels that it gets alone."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from edgeseg.graph.cameras import batched, for_cameras
from edgeseg.graph.float_borders import float_bordered
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.lint import examined
from edgeseg.graph.nodes import consumers, tensor_shape
from edgeseg.graph.quantize import activation_tensors, quantization_hash, quantized
from edgeseg.graph.tap import tapped
from edgeseg.graph.typed import check_typed, typed
from edgeseg.types import PixelFormat, Size
from tests.networks import picture
from tests.oracle import run, run_all

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim")

Array = np.ndarray
FRAME = Size(62, 82)
"""Whose factor to the network's 48x64 float32 does not hold."""
CAMERAS = 3


def framed(
    core: ModelProto,
    pixel_format: PixelFormat = PixelFormat.RGB8,
    *,
    size: Size = FRAME,
    mask_size: Size | None = None,
) -> ModelProto:
    spec = FrameSpec(
        size=size,
        pixel_format=pixel_format,
        order="rgb",
        gain=(1 / 64, 1 / 50, 1 / 80),
        bias=(-2.0, -2.25, -1.5),
        mask_size=mask_size or size,
    )
    return frame_graph(core, spec)


def frames(pixel_format: PixelFormat = PixelFormat.RGB8, size: Size = FRAME) -> list[Array]:
    """Different pictures (1, ...) as that camera gives them; colours that mean nothing."""
    shape = pixel_format.frame_shape(size)
    flat = [picture(size, seed).reshape(-1) for seed in range(CAMERAS)]
    return [np.resize(values, shape)[None] for values in flat]


def assert_each_gets_its_own_labels(model: ModelProto, pictures: list[Array]) -> None:
    name, several = model.graph.input[0].name, batched(model)
    alone = [run(model, {name: each}) for each in pictures]
    assert len({labels.tobytes() for labels in alone}) == CAMERAS  # else nothing is shown
    together = run(several, {name: np.concatenate(pictures)})
    np.testing.assert_array_equal(together, np.concatenate(alone))
    np.testing.assert_array_equal(run(several, {name: pictures[1]}), alone[1])


@pytest.mark.parametrize("dialect", ["wide", "typed"])
@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_every_camera_gets_the_labels_that_it_gets_alone(
    int8_core: ModelProto, pixel_format: PixelFormat, dialect: str
) -> None:
    model = framed(int8_core, pixel_format)
    model = typed(model) if dialect == "typed" else model
    assert_each_gets_its_own_labels(model, frames(pixel_format))


@pytest.mark.parametrize("size", [Size(48, 64), Size(96, 128), Size(31, 47)])
def test_frames_of_any_size_and_masks_of_the_networks(core: ModelProto, size: Size) -> None:
    assert_each_gets_its_own_labels(framed(core, size=size), frames(size=size))
    masks = framed(core, size=size, mask_size=Size(48, 64))
    assert_each_gets_its_own_labels(masks, frames(size=size))


def test_float_borders_take_several_cameras_too(int8_core: ModelProto) -> None:
    model = float_bordered(framed(int8_core, PixelFormat.NV12))
    pictures = [each.astype(np.float32) for each in frames(PixelFormat.NV12)]
    assert_each_gets_its_own_labels(model, pictures)
    wanted = float_bordered(batched(framed(int8_core, PixelFormat.NV12)))
    every = {"frame": np.concatenate(pictures)}
    np.testing.assert_array_equal(run(batched(model), every), run(wanted, every))


def test_borders_have_an_open_first_axis_and_bytes_a_cast_of_their_own(core: ModelProto) -> None:
    model = onnx.load_model_from_string(for_cameras(framed(core).SerializeToString()))
    borders = {v.name: tensor_shape(v) for v in (*model.graph.input, *model.graph.output)}
    assert borders == {"frame": ("cameras", *FRAME, 3), "labels": ("cameras", *FRAME)}
    assert [node.op_type for node in consumers(model)["frame"]] == ["Cast"]


def test_quantisation_dialect_and_rules_are_kept(int8_core: ModelProto) -> None:
    wide = framed(int8_core)
    half = typed(wide)
    check_typed(batched(half))
    for model in (wide, half):
        several = batched(model)
        assert quantization_hash(several) == quantization_hash(model)
        assert examined(several).findings == []
        names = {node.name for node in several.graph.node}
        assert {node.name for node in model.graph.node} <= names


def test_one_graph_stays_as_it_is(core: ModelProto) -> None:
    model = framed(core)
    before = model.SerializeToString(deterministic=True)
    batched(model)
    assert model.SerializeToString(deterministic=True) == before


ZOO = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in (
        "deeplabv3plus-compact", "fcn8s-vgg16", "unet-compact", "unet", "segnet-basic",
        "deeplabv1-msc-largefov-vgg16", "pspnet-resnet50", "danet-resnet101", "ccnet-resnet101",
        "hdnet-resnet50", "attention-to-scale-compact",
    )
]  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize("name", ZOO)
def test_networks_of_the_zoo_take_several_cameras(name: str) -> None:
    from edgeseg.zoo import MODELS
    from tests.zoo import contract

    size = MODELS[name].sizes.nearest(Size(64, 96))
    network = contract.lifelike(name, size, classes=7, width=contract.WIDTH)
    core = contract.core_of(network, size)
    pixels = [contract.picture(name, size, seed).numpy() for seed in range(CAMERAS)]
    names = activation_tensors(core)
    seen = run_all(tapped(core, names), {"pixels": pixels[0]})
    int8 = quantized(core, {n: float(np.abs(x).max()) for n, x in zip(names, seen, strict=True)})
    for model in (core, int8):
        alone = np.concatenate([run(model, {"pixels": each}) for each in pixels])
        together = run(batched(model), {"pixels": np.concatenate(pixels)})
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5 * np.abs(alone).max())
        assert not np.allclose(alone[0], alone[1])
    check_typed(batched(typed(framed(int8, size=size))))
