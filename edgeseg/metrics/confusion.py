"""The confusion matrix, and what follows from it: IoU per class, mIoU, pixel accuracy."""

import numpy as np

from edgeseg.types import IGNORE, Array, Counts


def confusion_of(truth: Array, labels: Array, classes: int) -> Counts:
    """Pixel counts int64 (classes, classes): rows are the truth, columns the labels.

    `truth` and `labels` are integer arrays of one shape; pixels whose truth is 255 do not count.
    """
    valid = truth != IGNORE
    pairs = truth[valid].astype(np.int64) * classes + labels[valid]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def iou_per_class(confusion: Array) -> Array:
    """IoU in points (0 to 100) per class; NaN for a class that is in neither truth nor labels.

    Source: FCN (Long et al. 2015), section 5, `n_ii / (t_i + sum_j n_ji - n_ii)`.
    """
    counts = confusion.astype(np.float64)
    hits = np.diagonal(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(union > 0, 100.0 * hits / union, np.nan)


def mean_iou(confusion: Array) -> float:
    """The mean of IoU in points over the classes that occur in truth or labels; NaN for none."""
    present = iou_per_class(confusion)
    present = present[~np.isnan(present)]
    return float(present.mean()) if present.size else float("nan")


def pixel_accuracy(confusion: Array) -> float:
    """The share of counted pixels with the right class, in percent; NaN where nothing counts."""
    total = confusion.sum()
    return float(100.0 * np.trace(confusion) / total) if total else float("nan")
