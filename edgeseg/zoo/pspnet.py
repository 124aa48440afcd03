"""PSPNet (Zhao et al. 2017, arXiv:1612.01105): averages over 1, 4, 9 and 36 parts of the map."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation uses
from torch import Tensor, nn

from edgeseg.zoo.attention_blocks import classifier
from edgeseg.zoo.blocks import ConvBN, enlarged, resized
from edgeseg.zoo.resnet import ResNet
from edgeseg.zoo.vgg import scaled

BINS = (1, 2, 3, 6)
HEAD_CHANNELS = 512
AUX_CHANNELS = 256


def bin_averages(x: Tensor, bins: int) -> Tensor:
    """The means (N, C, bins, bins) of `x` (N, C, h, w) over an even grid of overlapping parts.

    The same as an adaptive average pool, which exporters refuse where `bins` does not divide the
    map: there it is two products with constant matrices.
    """
    height, width = x.shape[2], x.shape[3]
    if bins == 1:
        return x.mean(dim=(2, 3), keepdim=True)
    if height % bins == 0 and width % bins == 0:
        return F.avg_pool2d(x, (height // bins, width // bins))
    rows = torch.tensor(averaging(height, bins), dtype=x.dtype, device=x.device)
    columns = torch.tensor(averaging(width, bins), dtype=x.dtype, device=x.device)
    return rows @ x @ columns.T


def averaging(size: int, bins: int) -> list[list[float]]:
    """The matrix (bins, size) whose row i averages positions floor(i*s) to ceil((i+1)*s)."""
    matrix = []
    for index in range(bins):
        start, end = index * size // bins, -(-(index + 1) * size // bins)
        matrix.append([(start <= at < end) / (end - start) for at in range(size)])
    return matrix


class PyramidPooling(nn.Module):
    """The map beside its averages over `BINS` (section 3.2), each brought to 1/4 of the channels.

    The enlargement aligns the corners, as the author's does.
    """

    def __init__(self, in_channels: int, channels: int, *, bins: Sequence[int] = BINS) -> None:
        super().__init__()
        self.bins = tuple(bins)
        self.levels = nn.ModuleList(ConvBN(in_channels, channels) for _ in self.bins)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2], x.shape[3]
        maps = [x]
        for bins, level in zip(self.bins, self.levels, strict=True):
            y = level(bin_averages(x, bins))  # (N, 512, bins, bins)
            if bins == 1:  # a resize from 1x1 is a broadcast
                maps.append(y.expand(-1, -1, height, width))
            else:
                maps.append(resized(y, (height, width), align_corners=True))
        return torch.cat(maps, dim=1)


class PSPNet(nn.Module):
    """Logits from pixels (N, 3, H, W), float32 RGB, ImageNet mean and std.

    With `align_corners` they are (N, classes, H, W), enlarged as the author does; without, they
    have the stride 8 of the backbone. The author's sizes are 8k + 1, at which corners do align;
    others work as well.
    """

    def __init__(
        self,
        backbone: ResNet,
        *,
        classes: int,
        width: float,
        aux: bool,
        align_corners: bool,
    ) -> None:
        super().__init__()
        channels = scaled(HEAD_CHANNELS, width)
        features = backbone.channels[3]
        self.backbone = backbone
        self.pyramid = PyramidPooling(features, channels)
        self.head = _head(features + len(BINS) * channels, channels, classes)
        self.aux = (
            _head(backbone.channels[2], scaled(AUX_CHANNELS, width), classes) if aux else None
        )
        self.align_corners = align_corners

    def outputs(self, pixels: Tensor) -> dict[str, Tensor]:
        """`logits`, and with `aux` the scores `aux` of layer3."""
        maps = self.backbone(pixels)
        scores = {"logits": self.head(self.pyramid(maps[3]))}
        if self.aux is not None:
            scores["aux"] = self.aux(maps[2])
        return {
            name: enlarged(one, pixels, align_corners=self.align_corners)
            for name, one in scores.items()
        }

    def forward(self, pixels: Tensor) -> Tensor:
        scores = self.head(self.pyramid(self.backbone(pixels)[3]))
        return enlarged(scores, pixels, align_corners=self.align_corners)


def _head(in_channels: int, channels: int, classes: int) -> nn.Sequential:
    return nn.Sequential(ConvBN(in_channels, channels, kernel=3), classifier(channels, classes))


def pspnet(
    *,
    classes: int,
    width: float = 1.0,
    depth: Literal[18, 34, 50, 101] = 50,
    aux: bool = False,
    align_corners: bool = True,
) -> PSPNet:
    """PSPNet on ResNet-`depth` with the deep stem; `aux` adds the loss head of section 3.3."""
    backbone = ResNet(depth, output_stride=8, width=width, deep_stem=True)
    return PSPNet(backbone, classes=classes, width=width, aux=aux, align_corners=align_corners)
