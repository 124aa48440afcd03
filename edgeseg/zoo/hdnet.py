"""HDNet (Li et al., Neurocomputing 447, 2021): location-aware and channel attention on a ResNet."""

from typing import Literal

from torch import Tensor, nn

from edgeseg.zoo.attention_blocks import MULTI_GRID, DualBranches, classifier
from edgeseg.zoo.blocks import enlarged
from edgeseg.zoo.hdr import LocationAwareAttention
from edgeseg.zoo.resnet import ResNet
from edgeseg.zoo.vgg import scaled

HEAD_CHANNELS = 512


class HDNet(nn.Module):
    """Logits from pixels (N, 3, H, W), float32 RGB, ImageNet mean and std.

    With `align_corners` they are (N, classes, H, W), enlarged as the author does; without, they
    keep the stride of the backbone.
    """

    def __init__(
        self, backbone: ResNet, *, classes: int, head_channels: int, align_corners: bool
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.branches = DualBranches(
            backbone.channels[3], head_channels, LocationAwareAttention(head_channels)
        )
        self.classifier = classifier(head_channels, classes)
        self.align_corners = align_corners

    def outputs(self, pixels: Tensor) -> dict[str, Tensor]:
        """`logits`, and `features` (N, head_channels, h, w) for the loss over class vectors."""
        spatial, channel = self.branches(self.backbone(pixels)[3])
        features = spatial + channel  # (N, 512, H/8, W/8)
        scores = self.classifier(features)
        logits = enlarged(scores, pixels, align_corners=self.align_corners)
        return {"logits": logits, "features": features}

    def forward(self, pixels: Tensor) -> Tensor:
        return self.outputs(pixels)["logits"]


def hdnet(
    *,
    classes: int,
    width: float = 1.0,
    depth: Literal[18, 34, 50, 101] = 50,
    output_stride: int = 8,
    multi_grid: bool = False,
    head_channels: int = HEAD_CHANNELS,
    align_corners: bool = True,
) -> HDNet:
    """HDNet on ResNet-`depth`; `multi_grid` gives layer4 the rates 4, 8, 16 instead of 4."""
    backbone = ResNet(
        depth,
        output_stride=output_stride,
        width=width,
        multi_grid=MULTI_GRID if multi_grid else (1, 1, 1),
        first_block_dilates=False,
    )
    return HDNet(
        backbone,
        classes=classes,
        head_channels=scaled(head_channels, width),
        align_corners=align_corners,
    )
