"""HDNet's loss on features: every pixel's feature against a table of one vector a class."""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from edgeseg.types import IGNORE
from edgeseg.zoo.losses import cross_entropy, subsampled


class ClassTable:
    """One vector for each class, which follows the mean feature of the class.

    Source: HDNet (Li et al. 2021), its heterogeneous feature distance loss, with the first values
    of the authors' code (Kaiming-uniform; the paper takes class means).
    """

    def __init__(self, classes: int, channels: int, *, momentum: float, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        bound = math.sqrt(6 / channels)
        self.momentum = momentum
        self.vectors = (torch.rand(classes, channels, generator=generator) * 2 - 1) * bound

    def loss(self, features: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy of `features` (N, C, h, w), scored by their product with the table.

        `target` int64 (N, H, W) is brought to (h, w) by nearest; the table gets no gradient.
        """
        vectors = self.vectors.to(features.device)
        logits = F.conv2d(features, vectors[:, :, None, None])  # (N, classes, h, w)
        return cross_entropy(logits, subsampled(target, features.shape[-2:]))

    @torch.no_grad()
    def update(self, features: Tensor, target: Tensor) -> None:
        """Move the vectors of the classes in `target` towards their mean feature, then norm 1."""
        labels = subsampled(target, features.shape[-2:]).flatten()
        pixels = features.float().movedim(1, -1).flatten(0, -2)  # (N h w, C)
        keep = labels != IGNORE
        labels, pixels = labels[keep], pixels[keep]
        vectors = self.vectors = self.vectors.to(pixels.device)
        counts = torch.bincount(labels, minlength=len(vectors))
        sums = torch.zeros_like(vectors).index_add_(0, labels, pixels)
        present = counts > 0
        means = sums[present] / counts[present, None]
        moved = self.momentum * vectors[present] + (1 - self.momentum) * means
        vectors[present] = F.normalize(moved, dim=1)
