"""DeepLab v1 (Chen et al. 2015, arXiv:1412.7062): VGG-16 at output stride 8 as a dense classifier.

Every pool has a 3x3 window and padding 1, so that a cell of the map lies on every eighth pixel,
from the first one on: 321 px give 41 cells, 306 give 39, 513 give 65. Those are the paper's
numbers. Caffe's pools round up: the same at 8k + 1 px, but 40 cells at 306, where 39 is right.
"""

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.zoo.blocks import enlarged
from edgeseg.zoo.resnet import ResNet
from edgeseg.zoo.vgg import VGG16, scaled

BRANCH_CHANNELS = 128
BRANCH_STRIDES = (8, 4, 2, 1, 1)
"""From the picture and from pool1 to pool4 to the map of the scores."""


class Classifier(nn.Module):
    """fc6 and fc7 as convolutions that keep the size of the map, each with ReLU and dropout."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        kernel: int,
        rate: int,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if rate * (kernel - 1) % 2:
            raise UsageError(
                f"a {kernel}x{kernel} kernel at rate {rate} has no centre",
                fix="an even rate for an even kernel",
            )
        # 4x4 at rate 4 spans 13 px, an odd number: the same padding on all sides keeps the size.
        padding = rate * (kernel - 1) // 2
        self.fc6 = nn.Conv2d(in_channels, channels, kernel, padding=padding, dilation=rate)
        self.bn6 = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
        self.fc7 = nn.Conv2d(channels, channels, 1)
        self.bn7 = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.relu(self.bn6(self.fc6(x))))
        x = self.dropout(self.relu(self.bn7(self.fc7(x))))
        return x  # (N, channels, h, w)


class Branches(nn.Module):
    """The multi-scale prediction of section 4.1: small nets beside the picture and four pools."""

    def __init__(self, in_channels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(count, channels, 3, stride, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 1),
                nn.ReLU(inplace=True),
            )
            for count, stride in zip(in_channels, BRANCH_STRIDES, strict=True)
        )
        self.channels = channels * len(in_channels)

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        return [net(x) for net, x in zip(self.nets, inputs, strict=True)]  # (N, 128, H/8, W/8)


class DeepLabV1(nn.Module):
    """Logits (N, classes, H, W) from pixels (N, 3, H, W), float32 BGR bytes less their mean.

    With `align_corners` the network itself resizes its scores, as Caffe's Interp does, exactly for
    sizes of 8k + 1; without it the logits are (N, classes, H/8, W/8), rounded up.
    """

    def __init__(
        self,
        backbone: VGG16,
        classifier: Classifier,
        *,
        classes: int,
        branches: Branches | None = None,
        align_corners: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier
        self.branches = branches
        channels = classifier.fc7.out_channels
        if branches is not None:
            channels += branches.channels
        self.fc8 = nn.Conv2d(channels, classes, 1)
        self.align_corners = align_corners

    def features(self, pixels: Tensor) -> Tensor:
        """What fc8 scores: (N, 1024, H/8, W/8), or 640 channels more with the branches."""
        pooled = self.backbone(pixels)
        features: Tensor = self.classifier(pooled[-1])
        if self.branches is None:
            return features
        return torch.cat([features, *self.branches([pixels, *pooled[:-1]])], dim=1)

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.fc8(self.features(pixels))  # (N, classes, H/8, W/8)
        return enlarged(scores, pixels, align_corners=self.align_corners)


class ResNetDeepLabV1(nn.Module):
    """Logits (N, classes, H/8, W/8): one 1x1 convolution on a ResNet-101 of output stride 8."""

    def __init__(self, *, classes: int, width: float) -> None:
        super().__init__()
        self.backbone = caffe_resnet(101, width=width)
        self.fc = nn.Conv2d(self.backbone.channels[-1], classes, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.backbone(pixels)[-1])
        return logits


def largefov(
    *,
    classes: int,
    width: float = 1.0,
    multi_scale: bool = False,
    batch_norm: bool = False,
    dropout: float = 0.5,
    align_corners: bool = True,
) -> DeepLabV1:
    """DeepLab-LargeFOV: fc6 is 3x3 at rate 12 with 1024 channels (section 4.1, table 2).

    `multi_scale`: DeepLab-MSc-LargeFOV, which also scores features of the picture and four pools.
    """
    backbone = stride8_vgg16(width=width, batch_norm=batch_norm, average_pool=True)
    branches = None
    if multi_scale:
        branches = Branches((3, *backbone.channels[:4]), scaled(BRANCH_CHANNELS, width))
    classifier = Classifier(
        backbone.channels[-1],
        scaled(1024, width),
        kernel=3,
        rate=12,
        batch_norm=batch_norm,
        dropout=dropout,
    )
    return DeepLabV1(
        backbone, classifier, classes=classes, branches=branches, align_corners=align_corners
    )


def four_by_four(
    *,
    classes: int,
    width: float = 1.0,
    rate: int = 4,
    kernel: int = 4,
    batch_norm: bool = False,
    dropout: float = 0.5,
    align_corners: bool = True,
) -> DeepLabV1:
    """The network of the paper's 8 frames a second: fc6 cut from 7x7 to 4x4, 4096 channels.

    `kernel=7` is the full fc6; `rate=8` the wider field of view of table 2.
    """
    backbone = stride8_vgg16(width=width, batch_norm=batch_norm)
    classifier = Classifier(
        backbone.channels[-1],
        scaled(4096, width),
        kernel=kernel,
        rate=rate,
        batch_norm=batch_norm,
        dropout=dropout,
    )
    return DeepLabV1(backbone, classifier, classes=classes, align_corners=align_corners)


def resnet101(*, classes: int, width: float = 1.0) -> ResNetDeepLabV1:
    """A dilated ResNet-101 and a 1x1 convolution: what DeepLab v2 starts from on COCO.

    The paper has no such network; public code (kazuto1011) names it DeepLab v1.
    """
    return ResNetDeepLabV1(classes=classes, width=width)


def stride8_vgg16(
    *, width: float = 1.0, batch_norm: bool = False, average_pool: bool = False
) -> VGG16:
    """VGG-16 whose pools 4 and 5 do not stride and whose conv5 dilates by 2 (section 3.1).

    `average_pool`: a 3x3 average after pool5, as LargeFOV was released.
    """
    halving: Any = partial(nn.MaxPool2d, 3, 2, padding=1)
    keeping: Any = partial(nn.MaxPool2d, 3, 1, padding=1)
    last = _max_then_average if average_pool else keeping
    return VGG16(
        pools=(halving, halving, halving, keeping, last),
        width=width,
        batch_norm=batch_norm,
        dilations=(1, 1, 1, 1, 2),
    )


def caffe_resnet(
    depth: Literal[18, 34, 50, 101], *, width: float = 1.0, ceil_pool: bool = True
) -> ResNet:
    """ResNet as Caffe has it: strides on the 1x1 convolutions, a pool that rounds sizes up."""
    return ResNet(depth, output_stride=8, width=width, stride_on_1x1=True, ceil_pool=ceil_pool)


def _max_then_average() -> nn.Module:
    return nn.Sequential(nn.MaxPool2d(3, 1, padding=1), nn.AvgPool2d(3, 1, padding=1))
