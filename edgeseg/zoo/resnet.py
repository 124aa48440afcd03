"""ResNet (He et al. 2016), dilated to output stride 8 or 16, in the forms that public code has.

Module names are torchvision's, so that its backbones load as they are.
"""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation uses
from torch import Tensor, nn

from edgeseg.zoo.vgg import scaled

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
CHANNELS = (64, 128, 256, 512)


class Basic(nn.Module):
    """Two 3x3 convolutions and a shortcut (section 4.1, ResNet-18 and -34)."""

    expansion = 1

    def __init__(
        self, in_channels: int, channels: int, *, stride: int, dilation: int, stride_on_1x1: bool
    ) -> None:
        del stride_on_1x1  # it has none
        super().__init__()
        self.conv1 = nn.Conv2d(
            in_channels, channels, 3, stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(
            channels, channels, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y = y + (x if self.downsample is None else self.downsample(x))
        return self.relu(y)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up by 4, and a shortcut (section 4.1)."""

    expansion = 4

    def __init__(
        self, in_channels: int, channels: int, *, stride: int, dilation: int, stride_on_1x1: bool
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_on_1x1 else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(
            channels, channels, 3, second, padding=dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, 4 * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y = y + (x if self.downsample is None else self.downsample(x))
        return self.relu(y)  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """Features of the four layers, at strides 4, 8 and then up to `output_stride` (8, 16, 32).

    Past the output stride a layer dilates instead of striding: layer4 by 2 at 16; layer3 by 2 and
    layer4 by 4 at 8, times `multi_grid` (DeepLab v3, section 3.1) in the blocks of layer4.
    """

    def __init__(
        self,
        depth: Literal[18, 34, 50, 101],
        *,
        output_stride: int = 16,
        width: float = 1.0,
        multi_grid: Sequence[int] = (1, 1, 1),
        deep_stem: bool = False,
        stride_on_1x1: bool = False,
        ceil_pool: bool = False,
        first_block_dilates: bool = True,
    ) -> None:
        """`deep_stem`: three 3x3 convolutions 64-64-128 instead of one 7x7 (PSPNet, CCNet).

        `stride_on_1x1`: the original position (Caffe) instead of torchvision's 3x3.
        `ceil_pool`: the stem's max pool rounds sizes up (Caffe).
        `first_block_dilates`: False keeps the dilation of the layer before in the first block of
        a dilated layer (torchvision).
        """
        super().__init__()
        block = Bottleneck if depth >= 50 else Basic
        stem = scaled(64, width)
        if deep_stem:
            self.conv1 = nn.Conv2d(3, stem, 3, 2, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(stem)
            self.conv2 = nn.Conv2d(stem, stem, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(stem)
            self.conv3 = nn.Conv2d(stem, 2 * stem, 3, padding=1, bias=False)
            self.bn3 = nn.BatchNorm2d(2 * stem)
        else:
            self.conv1 = nn.Conv2d(3, stem, 7, 2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(stem)
        self.deep_stem = deep_stem
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.ceil_pool = ceil_pool
        channels = 2 * stem if deep_stem else stem
        current, dilation = 4, 1
        self.channels: tuple[int, ...] = ()
        for index, (count, base) in enumerate(zip(DEPTHS[depth], CHANNELS, strict=True)):
            stride, before = (1 if index == 0 else 2), dilation
            if current * stride > output_stride:
                dilation, stride = dilation * stride, 1
            current *= stride
            inner = scaled(base, width)
            blocks = []
            for number in range(count):
                rate = dilation if number or first_block_dilates else before
                grid = multi_grid[number % len(multi_grid)] if index == 3 else 1
                blocks.append(
                    block(
                        channels,
                        inner,
                        stride=stride if number == 0 else 1,
                        dilation=rate * grid,
                        stride_on_1x1=stride_on_1x1,
                    )
                )
                channels = inner * block.expansion
            self.add_module(f"layer{index + 1}", nn.Sequential(*blocks))
            self.channels += (channels,)

    def stem(self, x: Tensor) -> Tensor:
        """(N, 64 or 128, H/4, W/4)."""
        x = self.relu(self.bn1(self.conv1(x)))
        if self.deep_stem:
            x = self.relu(self.bn2(self.conv2(x)))
            x = self.relu(self.bn3(self.conv3(x)))
        if self.ceil_pool:  # as fixed padding: after a ReLU a zero never is the maximum alone
            x = F.pad(x, (0, 1 - x.shape[3] % 2, 0, 1 - x.shape[2] % 2))
        pooled: Tensor = self.maxpool(x)
        return pooled

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        outputs = []
        for index in range(4):
            x = getattr(self, f"layer{index + 1}")(x)
            outputs.append(x)
        return outputs


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )
