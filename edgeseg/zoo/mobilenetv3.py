"""MobileNetV3-Large (Howard et al. 2019) as a feature extractor, dilated as torchvision's is.

Module names are torchvision's, so that its backbones load as they are.
"""

from typing import NamedTuple

from torch import Tensor, nn

from edgeseg.zoo.blocks import ConvBN
from edgeseg.zoo.mobilenetv2 import rounded

EPSILON = 1e-3  # of the batch normalisation, in TensorFlow's release and in torchvision


class Line(NamedTuple):
    """One line of table 1: kernel, expanded and output channels, squeeze, hard-swish, stride."""

    kernel: int
    expanded: int
    out: int
    squeeze: bool
    hard_swish: bool
    stride: int


ROWS = (
    Line(3, 16, 16, False, False, 1),
    Line(3, 64, 24, False, False, 2),
    Line(3, 72, 24, False, False, 1),
    Line(5, 72, 40, True, False, 2),
    Line(5, 120, 40, True, False, 1),
    Line(5, 120, 40, True, False, 1),
    Line(3, 240, 80, False, True, 2),
    Line(3, 200, 80, False, True, 1),
    Line(3, 184, 80, False, True, 1),
    Line(3, 184, 80, False, True, 1),
    Line(3, 480, 112, True, True, 1),
    Line(3, 672, 112, True, True, 1),
    Line(5, 672, 160, True, True, 2),
    Line(5, 960, 160, True, True, 1),
    Line(5, 960, 160, True, True, 1),
)
AT_STRIDE_8 = 4
"""The first block at stride 8, counted from 1 behind the stem; torchvision taps it."""


class SqueezeExcite(nn.Module):
    """Channels weighed by a small network over their means (section 5.3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = rounded(channels // 4)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.relu = nn.ReLU(inplace=True)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        gates: Tensor = self.gate(self.fc2(self.relu(self.fc1(means))))
        return x * gates


class Block(nn.Module):
    """Expand 1x1, depthwise, squeeze, project 1x1; the shortcut joins equal shapes (figure 4)."""

    def __init__(self, in_channels: int, row: Line, *, stride: int, dilation: int) -> None:
        super().__init__()
        act = nn.Hardswish if row.hard_swish else nn.ReLU
        layers: list[nn.Module] = []
        if row.expanded != in_channels:
            layers.append(ConvBN(in_channels, row.expanded, act=act))
        layers.append(
            ConvBN(
                row.expanded,
                row.expanded,
                kernel=row.kernel,
                stride=stride,
                dilation=dilation,
                groups=row.expanded,
                act=act,
            )
        )
        if row.squeeze:
            layers.append(SqueezeExcite(row.expanded))
        layers.append(ConvBN(row.expanded, row.out, act=None))
        self.block = nn.Sequential(*layers)
        self.shortcut = stride == 1 and in_channels == row.out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.shortcut else y


class MobileNetV3Large(nn.Sequential):
    """Features of 40 channels at stride 8 and of 960 at `output_stride` (8, 16 or 32).

    Past `output_stride` a block dilates instead of striding, by 2 from that block on, itself
    included (torchvision).
    """

    def __init__(self, *, output_stride: int = 16, width: float = 1.0) -> None:
        channels = rounded(16 * width)
        layers: list[nn.Module] = [ConvBN(3, channels, kernel=3, stride=2, act=nn.Hardswish)]
        current, dilation, early = 2, 1, 0
        for number, row in enumerate(ROWS, start=1):
            stride = row.stride
            if current * stride > output_stride:
                dilation, stride = dilation * stride, 1
            current *= stride
            scaled = row._replace(
                expanded=rounded(row.expanded * width), out=rounded(row.out * width)
            )
            layers.append(Block(channels, scaled, stride=stride, dilation=dilation))
            channels = scaled.out
            early = channels if number == AT_STRIDE_8 else early
        layers.append(ConvBN(channels, 6 * channels, act=nn.Hardswish))
        super().__init__(*layers)
        self.channels = (early, 6 * channels)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = EPSILON

    def forward(self, x: Tensor) -> list[Tensor]:
        early = x
        for number, layer in enumerate(self):
            x = layer(x)
            early = x if number == AT_STRIDE_8 else early
        return [early, x]  # (N, 40, H/8, W/8), (N, 960, H/16, W/16)
