"""What a convolution sees at a few of its positions, as rows of a matrix."""

import numpy as np

from edgeseg.types import Array, Convolution, Floats


def patches(values: Floats, layer: Convolution, places: Floats) -> Floats:
    """The patches of `values` (1, C, H, W) that `layer` reads, (groups, positions, taps).

    `places` are the positions as shares (positions, 2) of the output's height and width, each from
    0 to below 1, so that the same ones serve every layer.
    """
    padded = _padded(values[0], layer)
    kernel = layer.weight.shape[2:]
    reach = [d * (k - 1) + 1 for d, k in zip(layer.dilations, kernel, strict=True)]
    outputs = [
        (have - need) // stride + 1
        for have, need, stride in zip(padded.shape[1:], reach, layer.strides, strict=True)
    ]
    corner = (places * np.array(outputs)).astype(np.int64) * np.array(layer.strides)
    rows = corner[:, 0, None, None] + layer.dilations[0] * np.arange(kernel[0])[None, :, None]
    columns = corner[:, 1, None, None] + layer.dilations[1] * np.arange(kernel[1])[None, None]
    seen = padded[:, rows, columns]  # (C, positions, kernel height, kernel width)
    split = seen.reshape(layer.groups, -1, *seen.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(split.reshape(layer.groups, len(places), -1))


def _padded(values: Array, layer: Convolution) -> Array:
    top, left, bottom, right = layer.pads
    if layer.same is not None:
        (top, bottom), (left, right) = (
            _same(values.shape[1 + axis], layer, axis) for axis in (0, 1)
        )
    return np.pad(values, ((0, 0), (top, bottom), (left, right)))


def _same(size: int, layer: Convolution, axis: int) -> tuple[int, int]:
    """The pads before and after, so that there are ceil(size / stride) outputs."""
    stride, kernel = layer.strides[axis], layer.weight.shape[2 + axis]
    reach = layer.dilations[axis] * (kernel - 1) + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    low = total // 2
    return (low, total - low) if layer.same == "SAME_UPPER" else (total - low, low)
