"""Tensors whose values are the farthest pixel that they see, and what each operator does to them.

A `Reach` runs through a network in place of the pixels. Where the network sums, multiplies or
compares, the farther of the two pixels remains; a window takes the farthest of its positions.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

NOTHING = float("-inf")
"""What a constant, such as the padding, sees."""
CELLS = 8
"""A pool that leaves fewer rows sums up the picture (PSPNet's bins); it is no stride."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """What lies between the picture and a tensor."""

    rows: int
    """Of the picture."""
    strides: int = 1
    """The product of the strides, along the way with the most of them."""
    scored: int = 1
    """Picture rows per row of the map on which the last convolution ran; the finest of them."""


class Reach(Tensor):
    """A stand-in of a network's tensor, of its shape."""

    bounds: Tensor
    """The farthest position that each value sees, of the shape of the tensor."""
    way: Way

    def __new__(cls, bounds: Tensor, way: Way) -> "Reach":
        made: Reach = Tensor._make_wrapper_subclass(cls, bounds.shape, dtype=torch.float32)
        made.bounds, made.way = bounds, way
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override] # stubs lack `func`
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """What `func` makes of tensors of which some are Reach."""
        del types
        name = func.overloadpacket.__name__
        rule = RULES.get(name) or RULES.get(name.removesuffix("_"))
        if rule is None:
            raise NotImplementedError(f"nothing says what {name} does to a receptive field")
        result = rule(func, *args, **(kwargs or {}))
        if name in RULES or not isinstance(result, Reach):
            return result
        args[0].bounds, args[0].way = result.bounds, result.way  # relu_ and the like: in place
        return args[0]


def _of(bounds: Tensor, *sources: Tensor, stride: int = 1) -> Reach:
    """`bounds`, with what lies between the picture and `sources`, and `stride` more."""
    ways = [x.way for x in sources if isinstance(x, Reach)]
    strides = stride * max(way.strides for way in ways)
    return Reach(bounds, replace(ways[0], strides=strides, scored=min(w.scored for w in ways)))


def _tensors(args: Sequence[Any]) -> list[Tensor]:
    """The tensors among `args`, and in the lists among them."""
    found: list[Tensor] = []
    for item in args:
        if isinstance(item, (list, tuple)):
            found += _tensors(item)
        elif isinstance(item, Tensor):
            found.append(item)
    return found


def _seen(x: Any) -> Any:
    """What a tensor sees; anything else as it is."""
    if isinstance(x, (list, tuple)):
        return [_seen(item) for item in x]
    if isinstance(x, Reach):
        return x.bounds
    return torch.full(x.shape, NOTHING) if isinstance(x, Tensor) else x


def _pointwise(func: Any, *args: Any, **kwargs: Any) -> Reach:
    del func, kwargs
    tensors = _tensors(args)
    bounds = _seen(tensors[0])
    for other in tensors[1:]:
        bounds = torch.maximum(bounds, _seen(other))
    return _of(bounds, *tensors)


def _moved(func: Any, *args: Any, **kwargs: Any) -> Any:
    """For operators that only move values: the operator itself."""
    made = func(*(_seen(item) for item in args), **kwargs)
    if isinstance(made, (list, tuple)):
        return [_of(part, *_tensors(args)) for part in made]
    return _of(made, *_tensors(args))


def _viewed(func: Any, x: Reach, shape: Sequence[int]) -> Reach:
    del func
    return _of(x.bounds.reshape(*shape), x)


def _padded(func: Any, x: Reach, sides: list[int], value: float = 0) -> Reach:
    del func, value
    return _of(F.pad(x.bounds, sides, value=NOTHING), x)


def _sliced(func: Any, x: Reach, dim: int = 0, *span: int | None) -> Reach:
    bounds = func(x.bounds, dim, *span)
    if dim not in {2, -2}:
        return _of(bounds, x)
    made = _of(bounds, x, stride=(span[2] or 1) if len(span) > 2 else 1)  # pooling by slices
    if made.way.strides == 1:  # a tile of the picture is a picture of its own
        made.way = replace(made.way, rows=bounds.shape[2])
    return made


