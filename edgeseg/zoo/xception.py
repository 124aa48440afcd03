"""Modified aligned Xception-65 (DeepLab v3+, Chen et al. 2018, section 3.2 and figure 4)."""

from typing import Literal

import torch
from torch import Tensor, nn

from edgeseg.zoo.blocks import ConvBN
from edgeseg.zoo.vgg import scaled

ENTRY = ((128, 2), (256, 2), (728, 2))
"""Channels and stride of the three blocks of the entry flow."""
MIDDLE_BLOCKS = 16
EXIT = (1536, 1536, 2048)


class XceptionBlock(nn.Module):
    """Three separable convolutions, the last one strided, and a shortcut.

    Each separable convolution reads rectified features, but the first where `relu_first` is off.
    `relu_sum` rectifies the sum.
    """

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, int, int],
        *,
        stride: int = 1,
        dilation: int = 1,
        depthwise_relu: bool,
        relu_first: bool,
        relu_sum: bool,
    ) -> None:
        super().__init__()
        inputs = (in_channels, *channels[:2])
        self.convs = nn.ModuleList(
            separable_bn(
                before,
                after,
                stride=stride if index == 2 else 1,
                dilation=dilation,
                depthwise_relu=depthwise_relu,
            )
            for index, (before, after) in enumerate(zip(inputs, channels, strict=True))
        )
        self.relu_first, self.relu_sum = relu_first, relu_sum
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels[2]:
            self.shortcut = ConvBN(in_channels, channels[2], stride=stride, act=None)

    def unstrided(self, x: Tensor) -> Tensor:
        """The features of the second separable convolution."""
        x = self.convs[0](torch.relu(x) if self.relu_first else x)
        y: Tensor = self.convs[1](torch.relu(x))
        return y

    def strided(self, x: Tensor, inner: Tensor) -> Tensor:
        """The block's output from its input and `unstrided(x)`."""
        y: Tensor = self.convs[2](torch.relu(inner)) + self.shortcut(x)
        return torch.relu(y) if self.relu_sum else y

    def forward(self, x: Tensor) -> Tensor:
        return self.strided(x, self.unstrided(x))


class Xception(nn.Module):
    """Low-level features at stride 4 and 2048 channels at `output_stride` (8, 16 or 32).

    `low_level`: "block2" are the 256 channels before the second block strides (the authors'
    TensorFlow release), "block1" the 128 of the first block (jfzhang95).
    `depthwise_relu`: ReLU between depthwise and pointwise convolution, as the paper says; the
    authors' release has it in the exit flow only, jfzhang95 nowhere.
    `relu_sums`: every block's sum is rectified, for the shortcut behind it too (jfzhang95, by an
    in-place ReLU).
    """

    def __init__(
        self,
        *,
        output_stride: int = 16,
        width: float = 1.0,
        low_level: Literal["block1", "block2"] = "block2",
        depthwise_relu: bool = True,
        relu_sums: bool = False,
    ) -> None:
        super().__init__()
        first, second = scaled(32, width), scaled(64, width)
        self.stem = nn.Sequential(
            ConvBN(3, first, kernel=3, stride=2), ConvBN(first, second, kernel=3)
        )
        blocks: list[nn.Module] = []
        channels, current, dilation = second, 2, 1
        for triple, wanted in _blocks(width):
            stride = wanted if current * wanted <= output_stride else 1
            block = XceptionBlock(
                channels,
                triple,
                stride=stride,
                dilation=dilation,
                depthwise_relu=depthwise_relu,
                relu_first=bool(blocks) and not relu_sums,
                relu_sum=relu_sums,
            )
            blocks.append(block)
            current *= stride
            # A block that keeps the resolution dilates the blocks after it, not itself.
            dilation *= wanted // stride
            channels = triple[2]
        self.blocks = nn.ModuleList(blocks)
        ends = [scaled(count, width) for count in EXIT]
        self.exit = nn.Sequential(
            *(
                separable_bn(
                    before, after, dilation=dilation, depthwise_relu=depthwise_relu, relu=True
                )
                for before, after in zip([channels, *ends[:2]], ends, strict=True)
            )
        )
        self.low_level = low_level
        low = ENTRY[0 if low_level == "block1" else 1][0]
        self.channels = (scaled(low, width), ends[2])

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = low = self.blocks[0](self.stem(pixels))  # (N, 128, H/4, W/4)
        inner = self.blocks[1].unstrided(x)  # type: ignore[operator]  # (N, 256, H/4, W/4)
        low = inner if self.low_level == "block2" else low
        x = self.blocks[1].strided(x, inner)  # type: ignore[operator]  # (N, 256, H/8, W/8)
        for block in list(self.blocks)[2:]:
            x = block(x)
        return [low, self.exit(x)]  # (N, 256, H/4, W/4), (N, 2048, H/16, W/16)


def separable_bn(
    in_channels: int,
    out_channels: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    depthwise_relu: bool,
    relu: bool = False,
) -> nn.Sequential:
    """Depthwise 3x3 and pointwise 1x1, each with BN; the ReLUs as said."""
    return nn.Sequential(
        ConvBN(
            in_channels,
            in_channels,
            kernel=3,
            stride=stride,
            dilation=dilation,
            groups=in_channels,
            act=nn.ReLU if depthwise_relu else None,
        ),
        ConvBN(in_channels, out_channels, act=nn.ReLU if relu else None),
    )


def _blocks(width: float) -> list[tuple[tuple[int, int, int], int]]:
    """Channels and stride of the twenty blocks; the last is the first of the exit flow."""
    entry = [(scaled(count, width), stride) for count, stride in ENTRY]
    middle, last = scaled(ENTRY[-1][0], width), scaled(1024, width)
    return [
        *(((count, count, count), stride) for count, stride in entry),
        *[((middle, middle, middle), 1)] * MIDDLE_BLOCKS,
        ((middle, last, last), 2),
    ]
