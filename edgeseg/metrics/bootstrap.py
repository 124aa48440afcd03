"""How sure a drop in mIoU is: the paired percentile bootstrap over frames."""

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError
from edgeseg.metrics.confusion import mean_iou
from edgeseg.types import Counts


def drop_interval(
    reference: Counts,
    candidate: Counts,
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """The drop in mIoU points from `reference` to `candidate` on all frames, and its interval.

    Both are confusion matrices frame by frame, (frames, classes, classes), of the same frames in
    the same order: each bootstrap sample draws frames and scores both on them, so that what makes
    a frame hard for both cancels. Returns (drop, low, high); positive means worse. NaN where
    neither truth nor labels hold any class.

    Raises:
        UsageError: the two do not belong together, or a setting is out of range.
    """
    _checked(reference, candidate, samples, level)
    frames = len(reference)
    drop = mean_iou(reference.sum(0)) - mean_iou(candidate.sum(0))
    # A sample is how often each frame was drawn, so that its confusion is one matrix product.
    weights = np.random.default_rng(seed).multinomial(
        frames, np.full(frames, 1 / frames), size=samples
    )
    drops = _mean_ious(weights, reference) - _mean_ious(weights, candidate)
    low, high = np.quantile(drops, [(1 - level) / 2, (1 + level) / 2])
    return drop, float(low), float(high)


def _mean_ious(weights: Counts, confusions: Counts) -> npt.NDArray[np.float64]:
    """The mIoU in points of each row of `weights` (samples, frames)."""
    frames, classes = confusions.shape[:2]
    # float64 holds counts up to 2^53 exactly, and its product runs in BLAS; that of int64 does not.
    flat = weights.astype(np.float64) @ confusions.reshape(frames, -1).astype(np.float64)
    totals = flat.reshape(-1, classes, classes)
    hits = np.diagonal(totals, axis1=1, axis2=2)
    union = totals.sum(1) + totals.sum(2) - hits
    present = union > 0
    iou = np.divide(100.0 * hits, union, out=np.zeros_like(hits), where=present)
    with np.errstate(invalid="ignore"):
        means: npt.NDArray[np.float64] = iou.sum(1) / present.sum(1)
    return means


def _checked(reference: Counts, candidate: Counts, samples: int, level: float) -> None:
    shape = reference.shape
    if shape != candidate.shape or len(shape) != 3 or shape[1] != shape[2] or not shape[0]:
        raise UsageError(
            f"confusion matrices of the shapes {shape} and {candidate.shape} are not a pair",
            fix="give (frames, classes, classes) twice, of the same frames",
        )
    if samples < 1 or not 0 < level < 1:
        raise UsageError(
            f"{samples} samples at the level {level}",
            fix="give at least 1 sample and a level between 0 and 1",
        )