def _reduced(func: Any, x: Reach, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Reach:
    del func, kwargs
    every = tuple(range(x.dim()))
    return _of(x.bounds.amax(every if dim is None else dim, keepdim=keepdim), x)


def _norm(func: Any, x: Reach, order: float, *args: Any, **kwargs: Any) -> Reach:
    del order
    return _reduced(func, x, *args, **kwargs)


def _softmax(func: Any, x: Reach, dim: int, half: bool) -> Reach:
    del func, half
    return _of(x.bounds.amax(dim, keepdim=True).expand_as(x.bounds), x)


def _normalised(func: Any, x: Reach, *args: Any) -> tuple[Tensor, ...]:
    del func, args
    return _of(x.bounds, x), torch.empty(0), torch.empty(0)


def _convolved(
    func: Any,
    x: Reach,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    extra: list[int],
    groups: int,
) -> Reach:
    del func, bias
    best = x.bounds.amax(1, keepdim=True)
    window = weight.shape[2:]
    if transposed:
        reach = [step * (side - 1) for step, side in zip(dilation, window, strict=True)]
        top, left = (span - pad for span, pad in zip(reach, padding, strict=True))
        best = F.pad(_spread(best, stride), [left, left + extra[1], top, top + extra[0]],
                     value=NOTHING)  # fmt: skip
        best = F.max_pool2d(best, window, 1, dilation=dilation)
        return _of(best.expand(-1, weight.shape[1] * groups, -1, -1), x)
    (top, left) = padding
    best = F.pad(best, [left, left, top, top], value=NOTHING)
    best = F.max_pool2d(best, window, stride, dilation=dilation)
    # Every channel sees the same; a view of one costs nothing.
    made = _of(best.expand(-1, weight.shape[0], -1, -1), x, stride=stride[0])
    # Networks without padding lose rows at the border: the nearest power of two is the stride.
    scored = 2 ** round(math.log2(max(1, x.way.rows / best.shape[2])))
    made.way = replace(made.way, scored=scored)
    return made


def _spread(x: Tensor, stride: list[int]) -> Tensor:
    """`x` with stride - 1 unseeing rows and columns between its own."""
    rows, columns = ((side - 1) * step + 1 for side, step in zip(x.shape[2:], stride, strict=True))
    spread = torch.full((*x.shape[:2], rows, columns), NOTHING)
    spread[:, :, :: stride[0], :: stride[1]] = x
    return spread


def _pooled(
    func: Any,
    x: Reach,
    window: list[int],
    stride: Sequence[int] = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Maximum pooling, and the indices that nobody reads."""
    del func
    stride = tuple(stride) or tuple(window)
    bounds = F.max_pool2d(x.bounds, window, stride, padding, dilation, ceil_mode)
    made = _of(bounds, x, stride=stride[0] if bounds.shape[2] >= CELLS else 1)
    return made, torch.empty(0)


def _averaged(
    func: Any,
    x: Reach,
    window: list[int],
    stride: Sequence[int] = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    *rest: Any,
) -> Tensor:
    del rest
    return _pooled(func, x, window, stride, padding, 1, ceil_mode)[0]


def _adaptive(func: Any, x: Reach, size: list[int]) -> Reach:
    del func
    return _of(F.adaptive_max_pool2d(x.bounds, size), x)


def _resized(
    func: Any, x: Reach, size: list[int], align_corners: bool = False, *scales: Any
) -> Reach:
    """Bilinear: the one or two source positions of each target position, per axis."""
    del func, scales
    bounds = x.bounds
    for axis, length in zip((2, 3), size, strict=True):
        eye = torch.eye(bounds.shape[axis], dtype=torch.float64)[None]
        shares = F.interpolate(eye, length, mode="linear", align_corners=align_corners)[0]
        used = (shares > 1e-9).to(torch.uint8)  # (source, target)
        first, last = used.argmax(0), len(used) - 1 - used.flip(0).argmax(0)
        bounds = torch.maximum(bounds.index_select(axis, first), bounds.index_select(axis, last))
    return _of(bounds, x)


def _product(func: Any, *args: Tensor, **kwargs: Any) -> Reach:
    """Matrix products; a constant matrix, such as one that resizes, passes its non-zeros on."""
    del func, kwargs
    left, right = args[-2:]
    if isinstance(left, Reach) and isinstance(right, Reach):
        rows, columns = left.bounds.amax(-1, keepdim=True), right.bounds.amax(-2, keepdim=True)
        return _of(torch.maximum(rows, columns), left, right)
    through = [
        x.bounds if isinstance(x, Reach) else torch.where(x != 0, 0.0, NOTHING)
        for x in (left, right)
    ]
    bounds = (through[0].unsqueeze(-1) + through[1].unsqueeze(-3)).amax(-2)
    return _of(bounds, left, right)


def _constant(func: Any, x: Reach, *args: Any, **kwargs: Any) -> Tensor:
    made: Tensor = func(x.bounds, *args, **kwargs)
    return made


RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(
        ("add", "sub", "rsub", "mul", "div", "maximum", "minimum", "relu", "hardtanh", "clamp",
         "clamp_min", "clamp_max", "hardswish", "hardsigmoid", "sigmoid", "leaky_relu", "sqrt",
         "rsqrt", "pow", "abs", "exp", "neg", "reciprocal", "eq", "ne", "lt", "le", "gt", "ge",
         "logical_and", "logical_or", "logical_not", "bitwise_and", "bitwise_or", "bitwise_not",
         "where", "masked_fill", "_to_copy", "clone", "detach", "alias", "lift_fresh"),
        _pointwise,
    ),
    **dict.fromkeys(
        ("cat", "stack", "permute", "transpose", "t", "expand", "select", "unsqueeze", "squeeze",
         "unbind", "split", "split_with_sizes", "pixel_shuffle", "pixel_unshuffle", "flip",
         "reflection_pad2d", "replication_pad2d", "index_select", "repeat"),
        _moved,
    ),
    **dict.fromkeys(("view", "_unsafe_view", "reshape"), _viewed),
    **dict.fromkeys(("mean", "sum", "amax", "amin"), _reduced),
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"),
        _normalised,
    ),
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm"), _product),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like", "new_zeros", "new_full"), _constant),
    "linalg_vector_norm": _norm,
    "constant_pad_nd": _padded,
    "slice": _sliced,
    "_softmax": _softmax,
    "convolution": _convolved,
    "max_pool2d_with_indices": _pooled,
    "avg_pool2d": _averaged,
    "_adaptive_avg_pool2d": _adaptive,
    "upsample_bilinear2d": _resized,
}  # fmt: skip
"""What each operator of a network does to a Reach, by PyTorch's own name for it."""
