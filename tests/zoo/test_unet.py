"""U-Net: the paper's counts, sizes and tiles, and the public weights that load."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed here")

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgeseg.errors import UsageError
from edgeseg.types import Size
from edgeseg.zoo import build_network
from edgeseg.zoo.checkpoints.layout import Found
from edgeseg.zoo.checkpoints.milesial import LAYOUTS
from edgeseg.zoo.unet import BORDER_PX, OverlapTile, UpConvolution, mirrored, unet, unet_valid

pytestmark = pytest.mark.torch

NARROW = 0.125
FILES = {
    "milesial_Pytorch-UNet-unet_convtranspose-carvana2": 31_037_698,
    "milesial_Pytorch-UNet-unet_bilinear-carvana2": 17_263_042,
}
"""Public files, and the parameters that the author's network has."""


def _picture(height: int, width: int) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _on_meta(name: str, *, classes: int = 2, **variant: object) -> nn.Module:
    with torch.device("meta"):
        return build_network(name, classes=classes, **variant)


@pytest.mark.parametrize(
    ("name", "size", "gmacs"),
    [("unet-valid", (388, 388), 150.43), ("unet", (512, 512), 192.38)],
)
def test_one_channel_and_two_classes_are_the_network_of_the_paper(
    name: str, size: tuple[int, int], gmacs: float
) -> None:
    network = _on_meta(name, grey=True).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        logits = network(torch.empty(1, 3, *size, device="meta"))
    assert _parameters(network) == 31_030_658
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=0.01)
    assert logits.shape == (1, 2, *size)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (47, 64), (101, 77)])
@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("unet", {}),
        ("unet", {"bilinear": True, "batch_norm": True}),
        ("unet-valid", {"tile": 52, "grey": True}),
    ],
)
def test_logits_have_the_size_of_any_picture(
    name: str, variant: dict[str, object], size: tuple[int, int]
) -> None:
    network = build_network(name, classes=5, width=NARROW, **variant).eval()
    logits = network(_picture(*size))
    assert logits.shape == (1, 5, *size)
    assert logits.isfinite().all()


@torch.no_grad()
def test_padded_network_is_what_its_functions_say() -> None:
    network = unet(classes=3, width=NARROW).eval()
    weights = network.state_dict()

    def twice(x: Tensor, name: str) -> Tensor:
        for index in (0, 1):
            kernel, bias = (weights[f"{name}.{index}.0.{kind}"] for kind in ("weight", "bias"))
            x = F.conv2d(x, kernel, bias, padding=1).relu()
        return x

    maps = [twice(_picture(53, 70), "encoder.0")]
    for level in range(1, 5):
        maps.append(twice(F.max_pool2d(maps[-1], 2), f"encoder.{level}"))
    x = maps.pop()
    for level in range(4):
        skip = maps.pop()
        up = F.conv_transpose2d(x, weights[f"up.{level}.weight"], weights[f"up.{level}.bias"], 2)
        whole = torch.zeros_like(skip)  # zeros at the right and below where a pool rounded down
        whole[:, :, : up.shape[2], : up.shape[3]] = up
        x = twice(torch.cat([skip, whole], 1), f"decoder.{level}")
    expected = F.conv2d(x, weights["classifier.weight"], weights["classifier.bias"])
    torch.testing.assert_close(network(_picture(53, 70)), expected)


@torch.no_grad()
def test_bilinear_variant_enlarges_on_aligned_corners() -> None:
    network = unet(classes=2, width=NARROW, bilinear=True)
    ramp = torch.arange(4.0).view(1, 1, 1, 4)
    expected = torch.linspace(0, 3, 8).expand(1, 1, 2, 8)
    torch.testing.assert_close(network.up[0](ramp), expected)


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 7)])
def test_up_convolution_is_bit_equal_as_a_convolution(size: tuple[int, int]) -> None:
    # Small integers: float sums of them are exact in any order.
    layer = UpConvolution(24, 16)
    for values in (layer.weight, layer.bias):
        values.copy_(torch.randint(-8, 9, values.shape))
    x = torch.randint(-8, 9, (2, 24, *size)).float()
    assert torch.equal(layer.train()(x), F.conv_transpose2d(x, layer.weight, layer.bias, 2))
    assert torch.equal(layer.eval()(x), layer.train()(x))


