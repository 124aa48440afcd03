"""2x2 max pooling that remembers where each maximum stood, and the unpooling that puts it back.

Equal to PyTorch's MaxPool2d with indices and MaxUnpool2d, without indices, which TensorRT lacks.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation uses
from torch import Tensor, nn


class Places(NamedTuple):
    """Where the maximum of each 2x2 window stood; of equal ones it is the first, row by row.

    Three comparisons instead of one mask a corner: whatever a backend rounds, exactly one corner
    wins. The masks are bool (N, C, h, w) for a map of (N, C, H, W).
    """

    lower: Tensor
    """The lower row beats the upper one."""
    upper_right: Tensor
    """In the upper row, the right one beats the left one."""
    lower_right: Tensor
    size: tuple[int, int]
    """H and W of the map that was pooled."""


class CeilMaxPool(nn.Module):
    """2x2 max pooling with stride 2 that rounds sizes up, of a map that is nowhere negative."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(evened(x, ceil_mode=True), 2)


def pooled(x: Tensor, *, ceil_mode: bool) -> tuple[Tensor, Places]:
    """The 2x2 maxima of `x` (N, C, H, W) with stride 2, and where they stood.

    `x` must be nowhere negative, as after a ReLU, so that the zeros beside an odd side never win.
    """
    height, width = x.shape[-2:]
    x = evened(x, ceil_mode=ceil_mode)
    upper_left, upper_right = x[..., 0::2, 0::2], x[..., 0::2, 1::2]  # (N, C, h, w) each
    lower_left, lower_right = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    upper = torch.maximum(upper_left, upper_right)
    lower = torch.maximum(lower_left, lower_right)
    places = Places(
        lower=upper < lower,
        upper_right=upper_left < upper_right,
        lower_right=lower_left < lower_right,
        size=(height, width),
    )
    # Not the maximum of the rows: as a MaxPool it fuses and quantises with the layers around it.
    return F.max_pool2d(x, 2), places


def unpooled(x: Tensor, places: Places) -> Tensor:
    """`x` (N, C, h, w) with each element at its place in a map of zeros (N, C, H, W)."""
    batch, channels, height, width = x.shape
    zero = x.new_zeros(())
    upper = torch.where(places.lower, zero, x)
    lower = torch.where(places.lower, x, zero)
    corners = (
        torch.where(places.upper_right, zero, upper),
        torch.where(places.upper_right, upper, zero),
        torch.where(places.lower_right, zero, lower),
        torch.where(places.lower_right, lower, zero),
    )
    x = torch.cat(corners, dim=1)  # (N, 4C, h, w), the corners outermost
    x = x.reshape(batch, 2, 2, channels, height, width).permute(0, 3, 4, 1, 5, 2)
    x = x.reshape(batch, channels, 2 * height, 2 * width)
    return _fitted(x, places.size)  # (N, C, H, W)


def evened(x: Tensor, *, ceil_mode: bool) -> Tensor:
    """`x` with even sides: a last odd row or column gets a zero beside it, or is left out."""
    height, width = x.shape[-2:]
    odd = (height % 2, width % 2)
    if odd == (0, 0):
        return x
    if ceil_mode:
        return F.pad(x, (0, odd[1], 0, odd[0]))
    return x[..., : height - odd[0], : width - odd[1]]


def _fitted(x: Tensor, size: tuple[int, int]) -> Tensor:
    """`x` cut at the right and the bottom to `size`, or continued there with zeros."""
    right, bottom = size[1] - x.shape[-1], size[0] - x.shape[-2]
    return x if (right, bottom) == (0, 0) else F.pad(x, (0, right, 0, bottom))
