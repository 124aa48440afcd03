"""DANet (Fu et al. 2019, arXiv:1809.02983): position and channel attention on a dilated ResNet."""

from typing import Literal

from torch import Tensor, nn

from edgeseg.zoo.attention_blocks import MULTI_GRID, DualBranches, PositionAttention, classifier
from edgeseg.zoo.blocks import enlarged
from edgeseg.zoo.resnet import ResNet
from edgeseg.zoo.vgg import scaled

HEAD_CHANNELS = 512


class DANet(nn.Module):
    """Logits from pixels (N, 3, H, W), float32 RGB, ImageNet mean and std.

    With `align_corners` they are (N, classes, H, W), enlarged as the author does; without, they
    have the stride 8 of the backbone.
    """

    def __init__(
        self,
        backbone: ResNet,
        *,
        classes: int,
        head_channels: int,
        aux: bool,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.branches = DualBranches(
            backbone.channels[3], head_channels, PositionAttention(head_channels)
        )
        self.classifier = classifier(head_channels, classes)
        self.aux_spatial = classifier(head_channels, classes) if aux else None
        self.aux_channel = classifier(head_channels, classes) if aux else None
        self.align_corners = align_corners

    def outputs(self, pixels: Tensor) -> dict[str, Tensor]:
        """`logits`, and with `aux` the scores `spatial` and `channel` of the single branches."""
        spatial, channel = self.branches(self.backbone(pixels)[3])
        scores = {"logits": self.classifier(spatial + channel)}
        if self.aux_spatial is not None and self.aux_channel is not None:
            scores["spatial"] = self.aux_spatial(spatial)
            scores["channel"] = self.aux_channel(channel)
        return {
            name: enlarged(one, pixels, align_corners=self.align_corners)
            for name, one in scores.items()
        }

    def forward(self, pixels: Tensor) -> Tensor:
        spatial, channel = self.branches(self.backbone(pixels)[3])
        scores = self.classifier(spatial + channel)
        return enlarged(scores, pixels, align_corners=self.align_corners)


def danet(
    *,
    classes: int,
    width: float = 1.0,
    depth: Literal[18, 34, 50, 101] = 101,
    multi_grid: bool = True,
    aux: bool = False,
    align_corners: bool = True,
) -> DANet:
    """DANet; `multi_grid` gives layer4 the rates 4, 8, 16 of the published weights instead of 4."""
    backbone = ResNet(
        depth,
        output_stride=8,
        width=width,
        multi_grid=MULTI_GRID if multi_grid else (1, 1, 1),
        first_block_dilates=False,
    )
    return DANet(
        backbone,
        classes=classes,
        head_channels=scaled(HEAD_CHANNELS, width),
        aux=aux,
        align_corners=align_corners,
    )
