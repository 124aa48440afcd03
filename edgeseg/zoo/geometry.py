"""What a network looks at: its receptive field and its strides, computed from the module itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from edgeseg.types import Size
from edgeseg.zoo.reach import Reach, Way

PROBES_ROWS = (1025, 4097)
"""Heights of the pictures that are tried until no logit sees all of one."""
PROBE_COLUMNS = 64
"""The axes are treated alike: a narrow picture says all about the rows, and costs little."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How a network samples its picture."""

    receptive_field_px: int | None
    """Rows of the picture on which one logit depends, the most of any; None: on every one."""
    encoder_stride: int
    """Picture pixels per step of the coarsest features, those of pooled pictures apart."""
    output_stride: int
    """Picture pixels per step of the finest map that a convolution turned into the scores;
    what follows resamples it."""


def geometry_of(network: nn.Module, *, fit: Callable[[Size], Size] = lambda size: size) -> Geometry:
    """The geometry of `network`, in eval mode; `fit` gives the nearest size that it takes.

    A network whose logits see the whole of a picture 4097 rows high sees the whole of any.
    """
    field: int | None = None
    for rows in PROBES_ROWS:
        size = fit(Size(rows, PROBE_COLUMNS))
        first, last, way = _traced(network, size, "rows")
        widest = int((last - first).max()) + 1
        if widest < size.height:
            field = widest
            break
    return Geometry(receptive_field_px=field, encoder_stride=way.strides, output_stride=way.scored)


def fields(
    network: nn.Module, size: Size, axis: Literal["rows", "columns"] = "rows"
) -> tuple[Tensor, Tensor]:
    """The first and last picture row (or column) that each row (or column) of the logits sees.

    Exact at the borders too: what lies outside the picture is not seen.
    """
    first, last, _ = _traced(network, size, axis)
    return first, last


def _traced(network: nn.Module, size: Size, axis: str) -> tuple[Tensor, Tensor, Way]:
    side, dim = (size.height, 2) if axis == "rows" else (size.width, 3)
    shape = [1, 1, 1, 1]
    shape[dim] = side
    places = torch.arange(side, dtype=torch.float32).view(shape).expand(1, 3, *size)
    network.eval()
    ends = []
    with torch.no_grad():
        for bounds in (-places, places):
            logits = network(Reach(bounds, Way(rows=size.height)))
            assert isinstance(logits, Reach)
            ends.append(logits.bounds.amax([at for at in range(4) if at != dim]).long())
    return -ends[0], ends[1], logits.way
