"""Atrous spatial pyramid pooling with image-level features (DeepLab v3, section 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeseg.zoo.blocks import ConvBN, separable

CHANNELS = 256
RATES = (6, 12, 18)
"""At output stride 16; the paper doubles them at 8."""
DROPOUT = 0.1


class ASPP(nn.Module):
    """1x1, 3x3 at each of `rates` and the image's mean, each to `channels`; then 1x1 over all.

    `depthwise` splits the 3x3 branches (DeepLab v3+, section 3.2).
    """

    def __init__(
        self,
        in_channels: int,
        *,
        rates: Sequence[int],
        channels: int = CHANNELS,
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        self.pointwise = ConvBN(in_channels, channels)
        self.atrous = nn.ModuleList(
            conv3x3(in_channels, channels, dilation=rate, depthwise=depthwise) for rate in rates
        )
        self.pooled = ConvBN(in_channels, channels)
        self.project = ConvBN((2 + len(rates)) * channels, channels)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.pointwise(x), *(branch(x) for branch in self.atrous)]
        image = self.pooled(x.mean(dim=(2, 3), keepdim=True))  # (N, 256, 1, 1)
        # A resize from 1x1 is a broadcast, with align_corners or without; expand keeps Resize,
        # which INT8 dislikes, out of it.
        branches.append(image.expand(-1, -1, x.shape[2], x.shape[3]))
        y: Tensor = self.dropout(self.project(torch.cat(branches, dim=1)))
        return y  # (N, 256, H/16, W/16)


def conv3x3(
    in_channels: int, out_channels: int, *, dilation: int = 1, depthwise: bool = False
) -> nn.Sequential:
    """A 3x3 convolution with BN and ReLU, split into depthwise and pointwise or not."""
    if depthwise:
        return separable(in_channels, out_channels, dilation=dilation)
    return ConvBN(in_channels, out_channels, kernel=3, dilation=dilation)


def rates_at(output_stride: int, rates: Sequence[int]) -> tuple[int, ...]:
    """`rates`, given for output stride 16, at another one: doubled at 8 (section 4)."""
    return tuple(rate * 16 // output_stride for rate in rates)
