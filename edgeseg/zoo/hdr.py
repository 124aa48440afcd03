"""The distance maps (HDR) and the location-aware attention of HDNet (Li et al. 2021)."""

import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation uses
from torch import Tensor, nn

WINDOWS = (3, 5, 7, 9, 11, 15, 19)
"""Sides of the pooling windows, in positions of the feature map."""
EPSILON = 1e-6  # the author's 1e-8 is 0 in FP16; no vector that matters is shorter than either
REDUCTION = 4


def distance_maps(theta: Tensor) -> Tensor:
    """Cosines (N, 14, H, W) between each vector of `theta` and the pool of the window around it.

    Averages over `WINDOWS` first, then maxima. Float32 throughout: a sum of squares over channels
    leaves the range of FP16 when the vectors are longer than 256.
    """
    theta = theta.float()
    unit = theta / _length(theta)
    pools = [*_averages(theta), *_maxima(theta)]
    return torch.cat([(unit * pool).sum(1, keepdim=True) / _length(pool) for pool in pools], dim=1)


def _length(x: Tensor) -> Tensor:
    """The norm over the channels, (N, 1, H, W)."""
    length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return length.clamp(min=EPSILON)


def _averages(x: Tensor) -> list[Tensor]:
    """Means over each window, as a pass over columns and one over rows: 2k sums instead of k^2.

    At the border zeros are counted as well. The right mean is that times a constant of the
    position, which the cosine does not see.
    """
    pools = []
    for side in WINDOWS:
        columns = F.avg_pool2d(x, (side, 1), stride=1, padding=(side // 2, 0))
        pools.append(F.avg_pool2d(columns, (1, side), stride=1, padding=(0, side // 2)))
    return pools


def _maxima(x: Tensor) -> list[Tensor]:
    """Maxima over each window, a chain of 3x3: nine of them make 19x19 and pass all the others."""
    pools, reached = [], 1
    for side in WINDOWS:
        while reached < side:
            x = F.max_pool2d(x, 3, stride=1, padding=1)
            reached += 2
        pools.append(x)
    return pools


class LocationAwareAttention(nn.Module):
    """y = x + phi(u * x), where u (N, 1, H, W) is drawn from the distance maps of theta(x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, channels // REDUCTION, 1)
        # The author's convolution has a bias in spite of the normalisation.
        self.fuse = nn.Sequential(
            nn.Conv2d(2 * len(WINDOWS), 1, 3, padding=1), nn.BatchNorm2d(1), nn.ReLU(inplace=True)
        )
        self.phi = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        u = self.fuse(distance_maps(self.theta(x)))  # (N, 1, H, W)
        y: Tensor = x + self.phi(u * x)
        return y
