"""Integer weights that keep what a layer computes, not each weight for itself.

Rounding goes column by column; the error of each is made up for in the columns that are still
float, weighted by how the inputs vary together (Frantar et al. 2022, "GPTQ", section 3). Before
that the weights are fitted to the inputs as INT8 leaves them, and afterwards the bias takes up
what is left of the mean (Nagel et al. 2019, "Data-Free Quantization", section 4.2).
"""

import numpy as np

from edgeseg.types import Array, RoundedWeights

LEVELS = 127
DAMPING = 0.01
"""Added to the diagonal of the covariance, in means of it: what was not seen costs as well."""
FIT_DAMPING = 0.05
"""The same for the fit: with few samples it stays close to the weights that were trained."""
SHRINKINGS = np.linspace(1.0, 0.7, 13)
"""Of the largest weight, for the scale of a channel; the first of equals is taken."""
SMALLEST_SCALE = 1e-8
BLOCK = 64


class PatchMoments:
    """Means and covariances of what a layer reads, as it was in float and as INT8 leaves it."""

    def __init__(self, groups: int, taps: int) -> None:
        self.count = 0
        self._origin = np.zeros((2, groups, 1, taps), np.float32)
        self._sums = np.zeros((2, groups, taps))
        self._squares = np.zeros((groups, taps, taps), np.float64)
        self._products = np.zeros((groups, taps, taps), np.float64)

    def see(self, plain: Array, quantized: Array) -> None:
        """Count patches float32 (groups, positions, taps) of the same positions."""
        if not self.count and plain.shape[1]:
            # Moments around about the mean: sums in float32 lose little there.
            self._origin = np.stack([plain, quantized]).mean(2, keepdims=True, dtype=np.float32)
        plain, quantized = plain - self._origin[0], quantized - self._origin[1]
        self.count += plain.shape[1]
        self._sums[0] += plain.sum(1, dtype=np.float64)
        self._sums[1] += quantized.sum(1, dtype=np.float64)
        self._squares += quantized.swapaxes(1, 2) @ quantized
        self._products += plain.swapaxes(1, 2) @ quantized

    @property
    def means(self) -> Array:
        """float64 (2, groups, taps): of the float inputs, and of the quantised ones."""
        return self._centred_means() + self._origin[:, :, 0]

    def covariances(self) -> tuple[Array, Array]:
        """float64 (groups, taps, taps): of the quantised inputs, and of the float with them."""
        plain, quantized = self._centred_means()
        own = self._squares / max(self.count, 1) - quantized[:, :, None] * quantized[:, None]
        cross = self._products / max(self.count, 1) - plain[:, :, None] * quantized[:, None]
        return own, cross

    def _centred_means(self) -> Array:
        means: Array = self._sums / max(self.count, 1)
        return means


def rounded(
    weight: Array,
    seen: PatchMoments,
    *,
    scales: bool = True,
    rounding: bool = True,
    bias: bool = True,
) -> RoundedWeights:
    """The INT8 form of `weight` float (groups, outputs, taps) that keeps the layer's outputs.

    Each step can be left out: `scales` of least squared error instead of those of the largest
    weights, `rounding` with regard to the inputs instead of to the nearest, and the `bias` that
    keeps the mean. The integers come in the shape of `weight`.
    """
    own, cross = seen.covariances()
    target = np.asarray(weight, np.float64)
    fitted = target + target @ _solved(own, cross - own) if rounding else target
    steps = _scales(fitted, own, SHRINKINGS if scales else SHRINKINGS[:1])
    integers = np.clip(np.rint(fitted / steps[..., None]), -LEVELS, LEVELS)
    if rounding:
        damped = _damped(own, DAMPING)
        pair = np.stack([integers, _rounded_in_order(fitted, steps, damped)])
        errors = fitted - pair * steps[..., None]
        costs = ((errors @ damped) * errors).sum(3, keepdims=True)
        integers = np.where(costs[1] < costs[0], pair[1], pair[0])
    kept = integers * steps[..., None]
    plain, quantized = seen.means
    shift = (target @ plain[..., None] - kept @ quantized[..., None]).reshape(-1)
    return RoundedWeights(
        integers.astype(np.int8),
        steps.reshape(-1).astype(np.float32),
        (shift if bias else np.zeros_like(shift)).astype(np.float32),
    )


def _solved(own: Array, difference: Array) -> Array:
    """What X solves X @ own = difference, damped."""
    solved: Array = np.linalg.solve(_damped(own, FIT_DAMPING), difference.swapaxes(1, 2))
    return solved.swapaxes(1, 2)


def _damped(own: Array, share: float) -> Array:
    diagonal = np.diagonal(own, axis1=1, axis2=2)
    mean = np.maximum(diagonal.mean(1), 1e-20)
    damped: Array = own + share * mean[:, None, None] * np.eye(own.shape[1])
    return damped


def _scales(weight: Array, own: Array, shrinkings: Array) -> Array:
    """Per output channel the scale of least squared error, weighted by the inputs' variances."""
    importance = np.maximum(np.diagonal(own, axis1=1, axis2=2), 0.0)[:, None]  # (G, 1, K)
    top = np.maximum(np.abs(weight).max(2) / LEVELS, SMALLEST_SCALE)
    best, scales = np.full(top.shape, np.inf), top.copy()
    for share in shrinkings:
        step = (top * share)[..., None]
        error = weight - np.clip(np.rint(weight / step), -LEVELS, LEVELS) * step
        cost = (importance * error**2).sum(2)
        better = cost < best
        best = np.where(better, cost, best)
        scales = np.where(better, step[..., 0], scales)
    return half_steps(scales)


def half_steps(scales: Array) -> Array:
    """`scales` as FP16 holds them, so that every dialect of a graph has the same."""
    smallest = float(np.finfo(np.float16).smallest_subnormal)
    return np.maximum(scales.astype(np.float16).astype(np.float64), smallest)


def _rounded_in_order(weight: Array, scales: Array, own: Array) -> Array:
    """Integers, the columns that vary most first; later columns make up for earlier errors."""
    taps = weight.shape[2]
    order = np.argsort(-np.diagonal(own, axis1=1, axis2=2), axis=1, kind="stable")
    left = np.take_along_axis(weight, order[:, None], 2)
    within = np.take_along_axis(np.take_along_axis(own, order[:, :, None], 1), order[:, None], 2)
    # Rows of the upper Cholesky factor of the inverse say how an error is spread over the rest.
    upper = np.linalg.cholesky(np.linalg.inv(within)).swapaxes(1, 2)
    integers = np.empty_like(left)
    for start in range(0, taps, BLOCK):
        end = min(start + BLOCK, taps)
        errors = np.empty((*left.shape[:2], end - start))
        for at in range(start, end):
            column = np.clip(np.rint(left[..., at] / scales), -LEVELS, LEVELS)
            integers[..., at] = column
            error = (left[..., at] - column * scales) / upper[:, at, at][:, None]
            errors[..., at - start] = error
            left[..., at + 1 : end] -= error[..., None] * upper[:, None, at, at + 1 : end]
        left[..., end:] -= errors @ upper[:, start:end, end:]
    result = np.empty_like(integers)
    np.put_along_axis(result, order[:, None], integers, 2)
    return result
