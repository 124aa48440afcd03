"""SegNet and SegNet-Basic (Badrinarayanan, Kendall and Cipolla 2017): unpooling by places."""

from collections.abc import Sequence

from torch import Tensor, nn

from edgeseg.zoo.unpool import Places, pooled, unpooled
from edgeseg.zoo.vgg import CONVOLUTIONS, VGG16, scaled

BASIC_CHANNELS = 64
BASIC_STAGES = 4

LRN_ALPHA = 1e-4
LRN_BETA = 0.75
LRN_CHANNELS = 5
"""The local response normalisation of the authors' SegNet-Basic model file."""


class SegNet(nn.Module):
    """VGG-16's convolutions with batch normalisation, and their mirror image as the decoder.

    Source: section 3. Only the places of the maxima go across; the last convolution is plain.
    Logits are (N, classes, H, W) for pictures of any size.
    """

    def __init__(self, *, classes: int, width: float, ceil_mode: bool) -> None:
        super().__init__()
        self.encoder = VGG16(pools=(None,) * 5, width=width, batch_norm=True)
        channels = self.encoder.channels
        # The last convolution of the last stage is the classifier.
        outer = (None, *channels[:-1])
        self.decoder = nn.ModuleList(
            _decoder_stage(channels[stage], outer[stage], CONVOLUTIONS[stage])
            for stage in reversed(range(5))
        )
        self.classifier = nn.Conv2d(channels[0], classes, 3, padding=1)
        self.ceil_mode = ceil_mode

    def forward(self, pixels: Tensor) -> Tensor:
        x, places = pixels, []
        for stage in range(5):
            x, place = pooled(self.encoder.stage(stage, x), ceil_mode=self.ceil_mode)
            places.append(place)  # x: (N, C, H/2, W/2) to (N, C, H/32, W/32)
        scores: Tensor = self.classifier(_decoded(x, places, self.decoder))
        return scores


class SegNetBasic(nn.Module):
    """Four 7x7 convolutions down and four up, 64 channels each (section 3.1).

    As in the authors' model file the picture is normalised by its local response first, and the
    decoder has batch normalisation but no ReLU. Logits are (N, classes, H, W), any size.
    """

    def __init__(self, *, classes: int, width: float, ceil_mode: bool) -> None:
        super().__init__()
        channels = scaled(BASIC_CHANNELS, width)
        self.encoder = nn.ModuleList(
            _convolution(channels if stage else 3, channels, kernel=7, act=nn.ReLU)
            for stage in range(BASIC_STAGES)
        )
        self.decoder = nn.ModuleList(
            _convolution(channels, channels, kernel=7, act=None) for _ in range(BASIC_STAGES)
        )
        self.classifier = nn.Conv2d(channels, classes, 1)
        self.ceil_mode = ceil_mode

    def forward(self, pixels: Tensor) -> Tensor:
        x, places = response_normalised(pixels), []
        for stage in self.encoder:
            x, place = pooled(stage(x), ceil_mode=self.ceil_mode)
            places.append(place)  # x: (N, C, H/2, W/2) to (N, C, H/16, W/16)
        scores: Tensor = self.classifier(_decoded(x, places, self.decoder))
        return scores


def segnet(*, classes: int, width: float = 1.0, ceil_mode: bool = True) -> SegNet:
    """SegNet on VGG-16; `ceil_mode=False` pools as PyTorch ports do, not as Caffe does."""
    return SegNet(classes=classes, width=width, ceil_mode=ceil_mode)


def segnet_basic(*, classes: int, width: float = 1.0, ceil_mode: bool = True) -> SegNetBasic:
    """SegNet-Basic, the small one; `ceil_mode=False` pools as PyTorch does, not as Caffe does."""
    return SegNetBasic(classes=classes, width=width, ceil_mode=ceil_mode)


def response_normalised(pixels: Tensor) -> Tensor:
    """`pixels` (N, 3, H, W) after local response normalisation across channels.

    A window of five covers all three channels from any of them, so that one sum serves them all.
    """
    # Scaled before it is squared: the sum of three squared bytes is more than float16 holds.
    small = pixels * (LRN_ALPHA / LRN_CHANNELS) ** 0.5
    energy = (small * small).sum(dim=1, keepdim=True)  # (N, 1, H, W)
    divisor: Tensor = (1 + energy) ** LRN_BETA
    return pixels / divisor


def _decoded(x: Tensor, places: Sequence[Places], stages: nn.ModuleList) -> Tensor:
    """`x` unpooled and convolved once a stage, the last places first."""
    for place, stage in zip(reversed(places), stages, strict=True):
        x = stage(unpooled(x, place))
    return x


def _decoder_stage(channels: int, outer: int | None, count: int) -> nn.Sequential:
    """`count` convolutions, the last to `outer` channels; one fewer where there is no outer."""
    layers = [_convolution(channels, channels) for _ in range(count - 1)]
    if outer is not None:
        layers.append(_convolution(channels, outer))
    return nn.Sequential(*layers)


def _convolution(
    in_channels: int, out_channels: int, *, kernel: int = 3, act: type[nn.Module] | None = nn.ReLU
) -> nn.Sequential:
    """A convolution with bias and batch normalisation, as Caffe's SegNet has it."""
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2),
        nn.BatchNorm2d(out_channels),
    ]
    if act is not None:
        layers.append(act(inplace=True))
    return nn.Sequential(*layers)
