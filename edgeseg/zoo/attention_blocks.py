"""Attention modules over feature maps, and the two heads that public code puts them into."""

import torch
from torch import Tensor, nn

from edgeseg.zoo.blocks import ConvBN

MASKED = -1e4  # instead of -infinity: FP16 holds it, and exp(MASKED) is 0 even in float64
DROPOUT = 0.1
MULTI_GRID = (2, 2, 4)
"""Rates 4, 8, 16 in layer4 for a ResNet whose first block keeps the rate 2 of the layer before."""


class PositionAttention(nn.Module):
    """Each position attends to all others (DANet, section 3.2); gamma starts at 0: the identity.

    The attention matrix is (H*W)^2: 354 MB in FP32 for the 97x97 map of a 769x769 picture.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        query = self.query(x).flatten(2).transpose(1, 2)  # (N, HW, C/8)
        attention = (query @ self.key(x).flatten(2)).softmax(-1)  # (N, HW, HW)
        y = self.value(x).flatten(2) @ attention.transpose(1, 2)  # (N, C, HW)
        z: Tensor = x + self.gamma * y.reshape(x.shape)
        return z


class ChannelAttention(nn.Module):
    """Each channel attends to all others (DANet, section 3.3); gamma starts at 0: the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)  # (N, C, HW)
        # The author's softmax(max - energy) is this one: a softmax ignores what all rows share.
        attention = (-channel_energy(flat)).softmax(-1)  # (N, C, C)
        return x + self.gamma * (attention.to(x.dtype) @ flat).reshape(x.shape)


def channel_energy(flat: Tensor) -> Tensor:
    """X X^T (N, C, C) of X (N, C, HW), in float32 even where autocast wants less.

    Its entries are sums over H*W: they leave the range of FP16, and BF16 rounds away the
    differences that the softmax is made of.
    """
    flat = flat.float()
    # An autocast block would stand in the exported graph, so there is none where none is needed.
    if torch.is_autocast_enabled("cuda" if flat.is_cuda else "cpu"):
        with torch.autocast(flat.device.type, enabled=False):
            return torch.matmul(flat, flat.transpose(1, 2))
    return torch.matmul(flat, flat.transpose(1, 2))


class CrissCrossAttention(nn.Module):
    """Each position attends to its row and its column (CCNet, section 3.2).

    Both share one softmax over H + W scores; a position is in its row only, as its place in the
    column is masked.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[2]
        query, key, value = self.query(x), self.key(x), self.value(x)
        column = query.permute(0, 3, 2, 1) @ key.permute(0, 3, 1, 2)  # (N, W, H, H)
        column = column + MASKED * torch.eye(height, dtype=column.dtype, device=x.device)
        row = query.permute(0, 2, 3, 1) @ key.permute(0, 2, 1, 3)  # (N, H, W, W)
        both = torch.cat([column.transpose(1, 2), row], dim=-1).softmax(-1)  # (N, H, W, H + W)
        column = both[..., :height].transpose(1, 2) @ value.permute(0, 3, 2, 1)  # (N, W, H, C)
        row = both[..., height:] @ value.permute(0, 2, 3, 1)  # (N, H, W, C)
        y = column.permute(0, 3, 2, 1) + row.permute(0, 3, 1, 2)  # (N, C, H, W)
        z: Tensor = x + self.gamma * y
        return z


class NonLocal(nn.Module):
    """The embedded Gaussian form (Wang et al. 2018, section 3.2); starts as the identity.

    `scaled` divides the scores by the root of the inner channels, as transformers do.
    """

    def __init__(self, channels: int, *, scaled: bool = False) -> None:
        super().__init__()
        inner = channels // 2
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.g = nn.Conv2d(channels, inner, 1)
        self.out = ConvBN(inner, channels, act=None)
        nn.init.zeros_(self.out[1].weight)  # type: ignore[arg-type]
        self.scale = inner**-0.5 if scaled else 1.0

    def forward(self, x: Tensor) -> Tensor:
        theta = self.theta(x).flatten(2).transpose(1, 2) * self.scale  # (N, HW, C/2)
        attention = (theta @ self.phi(x).flatten(2)).softmax(-1)  # (N, HW, HW)
        y = self.g(x).flatten(2) @ attention.transpose(1, 2)  # (N, C/2, HW)
        y = y.reshape(x.shape[0], -1, x.shape[2], x.shape[3])
        z: Tensor = x + self.out(y)
        return z


class DualBranches(nn.Module):
    """The two branches of DANet's head: one around `spatial`, one around channel attention.

    `forward` returns the outputs of both, each (N, channels, h, w); their sum is classified.
    """

    def __init__(self, in_channels: int, channels: int, spatial: nn.Module) -> None:
        super().__init__()
        self.spatial_in = ConvBN(in_channels, channels, kernel=3)
        self.spatial = spatial
        self.spatial_out = ConvBN(channels, channels, kernel=3)
        self.channel_in = ConvBN(in_channels, channels, kernel=3)
        self.channel = ChannelAttention()
        self.channel_out = ConvBN(channels, channels, kernel=3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        spatial = self.spatial_out(self.spatial(self.spatial_in(x)))
        return spatial, self.channel_out(self.channel(self.channel_in(x)))


class ConcatHead(nn.Module):
    """CCNet's head: `context` between two 3x3 convolutions, beside what came in, then classified.

    `context` runs `recurrence` times with the same weights.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        classes: int,
        context: nn.Module,
        recurrence: int = 1,
        act: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.enter = ConvBN(in_channels, channels, kernel=3, act=act)
        self.context = context
        self.leave = ConvBN(channels, channels, kernel=3, act=act)
        self.fuse = ConvBN(in_channels + channels, channels, kernel=3, act=act)
        self.classifier = classifier(channels, classes)
        self.recurrence = recurrence

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        for _ in range(self.recurrence):
            y = self.context(y)
        y = self.fuse(torch.cat([x, self.leave(y)], dim=1))
        scores: Tensor = self.classifier(y)
        return scores  # (N, classes, h, w)


def classifier(channels: int, classes: int) -> nn.Sequential:
    """Dropout of whole channels and a 1x1 convolution."""
    return nn.Sequential(nn.Dropout2d(DROPOUT), nn.Conv2d(channels, classes, 1))
