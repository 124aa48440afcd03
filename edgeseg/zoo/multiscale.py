"""Inference at several scales and on the mirrored picture, as one network."""

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.tables import known
from edgeseg.types import Size
from edgeseg.zoo.blocks import resized
from edgeseg.zoo.rows import SizeRule

Maps = Sequence[Tensor]


def _mean(maps: Maps) -> Tensor:
    return reduce(torch.add, maps) * (1 / len(maps))


def _softmax_mean(maps: Maps) -> Tensor:
    return _mean([logits.softmax(dim=1) for logits in maps])


def _max(maps: Maps) -> Tensor:
    return reduce(torch.maximum, maps)


FUSIONS: dict[str, Callable[[Maps], Tensor]] = {
    "mean": _mean,
    "softmax-mean": _softmax_mean,
    "max": _max,
}
"""What becomes of the logits of the runs, all of one size; softmax-mean gives probabilities."""


class MultiScale(nn.Module):
    """The fused logits of `network` at each of `scales`, with `flip` also of the mirrored picture.

    Their size is that of the network's own logits at scale 1; without that scale, of the largest
    logits. Scale s sees floor(s H) x floor(s W) px, or the nearest size that `sizes` allows. The
    runs share the weights of the one network, and follow each other, so that they share memory.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        scales: tuple[float, ...] = (1.0,),
        flip: bool = False,
        fusion: str = "mean",
        sizes: SizeRule | None = None,
    ) -> None:
        super().__init__()
        if not scales or min(scales) <= 0:
            raise UsageError(f"scales={scales} are no scales", fix="name some above 0, such as 1")
        self.network = network
        self.scales = scales
        self.flip = flip
        self.fuse = FUSIONS[known(FUSIONS, fusion, kind="fusion")]
        self.sizes = sizes or SizeRule()

    def forward(self, pixels: Tensor) -> Tensor:
        runs = [self._run(pixels, scale) for scale in self.scales]
        target = self._target([logits[0] for logits in runs])
        maps = [_at(logits, target) for run in runs for logits in run]
        return maps[0] if len(maps) == 1 else self.fuse(maps)

    def _run(self, pixels: Tensor, scale: float) -> list[Tensor]:
        """The logits at `scale`, and those of the mirrored picture turned back."""
        view = _at(pixels, self.sizes.nearest(_scaled(pixels, scale)))
        logits = [self.network(view)]
        if self.flip:
            logits.append(_mirror_image(self.network(_mirror_image(view))))
        return logits

    def _target(self, maps: Maps) -> Size:
        if 1 in self.scales:
            return _size_of(maps[self.scales.index(1)])
        return max(_size_of(logits) for logits in maps)


def _scaled(pixels: Tensor, scale: float) -> Size:
    """The floor of `scale` times each side; 0.55 * 100 is 55, though a float of it is less."""
    height, width = (int(round(side * scale, 6)) for side in _size_of(pixels))
    return Size(height, width)


def _at(x: Tensor, size: Size) -> Tensor:
    """`x` resized to `size` with half-pixel centres, as the toolkit does after any network."""
    return x if _size_of(x) == size else resized(x, size)


def _mirror_image(x: Tensor) -> Tensor:
    # A Gather with constant indices: a Slice with negative steps ends at INT64_MIN in ONNX.
    order = torch.arange(x.shape[3] - 1, -1, -1, device=x.device)
    return x.index_select(3, order)


def _size_of(x: Tensor) -> Size:
    return Size(x.shape[2], x.shape[3])
