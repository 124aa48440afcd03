"""DeepLab v3+ (Chen et al. 2018, arXiv:1802.02611): ASPP over a dilated backbone, and a decoder."""

import torch
from torch import Tensor, nn

from edgeseg.zoo.blocks import ConvBN, resize_like, separable
from edgeseg.zoo.mobilenetv2 import MobileNetV2

ASPP_CHANNELS = 256
LOW_LEVEL_CHANNELS = 48  # table 1 of the paper: the best width of the reduced low-level features
DROPOUT = 0.1


class SeparableASPP(nn.Module):
    """Atrous spatial pyramid pooling (DeepLab v3, section 3.3) with separable 3x3 branches."""

    def __init__(self, in_channels: int, *, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.pointwise = ConvBN(in_channels, ASPP_CHANNELS)
        self.atrous = nn.ModuleList(
            separable(in_channels, ASPP_CHANNELS, dilation=rate) for rate in rates
        )
        self.pooled = ConvBN(in_channels, ASPP_CHANNELS)
        self.project = ConvBN((2 + len(rates)) * ASPP_CHANNELS, ASPP_CHANNELS)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.pointwise(x), *(branch(x) for branch in self.atrous)]
        image = self.pooled(x.mean(dim=(2, 3), keepdim=True))  # (N, 256, 1, 1)
        # A resize from 1x1 is a broadcast; expand keeps Resize, which INT8 dislikes, out of it.
        branches.append(image.expand(-1, -1, x.shape[2], x.shape[3]))
        y: Tensor = self.dropout(self.project(torch.cat(branches, dim=1)))
        return y  # (N, 256, H/16, W/16)


class DeepLabV3Plus(nn.Module):
    """Logits (N, classes, H/4, W/4) from pixels (N, 3, H, W), float32 RGB, ImageNet mean and std.

    Any H and W from 32 up are allowed; sizes that 4 does not divide round up at each stride.
    """

    def __init__(
        self, backbone: MobileNetV2, *, classes: int, rates: tuple[int, ...] = (6, 12, 18)
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.aspp = SeparableASPP(backbone.channels, rates=rates)
        self.low_level = ConvBN(backbone.low_channels, LOW_LEVEL_CHANNELS)
        self.refine = nn.Sequential(
            separable(ASPP_CHANNELS + LOW_LEVEL_CHANNELS, ASPP_CHANNELS),
            separable(ASPP_CHANNELS, ASPP_CHANNELS),
        )
        self.classifier = nn.Conv2d(ASPP_CHANNELS, classes, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        low, high = self.backbone(pixels)
        context = resize_like(self.aspp(high), low)  # (N, 256, H/4, W/4)
        fused = torch.cat([context, self.low_level(low)], dim=1)  # (N, 304, H/4, W/4)
        logits: Tensor = self.classifier(self.refine(fused))
        return logits  # (N, classes, H/4, W/4)


def deeplabv3plus_mobilenetv2(
    *, classes: int, width: float = 1.0, output_stride: int = 16
) -> DeepLabV3Plus:
    """The light form of the paper (section 4.3): MobileNetV2, separable ASPP and decoder."""
    rates = (12, 24, 36) if output_stride == 8 else (6, 12, 18)
    backbone = MobileNetV2(output_stride=output_stride, width=width)
    return DeepLabV3Plus(backbone, classes=classes, rates=rates)
