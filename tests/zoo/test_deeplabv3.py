"""DeepLab v3 and torchvision's FCN head: counts, arithmetic, variants, public weights."""

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from edgeseg.zoo import build_network  # noqa: E402
from edgeseg.zoo.aspp import ASPP, rates_at  # noqa: E402
from edgeseg.zoo.checkpoints import torchvision, vainf  # noqa: E402
from edgeseg.zoo.deeplabv3 import deeplabv3_mobilenetv2, deeplabv3_resnet  # noqa: E402
from edgeseg.zoo.fcn_resnet import fcn_resnet  # noqa: E402

pytestmark = pytest.mark.torch

SMALL: dict[str, Any] = {"classes": 5, "depth": 18, "width": 0.125, "aspp_channels": 16}
TORCHVISION: dict[str, Any] = {
    "output_stride": 8,
    "multi_grid": (1, 1, 1),
    "first_block_dilates": False,
    "head_3x3": True,
}
VAINF = TORCHVISION | {"output_stride": 16}
AUX = 1024 * 256 * 9 + 2 * 256 + 257 * 21
"""Parameters of the head that torchvision counts in and inference does not need."""
WEIGHTS = {
    "VainF_DeepLabV3Plus-Pytorch-deeplabv3_resnet101-voc21": ("deeplabv3-resnet101", 58_630_997),
    "torchvision-deeplabv3_resnet50-coco_voc21": ("deeplabv3-resnet50", 42_004_074),
    "torchvision-deeplabv3_resnet101-coco_voc21": ("deeplabv3-resnet101", 60_996_202),
    "torchvision-fcn_resnet50-coco_voc21": ("fcn-resnet50", 35_322_218),
}


@pytest.mark.parametrize(
    ("name", "side", "variant", "parameters", "gmacs"),
    [
        ("deeplabv3-resnet101", 513, {}, 58_040_661, 71.061),
        ("deeplabv3-resnet101", 513, {"stride_on_1x1": True}, 58_040_661, 70.243),
        ("deeplabv3-resnet101", 513, VAINF, 58_630_997, 71.704),
        ("deeplabv3-resnet50", 520, TORCHVISION, 42_004_074 - AUX, 168.731),
        ("fcn-resnet50", 520, {}, 35_322_218 - AUX, 142.726),
    ],
)
def test_network_is_as_large_and_as_costly_as_the_reference(
    name: str, side: int, variant: dict[str, Any], parameters: int, gmacs: float
) -> None:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = build_network(name, classes=21, **variant).eval()
        network(torch.zeros(1, 3, side, side))
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=1e-3)


def test_aspp_is_its_branches_side_by_side() -> None:
    aspp = ASPP(6, rates=(1, 2), channels=4).eval()
    x = torch.randn(2, 6, 9, 11)
    image = aspp.pooled(x.sum((2, 3), keepdim=True) / 99)
    spread = image * torch.ones(1, 1, 9, 11)
    branches = [aspp.pointwise(x), aspp.atrous[0](x), aspp.atrous[1](x), spread]
    torch.testing.assert_close(aspp(x), aspp.project(torch.cat(branches, 1)))


def test_rates_double_at_output_stride_8() -> None:
    assert rates_at(8, (6, 12, 18)) == (12, 24, 36)
    network = deeplabv3_resnet(**SMALL, output_stride=8)
    assert [branch[0].dilation[0] for branch in network.aspp.atrous] == [12, 24, 36]


def test_multi_grid_multiplies_the_rate_of_the_last_layer() -> None:
    with torch.device("meta"):
        network = deeplabv3_resnet(classes=2, depth=50)
    assert [block.conv2.dilation[0] for block in network.backbone.layer4] == [2, 4, 8]


@pytest.mark.parametrize(("stride", "shape"), [(16, (5, 7)), (8, (9, 13)), (32, (3, 4))])
def test_logits_have_the_output_stride(stride: int, shape: tuple[int, int]) -> None:
    network = deeplabv3_resnet(**SMALL, output_stride=stride).eval()
    assert network(torch.zeros(1, 3, 65, 97)).shape[2:] == shape


