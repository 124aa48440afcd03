"""U-Net (Ronneberger, Fischer and Brox 2015, arXiv:1505.04597): padded, or valid by tiles."""

import math
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.zoo.blocks import ConvBN
from edgeseg.zoo.vgg import scaled

CHANNELS = (64, 128, 256, 512, 1024)

BORDER_PX = 92
"""What the unpadded convolutions eat on each side: 572 px become 388."""
STEP_PX = 16
"""The stride of the four poolings: tiles that start on its multiples pool the same pixels."""
REST_PX = 4
"""Valid outputs have sides of 16k + 4 px, from inputs of 16k + 4 + 184."""

RED, GREEN, BLUE = 0.299, 0.587, 0.114
"""The shares of BT.601 in a grey picture."""


class UNet(nn.Module):
    """Logits (N, classes, H, W) from pixels (N, 3, H, W), float32 RGB in [0, 1].

    Unpadded, it takes sides of 16k + 12 px, at least 188, and its logits lack 92 px on each side.
    """

    def __init__(
        self,
        *,
        classes: int,
        width: float,
        padded: bool,
        batch_norm: bool,
        bilinear: bool,
        grey: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        channels = [scaled(count, width) for count in CHANNELS]
        if bilinear:
            channels[-1] = channels[-2]  # nothing halves the channels on the way up
        stage = partial(_two_convolutions, padding=int(padded), batch_norm=batch_norm)
        self.encoder = nn.ModuleList(
            stage(before, after, after)
            for before, after in zip((1 if grey else 3, *channels[:-1]), channels, strict=True)
        )
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        below = channels[-1]
        for level in reversed(range(len(channels) - 1)):
            skip = channels[level]
            out = channels[max(0, level - 1)] if bilinear else skip
            enlarged = below if bilinear else skip
            self.up.append(
                nn.UpsamplingBilinear2d(scale_factor=2)  # on aligned corners
                if bilinear
                else UpConvolution(below, skip)
            )
            self.decoder.append(stage(skip + enlarged, skip, out))
            below = out
        self.classifier = nn.Conv2d(below, classes, 1)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.padded = padded
        self.grey = grey

    def forward(self, pixels: Tensor) -> Tensor:
        x = _grey(pixels) if self.grey else pixels
        maps: list[Tensor] = []
        for level, convolutions in enumerate(self.encoder):
            x = convolutions(self.pool(maps[-1]) if level else x)
            # Section 3.1 has dropout "at the end of the contracting path": its last two levels.
            maps.append(self.dropout(x) if level >= len(self.encoder) - 2 else x)
        x = maps.pop()  # (N, 1024, H/16, W/16)
        for up, convolutions in zip(self.up, self.decoder, strict=True):
            skip, x = maps.pop(), up(x)
            both = (skip, _grown(x, skip)) if self.padded else (_centre(skip, x), x)
            x = convolutions(torch.cat(both, dim=1))
        return self.classifier(x)  # type: ignore[no-any-return]


class UpConvolution(nn.ConvTranspose2d):
    """A 2x2 transposed convolution of stride 2: (N, in, h, w) to (N, out, 2h, 2w), with bias.

    In eval mode it runs as a 1x1 convolution to 4 * out channels whose values then move apart:
    the same sums, for which every backend has INT8 kernels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 2, stride=2)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if self.training or output_size is not None:
            return super().forward(x, output_size)
        assert self.bias is not None
        weight = self.weight.permute(1, 2, 3, 0).reshape(-1, self.in_channels, 1, 1)
        bias = self.bias.unsqueeze(1).expand(-1, 4).reshape(-1)
        return F.pixel_shuffle(F.conv2d(x, weight, bias), 2)


class OverlapTile(nn.Module):
    """Logits (N, classes, H, W) for pictures of any size from an unpadded U-Net (figure 2).

    The picture is mirrored around its border and cut into overlapping tiles, which run one after
    another, so that memory is that of one. Tiles start at multiples of 16 px, where they pool the
    same pixels as the whole picture would: the result is that of one pass over it, without seams.
    """

    def __init__(self, network: UNet, *, tile: int) -> None:
        super().__init__()
        if tile < STEP_PX + REST_PX or tile % STEP_PX != REST_PX:
            nearest = max(1, round((tile - REST_PX) / STEP_PX)) * STEP_PX + REST_PX
            raise UsageError(
                f"tile={tile} is no side of a map that a valid U-Net gives", fix=f"tile={nearest}"
            )
        self.network = network
        self.tile = tile

    def forward(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[2], pixels.shape[3]
        (tops, rows), (lefts, columns) = _tiles(height, self.tile), _tiles(width, self.tile)
        below, right = tops[-1] + rows - height, lefts[-1] + columns - width
        x = mirrored(pixels, (BORDER_PX, BORDER_PX + right, BORDER_PX, BORDER_PX + below))
        rows, columns = rows + 2 * BORDER_PX, columns + 2 * BORDER_PX
        bands = [
            _joined(
                [self.network(x[:, :, top : top + rows, left : left + columns]) for left in lefts],
                dim=3,
            )
            for top in tops
        ]
        return _joined(bands, dim=2)[:, :, :height, :width]


def unet(
    *,
    classes: int,
    width: float = 1.0,
    batch_norm: bool = False,
    bilinear: bool = False,
    grey: bool = False,
    dropout: float = 0.5,
) -> UNet:
    """The padded form: logits (N, classes, H, W) for pictures of any size.

    `bilinear` enlarges without weights, on aligned corners, and halves the deepest channels;
    `grey` lets the first convolution see one grey channel, as in the paper.
    """
    return UNet(
        classes=classes,
        width=width,
        padded=True,
        batch_norm=batch_norm,
        bilinear=bilinear,
        grey=grey,
        dropout=dropout,
    )


def unet_valid(
    *,
    classes: int,
    width: float = 1.0,
    tile: int = 388,
    batch_norm: bool = False,
    grey: bool = False,
    dropout: float = 0.5,
) -> OverlapTile:
    """The paper's network, unpadded, by overlapping tiles of at most `tile` px of logits."""
    network = UNet(
        classes=classes,
        width=width,
        padded=False,
        batch_norm=batch_norm,
        bilinear=False,
        grey=grey,
        dropout=dropout,
    )
    return OverlapTile(network, tile=tile)


def mirrored(pixels: Tensor, sides: tuple[int, int, int, int]) -> Tensor:
    """`pixels` continued by `sides` px (left, right, top, bottom) as between parallel mirrors."""
    left = list(sides)
    while any(left):
        height, width = pixels.shape[2], pixels.shape[3]
        # One reflection reaches as far as the picture does; a longer border takes several.
        now = [
            min(side, most - 1)
            for side, most in zip(left, (width, width, height, height), strict=True)
        ]
        pixels = F.pad(pixels, now, mode="reflect")
        left = [side - done for side, done in zip(left, now, strict=True)]
    return pixels


def _tiles(side: int, largest: int) -> tuple[list[int], int]:
    """Where the fewest equal tiles start that cover `side` px, and their own side in px."""
    steps = max(1, math.ceil((side - REST_PX) / STEP_PX))
    count = math.ceil(steps / (largest // STEP_PX))
    each = math.ceil(steps / count) * STEP_PX
    return [index * each for index in range(count)], each + REST_PX


def _joined(tiles: list[Tensor], *, dim: int) -> Tensor:
    """`tiles` side by side; each lacks the last 4 px, with which the next one begins."""
    cut = [tile.narrow(dim, 0, tile.shape[dim] - REST_PX) for tile in tiles[:-1]]
    return torch.cat([*cut, tiles[-1]], dim=dim)


def _two_convolutions(
    before: int, between: int, after: int, *, padding: int, batch_norm: bool
) -> nn.Sequential:
    """Two 3x3 convolutions, each with a ReLU; those before a normalisation have no bias."""
    pairs = ((before, between), (between, after))
    if batch_norm:
        return nn.Sequential(*(ConvBN(*pair, kernel=3, padding=padding) for pair in pairs))
    return nn.Sequential(
        *(
            nn.Sequential(nn.Conv2d(*pair, 3, padding=padding), nn.ReLU(inplace=True))
            for pair in pairs
        )
    )


def _grown(x: Tensor, skip: Tensor) -> Tensor:
    """`x` with zeros around it up to the height and width of `skip`, the odd one after."""
    right, below = skip.shape[3] - x.shape[3], skip.shape[2] - x.shape[2]
    return F.pad(x, (right // 2, right - right // 2, below // 2, below - below // 2))


def _centre(skip: Tensor, x: Tensor) -> Tensor:
    """The centre of `skip` that has the height and width of `x`."""
    height, width = x.shape[2], x.shape[3]
    top, left = (skip.shape[2] - height) // 2, (skip.shape[3] - width) // 2
    return skip[:, :, top : top + height, left : left + width]


def _grey(pixels: Tensor) -> Tensor:
    """(N, 1, H, W) from RGB."""
    red, green, blue = pixels[:, 0:1], pixels[:, 1:2], pixels[:, 2:3]
    return RED * red + GREEN * green + BLUE * blue
