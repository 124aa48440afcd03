"""A non-local block (Wang et al. 2018, arXiv:1711.07971) in a segmentation head on a ResNet.

The paper has no segmentation network. This one has CCNet's head with the non-local block in place
of criss-cross attention, so that the two differ in the attention alone.
"""

from typing import Literal

from torch import Tensor, nn

from edgeseg.zoo.attention_blocks import ConcatHead, NonLocal
from edgeseg.zoo.resnet import ResNet
from edgeseg.zoo.vgg import scaled

HEAD_CHANNELS = 512


class NonLocalNet(nn.Module):
    """Logits (N, classes, H/8, W/8) from pixels (N, 3, H, W), RGB, ImageNet mean and std."""

    def __init__(
        self, backbone: ResNet, *, classes: int, head_channels: int, scaled_scores: bool
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = ConcatHead(
            backbone.channels[3],
            head_channels,
            classes=classes,
            context=NonLocal(head_channels, scaled=scaled_scores),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(pixels)[3])
        return logits  # (N, classes, H/8, W/8)


def nonlocal_net(
    *,
    classes: int,
    width: float = 1.0,
    depth: Literal[18, 34, 50, 101] = 101,
    scaled_scores: bool = False,
) -> NonLocalNet:
    """`scaled_scores` divides them by the root of the inner channels; the paper does not."""
    backbone = ResNet(depth, output_stride=8, width=width)
    return NonLocalNet(
        backbone,
        classes=classes,
        head_channels=scaled(HEAD_CHANNELS, width),
        scaled_scores=scaled_scores,
    )