@torch.no_grad()
def test_grey_network_sees_luma_alone() -> None:
    network = unet(classes=2, width=NARROW, grey=True).eval()
    colours = _picture(32, 32)
    luma = (colours * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    grey = luma.expand(1, 3, 32, 32)
    torch.testing.assert_close(network(colours), network(grey))


@pytest.mark.parametrize("side", [33, 60, 200])
def test_border_is_mirrored_again_and_again(side: int) -> None:
    picture = np.random.default_rng(0).random((1, 3, side, 40), np.float32)
    expected = np.pad(picture, [(0, 0), (0, 0), (92, 103), (92, 119)], mode="reflect")
    border = mirrored(torch.from_numpy(picture), (92, 119, 92, 103))
    np.testing.assert_array_equal(border.numpy(), expected)


@torch.no_grad()
@pytest.mark.parametrize(("size", "tile"), [((52, 36), 20), ((41, 84), 36), ((32, 70), 52)])
def test_tiles_give_what_one_pass_over_the_mirrored_picture_gives(
    size: tuple[int, int], tile: int
) -> None:
    network = unet_valid(classes=3, width=NARROW, tile=tile).eval()
    picture = _picture(*size)
    # To sides of 16k + 12, at which every pooling divides; 16 more would change nothing.
    below, right = ((4 - side) % 16 for side in size)
    sides = [(0, 0), (0, 0), (92, 92 + below), (92, 92 + right)]
    whole = torch.from_numpy(np.pad(picture.numpy(), sides, mode="reflect"))
    one_pass = network.network(whole)[:, :, : size[0], : size[1]]
    torch.testing.assert_close(network(picture), one_pass, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_tiles_are_no_larger_than_asked_and_as_few_as_can_be() -> None:
    network, seen = unet_valid(classes=2, width=NARROW, tile=52).eval(), []
    network.network.register_forward_pre_hook(lambda _, x: seen.append(tuple(x[0].shape[2:])))
    network(_picture(101, 52))  # 101 px are seven steps of 16 px, three a tile
    assert seen == [(52 + 184, 52 + 184)] * 3


def test_reach_of_a_logit_depends_on_its_place_in_the_pools() -> None:
    network = unet_valid(classes=1, width=NARROW).eval().network
    network.pool = nn.AvgPool2d(2)  # a maximum passes its gradient to one pixel alone
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)  # positive: no ReLU hides anything
    picture = torch.ones(1, 3, 36 + 2 * BORDER_PX, 188, requires_grad=True)
    logits = network(picture)
    reach = {}
    for row in (16, 17, 18, 19, 20, 31):
        (slope,) = torch.autograd.grad(logits[0, 0, row, 0], picture, retain_graph=True)
        seen = np.flatnonzero(slope.sum((0, 1, 3)).numpy()) - BORDER_PX - row
        reach[row % 16] = (-seen[0], seen[-1])
    assert {place: reach[place] for place in range(4)} == {
        0: (92, 95), 1: (93, 94), 2: (94, 93), 3: (95, 92),
    }  # fmt: skip
    assert (reach[4], reach[15]) == ((96, 107), (107, 96))


def test_tile_that_no_valid_network_gives_is_refused() -> None:
    with pytest.raises(UsageError, match="tile=400") as told:
        unet_valid(classes=2, width=NARROW, tile=400)
    assert told.value.fix == "tile=404"


@pytest.mark.parametrize("name", ["unet", "unet-valid"])
def test_every_parameter_learns(name: str) -> None:
    network = build_network(name, classes=3, width=NARROW, batch_norm=True).train()
    network(_picture(48, 40)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("name", FILES)
def test_public_weights_are_recognised_and_cover_the_network(name: str, shared: Path) -> None:
    shapes = _public_shapes(shared, name)
    found = LAYOUTS[0].recognise(shapes)
    assert found is not None
    assert (found.network, found.classes, found.pixels) == ("unet", 2, "unit")
    assert found.variant["bilinear"] == ("bilinear" in name)
    network = _on_meta(found.network, classes=found.classes, **found.variant)
    renamed = {LAYOUTS[0].renamed(key): shape for key, shape in shapes.items()}
    assert renamed == _shapes(network)
    assert _parameters(network) == FILES[name]


def test_files_of_the_same_author_with_other_classes_or_grey_pictures_are_recognised(
    shared: Path,
) -> None:
    shapes = _public_shapes(shared, "milesial_Pytorch-UNet-unet_convtranspose-carvana2")
    shapes["outc.conv.weight"], shapes["outc.conv.bias"] = (7, 64, 1, 1), (7,)
    shapes["inc.double_conv.0.weight"] = (64, 1, 3, 3)
    found = LAYOUTS[0].recognise(shapes)
    assert isinstance(found, Found)
    assert (found.classes, found.variant["grey"]) == (7, True)


def test_files_of_other_authors_are_not_claimed(shared: Path) -> None:
    names = [path.stem for path in sorted((shared / "checkpoints").glob("*.json"))]
    claimed = [name for name in names if LAYOUTS[0].recognise(_public_shapes(shared, name))]
    assert claimed == sorted(FILES)
    assert len(names) > len(FILES)


@pytest.mark.needs("onnx", "onnxsim", "onnxruntime", "onnxscript")
@pytest.mark.parametrize(
    ("name", "size", "variant", "operators"),
    [
        ("unet", Size(53, 64), {"batch_norm": True}, {"Pad"}),
        ("unet-valid", Size(36, 50), {"tile": 36}, {"Pad", "Slice"}),
    ],
)
def test_exported_graph_computes_the_same(
    name: str, size: Size, variant: dict[str, object], operators: set[str]
) -> None:
    import onnx
    import onnxruntime

    from edgeseg.graph.simplify import fixed_core
    from edgeseg.zoo.export import export_core

    network = build_network(name, classes=3, width=NARROW, **variant).eval()
    core = fixed_core(onnx.load_from_string(export_core(network, size=size)), size)
    assert {node.op_type for node in core.graph.node} == operators | {
        "Conv", "Relu", "MaxPool", "DepthToSpace", "Concat",
    }  # fmt: skip
    kernels = [np.prod(item.dims) for item in core.graph.initializer if len(item.dims) == 4]
    assert sum(kernels) == sum(p.numel() for p in network.parameters() if p.dim() == 4)
    session = onnxruntime.InferenceSession(core.SerializeToString())
    (logits,) = session.run(None, {"pixels": _picture(*size).numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, network(_picture(*size)).numpy(), atol=1e-5)


def test_overlap_tile_wraps_a_network_whose_weights_fit_the_padded_form() -> None:
    tiled = build_network("unet-valid", classes=2, width=NARROW)
    assert isinstance(tiled, OverlapTile)
    assert _shapes(tiled.network) == _shapes(build_network("unet", classes=2, width=NARROW))


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(value.shape)
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def _public_shapes(shared: Path, name: str) -> dict[str, tuple[int, ...]]:
    text = (shared / "checkpoints" / f"{name}.json").read_text(encoding="utf-8")
    return {
        key: tuple(shape)
        for key, shape in json.loads(text).items()
        if not key.endswith("num_batches_tracked")
    }
