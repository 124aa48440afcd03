"""CCNet (Huang et al. 2019, arXiv:1811.11721): criss-cross attention, applied twice."""

from typing import Literal

from torch import Tensor, nn

from edgeseg.zoo.attention_blocks import ConcatHead, CrissCrossAttention, classifier
from edgeseg.zoo.blocks import enlarged
from edgeseg.zoo.resnet import ResNet
from edgeseg.zoo.vgg import scaled

HEAD_CHANNELS = 512


class CCNet(nn.Module):
    """Logits from pixels (N, 3, H, W), float32 bytes BGR less the mean (`pixels.PIXELS`).

    With `align_corners` they are (N, classes, H, W), enlarged as the author does; without, they
    have the stride 8 of the backbone. The head's activations are leaky, those of the backbone not:
    the author's normalisation layer activates, leakily unless told otherwise.
    """

    def __init__(
        self,
        backbone: ResNet,
        *,
        classes: int,
        head_channels: int,
        recurrence: int,
        aux: bool,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = ConcatHead(
            backbone.channels[3],
            head_channels,
            classes=classes,
            context=CrissCrossAttention(head_channels),
            recurrence=recurrence,
            act=nn.LeakyReLU,  # of slope 0.01
        )
        self.aux = _aux_head(backbone.channels[2], head_channels, classes) if aux else None
        self.align_corners = align_corners

    def outputs(self, pixels: Tensor) -> dict[str, Tensor]:
        """`logits`, and with `aux` the scores `aux` of layer3."""
        maps = self.backbone(pixels)
        scores = {"logits": self.head(maps[3])}
        if self.aux is not None:
            scores["aux"] = self.aux(maps[2])
        return {
            name: enlarged(one, pixels, align_corners=self.align_corners)
            for name, one in scores.items()
        }

    def forward(self, pixels: Tensor) -> Tensor:
        scores = self.head(self.backbone(pixels)[3])
        return enlarged(scores, pixels, align_corners=self.align_corners)


def _aux_head(in_channels: int, channels: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1),  # with a bias, as the author has it
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(inplace=True),
        classifier(channels, classes),
    )


def ccnet(
    *,
    classes: int,
    width: float = 1.0,
    depth: Literal[18, 34, 50, 101] = 101,
    recurrence: int = 2,
    aux: bool = False,
    align_corners: bool = True,
) -> CCNet:
    """CCNet; with `recurrence` 2 every position has seen every other one."""
    backbone = ResNet(depth, output_stride=8, width=width, deep_stem=True, ceil_pool=True)
    return CCNet(
        backbone,
        classes=classes,
        head_channels=scaled(HEAD_CHANNELS, width),
        recurrence=recurrence,
        aux=aux,
        align_corners=align_corners,
    )
