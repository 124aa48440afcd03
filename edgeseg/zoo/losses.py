"""Losses of segmentation, class weights, and labels brought to the map of the logits."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from edgeseg.types import IGNORE, Array, Floats, Pixels
from edgeseg.zoo.training_recipes import Loss


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    pixel_weights: Tensor | None = None,
) -> Tensor:
    """The mean over the labelled pixels; logits (N, C, h, w), target int64 (N, h, w).

    `class_weights` (C,) make it a weighted mean; `pixel_weights` (N, h, w) only scale each pixel,
    as the weight map of U-Net does.
    """
    if pixel_weights is None:
        return F.cross_entropy(logits, target, class_weights, ignore_index=IGNORE)
    each = F.cross_entropy(logits, target, class_weights, ignore_index=IGNORE, reduction="none")
    return (each * pixel_weights).sum() / (target != IGNORE).sum().clamp(min=1)


def soft_jaccard(logits: Tensor, target: Tensor) -> Tensor:
    """1 - the mean soft intersection over union of the classes in `target`, over the batch.

    Source: Rahman and Wang 2016, equation 3, with the counts taken over the whole batch.
    """
    valid = (target != IGNORE).unsqueeze(1)
    probabilities = logits.softmax(1) * valid
    hot = F.one_hot(target.clamp(max=logits.shape[1] - 1), logits.shape[1]).movedim(-1, 1) * valid
    intersection = (probabilities * hot).sum((0, 2, 3))
    union = probabilities.sum((0, 2, 3)) + hot.sum((0, 2, 3)) - intersection
    present = hot.sum((0, 2, 3)) > 0
    return 1 - (intersection[present] / union[present]).mean()


def resized_to(logits: Tensor, target: Tensor) -> Tensor:
    """`logits` at the height and width of `target`: bilinear, half-pixel centres."""
    size = target.shape[-2:]
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def subsampled(target: Tensor, size: Sequence[int]) -> Tensor:
    """`target` (N, H, W) at the `size` (h, w) of a smaller map, without mixing labels.

    A side of f (k - 1) + 1 pixels goes to k by its every f-th pixel from the first on, which is
    how a map of 321 pixels and its 41 scores lie on each other (DeepLab v1, section 4.1); any
    other side is read at the centres of k equal parts.
    """
    rows, columns = (
        _picked(target.shape[axis - 2], size[axis]).to(target.device) for axis in (0, 1)
    )
    return target[:, rows][:, :, columns]


def _picked(side: int, wanted: int) -> Tensor:
    if wanted > 1 and (side - 1) % (wanted - 1) == 0 and side % wanted:
        return torch.arange(0, side, (side - 1) // (wanted - 1))
    return ((torch.arange(wanted) + 0.5) * side / wanted).long()


def class_weights(loss: Loss, masks: Sequence[Pixels], classes: int) -> Floats | None:
    """What `loss` weighs the classes of `masks` by; None where it weighs them equally."""
    counts = np.array([np.bincount(mask.ravel(), minlength=256)[:classes] for mask in masks])
    if loss == "cross-entropy+jaccard":
        return class_weights_from_counts(counts.sum(0))
    if loss in {"median-frequency", "border-weighted"}:
        sizes = np.array([mask.size for mask in masks])
        return median_frequency_weights(counts.sum(0), ((counts > 0) * sizes[:, None]).sum(0))
    return None


def class_weights_from_counts(counts: Array) -> Floats:
    """Weights of the cross-entropy, 1 / log(1.1 + share), scaled to a mean of 1 over pixels.

    Source: ENet (Paszke et al. 2016), section 4.1, with a larger constant: milder weights.
    """
    share = counts / counts.sum()
    weights = 1 / np.log(1.1 + share)
    return np.asarray(weights / (weights * share).sum(), np.float32)


def median_frequency_weights(pixels: Array, seen_in: Array) -> Floats:
    """The median frequency of the classes over the frequency of each; 0 for absent ones.

    `pixels` (C,) are the pixels of each class, `seen_in` (C,) all pixels of the pictures that
    hold the class. Source: Eigen and Fergus 2015, section 6.3.2, as SegNet (section 4) uses it.
    """
    present = pixels > 0
    frequency = pixels[present] / seen_in[present]
    weights = np.zeros(len(pixels), np.float32)
    weights[present] = np.median(frequency) / frequency
    return weights
