"""DeepLab v3+ (Chen et al. 2018, arXiv:1802.02611): ASPP over a dilated backbone, and a decoder."""

from typing import Literal

import torch
from torch import Tensor, nn

from edgeseg.zoo.aspp import ASPP, CHANNELS, RATES, conv3x3, rates_at
from edgeseg.zoo.blocks import ConvBN, resized
from edgeseg.zoo.mobilenetv2 import MobileNetV2
from edgeseg.zoo.resnet import ResNet
from edgeseg.zoo.xception import Xception

LOW_LEVEL_CHANNELS = 48  # table 1 of the paper: the best width of the reduced low-level features
DECODER_CONVS = 2  # table 2 of the paper


class DeepLabV3Plus(nn.Module):
    """Logits (N, classes, H/4, W/4) from pixels (N, 3, H, W), float32 RGB, ImageNet mean and std.

    `backbone` returns low-level features at stride 4 first and deep ones last, of the two counts
    of `channels`. With `align_corners` (jfzhang95) both resizes are of that kind, so that the
    network has to do the last one too: the logits are then (N, classes, H, W).

    Any H and W from 32 up are allowed; sizes that 4 does not divide round up at each stride.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        classes: int,
        channels: tuple[int, int],
        rates: tuple[int, ...],
        aspp_channels: int = CHANNELS,
        low_channels: int = LOW_LEVEL_CHANNELS,
        decoder_convs: int = DECODER_CONVS,
        separable: bool = False,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.backbone = backbone
        self.aspp = ASPP(channels[1], rates=rates, channels=aspp_channels, depthwise=separable)
        self.low_level = ConvBN(channels[0], low_channels)
        counts = [aspp_channels + low_channels, *[aspp_channels] * decoder_convs]
        self.refine = nn.Sequential(
            *(conv3x3(before, aspp_channels, depthwise=separable) for before in counts[:-1])
        )
        self.classifier = nn.Conv2d(counts[-1], classes, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.backbone(pixels)
        low, high = features[0], features[-1]
        context = self._resized(self.aspp(high), low)  # (N, 256, H/4, W/4)
        fused = torch.cat([context, self.low_level(low)], dim=1)  # (N, 304, H/4, W/4)
        logits: Tensor = self.classifier(self.refine(fused))
        return self._resized(logits, pixels) if self.align_corners else logits

    def _resized(self, x: Tensor, reference: Tensor) -> Tensor:
        size = (reference.shape[2], reference.shape[3])
        return resized(x, size, align_corners=self.align_corners)


def deeplabv3plus_xception(
    *,
    classes: int,
    width: float = 1.0,
    output_stride: int = 16,
    rates: tuple[int, ...] = RATES,
    aspp_channels: int = CHANNELS,
    low_channels: int = LOW_LEVEL_CHANNELS,
    decoder_convs: int = DECODER_CONVS,
    separable: bool = False,
    align_corners: bool = False,
    low_level: Literal["block1", "block2"] = "block2",
    depthwise_relu: bool = True,
    relu_sums: bool = False,
) -> DeepLabV3Plus:
    """The paper's best network (section 4.3); `separable` is its light form of the head.

    `width` scales the backbone alone, and `rates` are those at output stride 16. The last four
    options differ in jfzhang95's code, see `Xception`.
    """
    backbone = Xception(
        output_stride=output_stride,
        width=width,
        low_level=low_level,
        depthwise_relu=depthwise_relu,
        relu_sums=relu_sums,
    )
    return DeepLabV3Plus(
        backbone,
        classes=classes,
        channels=backbone.channels,
        rates=rates_at(output_stride, rates),
        aspp_channels=aspp_channels,
        low_channels=low_channels,
        decoder_convs=decoder_convs,
        separable=separable,
        align_corners=align_corners,
    )


def deeplabv3plus_resnet(
    *,
    classes: int,
    depth: Literal[18, 34, 50, 101] = 101,
    width: float = 1.0,
    output_stride: int = 16,
    multi_grid: tuple[int, ...] = (1, 2, 4),
    rates: tuple[int, ...] = RATES,
    aspp_channels: int = CHANNELS,
    low_channels: int = LOW_LEVEL_CHANNELS,
    decoder_convs: int = DECODER_CONVS,
    separable: bool = False,
    align_corners: bool = False,
    first_block_dilates: bool = True,
) -> DeepLabV3Plus:
    """The paper's ablation network (section 4.2): DeepLab v3's encoder and the decoder.

    VainF: no multi-grid, one decoder convolution, and the first block of a dilated layer keeps the
    dilation before it. jfzhang95: `align_corners`.
    """
    backbone = ResNet(
        depth,
        output_stride=output_stride,
        width=width,
        multi_grid=multi_grid,
        first_block_dilates=first_block_dilates,
    )
    return DeepLabV3Plus(
        backbone,
        classes=classes,
        channels=(backbone.channels[0], backbone.channels[3]),
        rates=rates_at(output_stride, rates),
        aspp_channels=aspp_channels,
        low_channels=low_channels,
        decoder_convs=decoder_convs,
        separable=separable,
        align_corners=align_corners,
    )


def deeplabv3plus_mobilenetv2(
    *,
    classes: int,
    width: float = 1.0,
    output_stride: int = 16,
    rates: tuple[int, ...] = RATES,
    aspp_channels: int = CHANNELS,
    low_channels: int = LOW_LEVEL_CHANNELS,
    decoder_convs: int = DECODER_CONVS,
    separable: bool = True,
    align_corners: bool = False,
    stem_padding: int = 1,
    pad_first: bool = False,
    late_dilation: bool = False,
) -> DeepLabV3Plus:
    """A light form of the paper: MobileNetV2, separable ASPP and decoder; weights for it ship.

    VainF and jfzhang95 have dense heads; the last three options are theirs, see `MobileNetV2`.
    """
    backbone = MobileNetV2(
        output_stride=output_stride,
        width=width,
        stem_padding=stem_padding,
        pad_first=pad_first,
        late_dilation=late_dilation,
    )
    return DeepLabV3Plus(
        backbone,
        classes=classes,
        channels=(backbone.low_channels, backbone.channels),
        rates=rates_at(output_stride, rates),
        aspp_channels=aspp_channels,
        low_channels=low_channels,
        decoder_convs=decoder_convs,
        separable=separable,
        align_corners=align_corners,
    )
