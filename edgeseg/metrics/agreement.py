"""How far two label images agree: the measure that needs no truth."""

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError
from edgeseg.types import Array


def agreement_percent(a: Array, b: Array, *, valid: npt.NDArray[np.bool_] | None = None) -> float:
    """The share of pixels with equal labels in percent; NaN where no pixel counts.

    `valid` marks the pixels that count; None counts all of them.

    Raises:
        UsageError: the shapes differ.
    """
    if a.shape != b.shape or (valid is not None and valid.shape != a.shape):
        shapes = [a.shape, b.shape] + ([] if valid is None else [valid.shape])
        raise UsageError(
            f"labels of the shapes {' and '.join(map(str, shapes))} cannot be compared",
            fix="bring them to one size first",
        )
    equal = a == b if valid is None else (a == b)[valid]
    return 100.0 * float(np.count_nonzero(equal)) / equal.size if equal.size else float("nan")