def test_auxiliary_scores_are_there_only_where_asked_for() -> None:
    pixels = torch.randn(2, 3, 33, 65)
    plain, helped = deeplabv3_resnet(**SMALL).eval(), deeplabv3_resnet(**SMALL, aux=True).eval()
    assert set(plain.outputs(pixels)) == {"logits"}
    outputs = helped.outputs(pixels)
    assert outputs["aux"].shape == outputs["logits"].shape == (2, 5, 3, 5)
    torch.testing.assert_close(outputs["logits"], helped(pixels))


def test_fcn_head_has_an_auxiliary_one_of_half_its_width() -> None:
    network = fcn_resnet(classes=3, depth=18, width=0.25, aux=True).eval()
    assert network.aux is not None
    assert network.head[0][0].out_channels == 2 * network.aux[0][0].out_channels
    outputs = network.outputs(torch.zeros(1, 3, 33, 49))
    assert outputs["aux"].shape == outputs["logits"].shape == (1, 3, 5, 7)


def test_every_parameter_learns() -> None:
    network = deeplabv3_resnet(**SMALL, aux=True, head_3x3=True, separable=True)
    outputs = network.outputs(torch.randn(2, 3, 64, 64))
    sum(scores.square().mean() for scores in outputs.values()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_vainfs_mobilenet_pads_before_it_expands() -> None:
    network = deeplabv3_mobilenetv2(classes=2, width=0.25, stem_padding=0, pad_first=True).eval()
    block = network.backbone.stages[1][1]
    expand, depthwise, project = block.body
    _draw_normalisation(expand[1])
    x = torch.randn(1, project[0].out_channels, 7, 9)
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    hidden = nn.functional.relu6(expand[1](nn.functional.conv2d(padded, expand[0].weight)))
    torch.testing.assert_close(block(x), x + project(depthwise(hidden)))
    assert network.backbone.stem(torch.zeros(1, 3, 65, 65)).shape[2:] == (32, 32)


@pytest.mark.parametrize("name", WEIGHTS)
def test_public_weights_fill_the_network(shared: Path, name: str) -> None:
    shapes = _shapes(shared, name)
    network_name, parameters = WEIGHTS[name]
    layout = _layout_of(shapes)
    found = layout.recognise(shapes)
    assert (found.network, found.classes, found.pixels) == (network_name, 21, "imagenet")
    with torch.device("meta"):
        network = build_network(found.network, classes=21, **found.variant)
    assert {layout.renamed(key): shape for key, shape in shapes.items()} == _wanted(network)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_weights_without_the_auxiliary_head_are_known_too(shared: Path) -> None:
    shapes = _shapes(shared, "torchvision-deeplabv3_resnet50-coco_voc21")
    without = {key: shape for key, shape in shapes.items() if not key.startswith("aux")}
    assert _layout_of(without).recognise(without).variant["aux"] is False


@pytest.mark.parametrize(
    "name",
    [
        "torchvision-lraspp_mobilenet_v3_large-coco_voc21",
        "hszhao_semseg-pspnet50-voc2012",
        "kazuto1011_deeplab-pytorch-deeplabv2_resnet101_msc-voc21",
    ],
)
def test_other_networks_are_not_claimed(shared: Path, name: str) -> None:
    shapes = _shapes(shared, name)
    assert [layout.recognise(shapes) for layout in _layouts()] == [None] * len(_layouts())


def _draw_normalisation(norm: Any) -> None:
    for values in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(values)


def _layouts() -> tuple[Any, ...]:
    return (*torchvision.LAYOUTS, *vainf.LAYOUTS)


def _layout_of(shapes: dict[str, tuple[int, ...]]) -> Any:
    (layout,) = (layout for layout in _layouts() if layout.recognise(shapes))
    return layout


def _shapes(shared: Path, name: str) -> dict[str, tuple[int, ...]]:
    loaded = json.loads((shared / "checkpoints" / f"{name}.json").read_text())
    return {
        key: tuple(shape)
        for key, shape in loaded.items()
        if not key.endswith("num_batches_tracked")
    }


def _wanted(network: nn.Module) -> dict[str, tuple[int, ...]]:
    state: dict[str, Tensor] = network.state_dict()
    return {
        name: tuple(value.shape)
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }
