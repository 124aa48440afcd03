"""How good labels are near the borders of the truth: the confusion within a band, or trimap.

Source: Kohli et al., "Robust higher order potentials for enforcing label consistency" (IJCV 2009),
which scores a band of growing width around the true borders; DeepLabv3+ (Chen et al. 2018), section
4.4, takes the mean IoU in such a band.
"""

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError
from edgeseg.metrics.confusion import confusion_of
from edgeseg.types import IGNORE, Array, Counts, Pixels

BAND_PX = 5
"""On each side of a border."""


def border_band(truth: Pixels, width_px: int) -> npt.NDArray[np.bool_]:
    """Where another value of `truth` (H, W) lies at most `width_px` pixels away: bool (H, W).

    The distance is the larger of the steps across and down, so that 1 marks the pixels that touch
    a border, corners included. Void pixels are a region as any other, as the band around "void" is
    in DeepLab; the rim of the picture is no border.

    Raises:
        UsageError: a width below 1.
    """
    if width_px < 1:
        raise UsageError(f"a band of {width_px} pixels", fix="give a width of at least 1 pixel")
    least = _spread(truth, width_px, np.minimum)
    band: npt.NDArray[np.bool_] = least != _spread(truth, width_px, np.maximum)
    return band


def band_confusion(
    truth: Pixels, labels: Pixels, classes: int, band: npt.NDArray[np.bool_]
) -> Counts:
    """The confusion matrix of the pixels in `band`; those whose truth is 255 do not count."""
    return confusion_of(np.where(band, truth, IGNORE), labels, classes)


def _spread(values: Array, width_px: int, extreme: np.ufunc) -> Array:
    """The extreme in the square of `width_px` around each pixel, cut off at the picture's rim."""
    result = values.copy()
    for view in (result, result.T):  # a square is a line down and a line across
        reached = 0
        while reached < width_px:
            # Lines join to longer ones, so that a wide band takes few passes.
            step = min(width_px - reached, 2 * reached + 1)
            before = view.copy()
            extreme(view[step:], before[:-step], out=view[step:])
            extreme(view[:-step], before[step:], out=view[:-step])
            reached += step
    return result
