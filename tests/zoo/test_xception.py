"""Aligned Xception: its shape, its rates, and what two authors do differently."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from edgeseg.zoo.deeplabv3plus import deeplabv3plus_xception  # noqa: E402
from edgeseg.zoo.xception import Xception, XceptionBlock  # noqa: E402

pytestmark = pytest.mark.torch

PLAIN: dict[str, Any] = {"depthwise_relu": False, "relu_first": True, "relu_sum": False}


def test_network_has_65_layers() -> None:
    with torch.device("meta"):
        backbone = Xception()
    separable = 3 * len(backbone.blocks) + len(backbone.exit)
    assert len(backbone.stem) + separable == 65
    assert backbone.channels == (256, 2048)


def test_light_head_drops_a_quarter_of_the_parameters() -> None:
    with torch.device("meta"):
        dense = deeplabv3plus_xception(classes=21)
        light = deeplabv3plus_xception(classes=21, separable=True)
    assert sum(p.numel() for p in dense.parameters()) == 54_711_461
    assert sum(p.numel() for p in light.parameters()) < 0.76 * 54_711_461


@pytest.mark.parametrize(
    ("stride", "rates", "shape"),
    [(32, (1, 1, 1), (2, 3)), (16, (1, 1, 2), (4, 6)), (8, (2, 2, 4), (8, 12))],
)
def test_rates_replace_strides_past_the_output_stride(
    stride: int, rates: tuple[int, ...], shape: tuple[int, int]
) -> None:
    backbone = Xception(output_stride=stride, width=0.05).eval()
    middle, last, end = backbone.blocks[3], backbone.blocks[19], backbone.exit
    found = (middle.convs[0], last.convs[0], end[0])
    assert tuple(conv[0][0].dilation[0] for conv in found) == rates
    low, high = backbone(torch.zeros(1, 3, 64, 96))
    assert low.shape[2:] == (16, 24)
    assert high.shape[2:] == shape


def test_low_level_features_are_taken_before_the_second_block_strides() -> None:
    backbone = Xception(width=0.05).eval()
    pixels = torch.randn(1, 3, 33, 49)
    x = backbone.blocks[0](backbone.stem(pixels))
    for conv in backbone.blocks[1].convs[:2]:
        x = conv(nn.functional.relu(x))
    torch.testing.assert_close(backbone(pixels)[0], x)


def test_first_block_is_the_other_source_of_low_level_features() -> None:
    backbone = Xception(width=0.05, low_level="block1", relu_sums=True).eval()
    pixels = torch.randn(1, 3, 33, 49)
    low = backbone(pixels)[0]
    torch.testing.assert_close(low, backbone.blocks[0](backbone.stem(pixels)))
    assert low.shape[1] == backbone.channels[0]
    assert low.min() == 0


def test_block_adds_its_unrectified_input() -> None:
    block = XceptionBlock(4, (4, 4, 4), **PLAIN).eval()
    x = y = torch.randn(1, 4, 9, 9)
    for conv in block.convs:
        y = conv(y.clamp(min=0))
    torch.testing.assert_close(block(x), x + y)


def test_rectified_sums_are_an_in_place_relu_in_front_of_each_block() -> None:
    options: dict[str, Any] = {"stride": 1, "dilation": 2, "depthwise_relu": False}
    ours = XceptionBlock(4, (4, 4, 4), **options, relu_first=False, relu_sum=True).eval()
    other = XceptionBlock(4, (4, 4, 4), **options, relu_first=False, relu_sum=True).eval()
    x = torch.randn(1, 4, 9, 9)
    rectified = x.clamp(min=0)
    first = rectified.clone()
    for conv in ours.convs:
        first = conv(nn.functional.relu(first))
    second = summed = nn.functional.relu(rectified + first)
    for conv in other.convs:
        second = conv(nn.functional.relu(second))
    torch.testing.assert_close(other(ours(rectified)), nn.functional.relu(summed + second))


def test_relu_after_the_depthwise_convolution_is_optional() -> None:
    with torch.device("meta"):
        paper, bare = Xception(), Xception(depthwise_relu=False)
    assert _relus(paper) - _relus(bare) == 63


def _relus(network: nn.Module) -> int:
    return sum(isinstance(module, nn.ReLU) for module in network.modules())
