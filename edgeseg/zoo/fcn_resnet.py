"""A fully convolutional head on a dilated ResNet, as torchvision's `fcn_resnet50` and `_resnet101`.

Only the name is that of Long et al.: no skips, no deconvolution.
"""

from typing import Literal

from torch import Tensor, nn

from edgeseg.zoo.blocks import ConvBN
from edgeseg.zoo.resnet import ResNet

DROPOUT = 0.1


class FCNResNet(nn.Module):
    """Logits (N, classes, H/8, W/8) from pixels (N, 3, H, W), float32 RGB, ImageNet mean and std.

    With `aux` the `outputs` hold "aux" besides "logits": scores from the third layer.
    """

    def __init__(self, backbone: ResNet, *, classes: int, aux: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = fcn_head(backbone.channels[3], classes)
        self.aux = fcn_head(backbone.channels[2], classes) if aux else None

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(pixels)[3])
        return logits  # (N, classes, H/8, W/8)

    def outputs(self, pixels: Tensor) -> dict[str, Tensor]:
        features = self.backbone(pixels)
        scores = {"logits": self.head(features[3])}
        if self.aux is not None:
            scores["aux"] = self.aux(features[2])
        return scores


def fcn_head(in_channels: int, classes: int) -> nn.Sequential:
    """3x3 to a quarter of the channels, dropout, 1x1 to the classes."""
    inner = in_channels // 4
    return nn.Sequential(
        ConvBN(in_channels, inner, kernel=3), nn.Dropout(DROPOUT), nn.Conv2d(inner, classes, 1)
    )


def fcn_resnet(
    *,
    classes: int,
    depth: Literal[18, 34, 50, 101] = 50,
    width: float = 1.0,
    output_stride: int = 8,
    aux: bool = False,
) -> FCNResNet:
    """Its ResNet is torchvision's: a dilated layer's first block keeps the dilation before it."""
    backbone = ResNet(depth, output_stride=output_stride, width=width, first_block_dilates=False)
    return FCNResNet(backbone, classes=classes, aux=aux)
