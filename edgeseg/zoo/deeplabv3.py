"""DeepLab v3 (Chen et al. 2017, arXiv:1706.05587): ASPP with image-level features, no decoder."""

from typing import Literal

from torch import Tensor, nn

from edgeseg.zoo.aspp import ASPP, CHANNELS, RATES, conv3x3, rates_at
from edgeseg.zoo.fcn_resnet import fcn_head
from edgeseg.zoo.mobilenetv2 import MobileNetV2
from edgeseg.zoo.mobilenetv3 import MobileNetV3Large
from edgeseg.zoo.resnet import ResNet


class DeepLabV3(nn.Module):
    """Logits (N, classes, H/16, W/16) from pixels (N, 3, H, W), float32 RGB, ImageNet mean, std.

    `backbone` returns a list of features whose last has `channels`. With `aux`, the index and the
    channels of an earlier one, `outputs` hold "aux" besides "logits": scores from that one.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        classes: int,
        channels: int,
        rates: tuple[int, ...],
        aspp_channels: int = CHANNELS,
        separable: bool = False,
        head_3x3: bool = False,
        aux: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.aspp = ASPP(channels, rates=rates, channels=aspp_channels, depthwise=separable)
        self.refine = nn.Sequential()
        if head_3x3:
            self.refine.append(conv3x3(aspp_channels, aspp_channels, depthwise=separable))
        self.classifier = nn.Conv2d(aspp_channels, classes, 1)
        self.aux_index = aux[0] if aux else None
        if aux:
            self.aux = fcn_head(aux[1], classes)

    def forward(self, pixels: Tensor) -> Tensor:
        return self._logits(self.backbone(pixels)[-1])

    def outputs(self, pixels: Tensor) -> dict[str, Tensor]:
        features = self.backbone(pixels)
        scores = {"logits": self._logits(features[-1])}
        if self.aux_index is not None:
            scores["aux"] = self.aux(features[self.aux_index])
        return scores

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.refine(self.aspp(x)))
        return logits  # (N, classes, H/16, W/16)


def deeplabv3_resnet(
    *,
    classes: int,
    depth: Literal[18, 34, 50, 101] = 101,
    width: float = 1.0,
    output_stride: int = 16,
    multi_grid: tuple[int, ...] = (1, 2, 4),
    rates: tuple[int, ...] = RATES,
    aspp_channels: int = CHANNELS,
    separable: bool = False,
    head_3x3: bool = False,
    aux: bool = False,
    first_block_dilates: bool = True,
    stride_on_1x1: bool = False,
) -> DeepLabV3:
    """The paper's network (section 3); `rates` are those at output stride 16.

    torchvision and VainF: no multi-grid, a 3x3 convolution after the ASPP (`head_3x3`), and the
    first block of a dilated layer keeps the dilation before it; torchvision has output stride 8.
    kazuto1011 strides on the first 1x1 convolution. `width` scales the ResNet alone.
    """
    backbone = ResNet(
        depth,
        output_stride=output_stride,
        width=width,
        multi_grid=multi_grid,
        first_block_dilates=first_block_dilates,
        stride_on_1x1=stride_on_1x1,
    )
    return DeepLabV3(
        backbone,
        classes=classes,
        channels=backbone.channels[3],
        rates=rates_at(output_stride, rates),
        aspp_channels=aspp_channels,
        separable=separable,
        head_3x3=head_3x3,
        aux=(2, backbone.channels[2]) if aux else None,
    )


def deeplabv3_mobilenetv3(
    *,
    classes: int,
    width: float = 1.0,
    output_stride: int = 16,
    rates: tuple[int, ...] = RATES,
    aspp_channels: int = CHANNELS,
    separable: bool = False,
    head_3x3: bool = False,
    aux: bool = False,
) -> DeepLabV3:
    """DeepLab v3 on MobileNetV3-Large; torchvision has rates 12, 24, 36 here and `head_3x3`."""
    backbone = MobileNetV3Large(output_stride=output_stride, width=width)
    return DeepLabV3(
        backbone,
        classes=classes,
        channels=backbone.channels[-1],
        rates=rates_at(output_stride, rates),
        aspp_channels=aspp_channels,
        separable=separable,
        head_3x3=head_3x3,
        aux=(0, backbone.channels[0]) if aux else None,
    )


def deeplabv3_mobilenetv2(
    *,
    classes: int,
    width: float = 1.0,
    output_stride: int = 16,
    rates: tuple[int, ...] = RATES,
    aspp_channels: int = CHANNELS,
    separable: bool = False,
    head_3x3: bool = False,
    stem_padding: int = 1,
    pad_first: bool = False,
) -> DeepLabV3:
    """DeepLab v3 on MobileNetV2; VainF has `head_3x3`, no padding in the stem and `pad_first`."""
    backbone = MobileNetV2(
        output_stride=output_stride, width=width, stem_padding=stem_padding, pad_first=pad_first
    )
    return DeepLabV3(
        backbone,
        classes=classes,
        channels=backbone.channels,
        rates=rates_at(output_stride, rates),
        aspp_channels=aspp_channels,
        separable=separable,
        head_3x3=head_3x3,
    )
