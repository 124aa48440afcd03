"""DeepLab v2 (Chen et al. 2016, arXiv:1606.00915): atrous spatial pyramid pooling over scales."""

from collections.abc import Sequence
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn

from edgeseg.zoo.blocks import enlarged, resized
from edgeseg.zoo.deeplabv1 import Classifier, caffe_resnet, stride8_vgg16
from edgeseg.zoo.resnet import ResNet
from edgeseg.zoo.vgg import VGG16, scaled

ASPP_L = (6, 12, 18, 24)
"""Rates of the four branches; the smaller pyramid ASPP-S has 2, 4, 8, 12 (section 4.1.2)."""


class DeepLabV2(nn.Module):
    """Logits from pixels (N, 3, H, W), float32 BGR bytes less their mean: the branches' sum.

    With more than one of `scales` it is the maximum over them at each place (section 4.1.2).
    Logits are (N, classes, H/8, W/8), rounded up; (N, classes, H, W) with `align_corners`, by
    which Caffe resized. `outputs` adds "scale0", "scale1"...: the scores of each scale, for a
    loss on each, at its own size unless `align_corners`.
    """

    def __init__(
        self,
        backbone: VGG16 | ResNet,
        branches: Sequence[nn.Module],
        *,
        scales: tuple[float, ...] = (1.0,),
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.branches = nn.ModuleList(branches)
        self.scales = scales
        self.align_corners = align_corners

    def scores(self, pixels: Tensor) -> Tensor:
        """(N, classes, H/8, W/8) of one scale."""
        features = self.backbone(pixels)[-1]
        first, *others = (branch(features) for branch in self.branches)
        total: Tensor = sum(others, start=first)
        return total

    def forward(self, pixels: Tensor) -> Tensor:
        scores = self._maximum(self._pyramid(pixels))
        return enlarged(scores, pixels, align_corners=self.align_corners)

    def outputs(self, pixels: Tensor) -> dict[str, Tensor]:
        maps = self._pyramid(pixels)
        scores = {"logits": self._maximum(maps)}
        if len(maps) > 1:
            scores |= {f"scale{index}": one for index, one in enumerate(maps)}
        return {
            name: enlarged(one, pixels, align_corners=self.align_corners)
            for name, one in scores.items()
        }

    def _pyramid(self, pixels: Tensor) -> list[Tensor]:
        views = at_scales(pixels, self.scales, align_corners=self.align_corners)
        return [self.scores(view) for view in views]

    def _maximum(self, maps: list[Tensor]) -> Tensor:
        return reduce(torch.maximum, at_first_size(maps, align_corners=self.align_corners))


def vgg16(
    *,
    classes: int,
    width: float = 1.0,
    rates: tuple[int, ...] = ASPP_L,
    scales: tuple[float, ...] = (1.0,),
    batch_norm: bool = False,
    dropout: float = 0.5,
    align_corners: bool = True,
) -> DeepLabV2:
    """VGG-16 with ASPP-L: an fc6 (3x3), fc7 and fc8 of its own at each rate."""
    backbone = stride8_vgg16(width=width, batch_norm=batch_norm)
    channels = scaled(1024, width)
    branches = [
        nn.Sequential(
            Classifier(
                backbone.channels[-1],
                channels,
                kernel=3,
                rate=rate,
                batch_norm=batch_norm,
                dropout=dropout,
            ),
            nn.Conv2d(channels, classes, 1),
        )
        for rate in rates
    ]
    return DeepLabV2(backbone, branches, scales=scales, align_corners=align_corners)


def resnet(
    *,
    classes: int,
    width: float = 1.0,
    depth: Literal[18, 34, 50, 101] = 101,
    rates: tuple[int, ...] = ASPP_L,
    scales: tuple[float, ...] = (1.0,),
    align_corners: bool = False,
    ceil_pool: bool = True,
) -> DeepLabV2:
    """ResNet with one 3x3 convolution to the classes at each rate (section 4.1.2).

    `scales` (1.0, 0.75, 0.5) is the paper's MSC. Half-pixel resizing by default: that is how the
    public PyTorch weights were trained. `ceil_pool` is Caffe's: 240 px give 31 cells, not 30.
    """
    backbone = caffe_resnet(depth, width=width, ceil_pool=ceil_pool)
    branches = [
        nn.Conv2d(backbone.channels[-1], classes, 3, padding=rate, dilation=rate) for rate in rates
    ]
    for branch in branches:
        nn.init.normal_(branch.weight, std=0.01)
        nn.init.zeros_(branch.bias)  # type: ignore[arg-type]
    return DeepLabV2(backbone, branches, scales=scales, align_corners=align_corners)


def at_scales(pixels: Tensor, scales: Sequence[float], *, align_corners: bool) -> list[Tensor]:
    """`pixels` at each of `scales`: floor(s H) px high, or floor(s (H - 1)) + 1 on aligned corners.

    Sizes of 8k + 1 keep the grid of a stride-8 network on aligned corners: 321, 241, 161.
    """
    return [
        pixels
        if scale == 1
        else resized(
            pixels, _scaled_size(pixels, scale, align_corners), align_corners=align_corners
        )
        for scale in scales
    ]


def at_first_size(maps: Sequence[Tensor], *, align_corners: bool) -> list[Tensor]:
    """`maps` resized to the height and width of the first one."""
    first, *others = maps
    size = (first.shape[2], first.shape[3])
    return [first, *(resized(other, size, align_corners=align_corners) for other in others)]


def _scaled_size(pixels: Tensor, scale: float, align_corners: bool) -> tuple[int, int]:
    off = 1 if align_corners else 0
    height, width = (int(scale * (side - off)) + off for side in pixels.shape[2:])
    return height, width
