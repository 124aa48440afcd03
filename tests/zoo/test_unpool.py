"""Unpooling without indices: bit for bit PyTorch's own, on ties and odd sizes, in every type."""

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor, nn  # noqa: E402

from edgeseg.types import Size  # noqa: E402
from edgeseg.zoo.unpool import CeilMaxPool, pooled, unpooled  # noqa: E402

pytestmark = pytest.mark.torch

SIZES = [(2, 2), (5, 7), (6, 9), (9, 6), (8, 12), (23, 30)]
BITS = {torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}
WITHOUT_INDICES = {"Relu", "Sub", "MaxPool", "Slice", "Max", "Less", "Where", "Concat", "Reshape",
                   "Transpose", "Pad"}  # fmt: skip


def _tied(*shape: int) -> Tensor:
    """What a ReLU leaves of small integers: most windows hold equal maxima, many only zeros."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-3, 3, shape, generator=generator).float().relu()


def _reference(x: Tensor, below: Tensor, ceil_mode: bool) -> tuple[Tensor, Tensor]:
    values, indices = F.max_pool2d(x, 2, return_indices=True, ceil_mode=ceil_mode)
    return values, F.max_unpool2d(below, indices, 2, output_size=x.shape[-2:])


@pytest.mark.parametrize("dtype", BITS, ids=str)
@pytest.mark.parametrize("ceil_mode", [True, False], ids=["ceil", "floor"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_values_and_places_have_the_bits_of_pytorch(
    size: tuple[int, int], ceil_mode: bool, dtype: torch.dtype
) -> None:
    x = _tied(2, 3, *size).to(dtype)
    values, places = pooled(x, ceil_mode=ceil_mode)
    below = torch.randn(values.shape).to(dtype)
    expected = _reference(x, below, ceil_mode)
    for ours, theirs in zip((values, unpooled(below, places)), expected, strict=True):
        assert torch.equal(ours.view(BITS[dtype]), theirs.view(BITS[dtype]))


@pytest.mark.parametrize("ceil_mode", [True, False], ids=["ceil", "floor"])
def test_gradients_go_where_those_of_pytorch_go(ceil_mode: bool) -> None:
    x = _tied(1, 4, 9, 7).requires_grad_()
    values, places = pooled(x, ceil_mode=ceil_mode)
    below = torch.randn(values.shape, requires_grad=True)
    weights = torch.randn(x.shape)
    ours = values.sum() + (weights * unpooled(below, places)).sum()
    reference_values, reference_up = _reference(x, below, ceil_mode)
    theirs = reference_values.sum() + (weights * reference_up).sum()
    for mine, other in zip(
        torch.autograd.grad(ours, (x, below)), torch.autograd.grad(theirs, (x, below)), strict=True
    ):
        assert torch.equal(mine, other)


def test_naive_mask_would_put_ties_in_several_places() -> None:
    # Why the places are compared in order: equality with the maximum alone is not enough.
    x = torch.zeros(1, 1, 2, 2)
    values, places = pooled(x, ceil_mode=True)
    assert (F.interpolate(values, scale_factor=2.0) == x).sum() == 4
    assert unpooled(torch.ones(1, 1, 1, 1), places).tolist() == [[[[1, 0], [0, 0]]]]


def test_zeros_beside_an_odd_side_never_win() -> None:
    x = torch.zeros(1, 1, 3, 5)
    values, places = pooled(x, ceil_mode=True)
    assert values.shape == (1, 1, 2, 3)
    back = unpooled(torch.arange(1.0, 7).view(1, 1, 2, 3), places)
    assert sorted(back[back != 0].tolist()) == [1, 2, 3, 4, 5, 6]


def test_lost_row_of_a_floor_pool_comes_back_as_zeros() -> None:
    values, places = pooled(_tied(1, 2, 5, 6), ceil_mode=False)
    back = unpooled(torch.ones_like(values), places)
    assert back.shape == (1, 2, 5, 6)
    assert not back[:, :, 4].any()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_ceil_pool_is_pytorchs(size: tuple[int, int]) -> None:
    x = _tied(1, 3, *size)
    assert torch.equal(CeilMaxPool()(x), nn.MaxPool2d(2, ceil_mode=True)(x))


class Block(nn.Module):
    """Pooling and unpooling alone, with negative values to put back."""

    def __init__(self, *, ceil_mode: bool) -> None:
        super().__init__()
        self.ceil_mode = ceil_mode

    def forward(self, pixels: Tensor) -> Tensor:
        values, places = pooled(pixels.relu(), ceil_mode=self.ceil_mode)
        return unpooled(values - 1.25, places)


@pytest.mark.needs("onnx", "onnxsim", "onnxruntime", "onnxscript")
@pytest.mark.parametrize("ceil_mode", [True, False], ids=["ceil", "floor"])
def test_exported_block_has_the_bits_of_pytorch_and_no_indices(ceil_mode: bool) -> None:
    import onnx
    import onnxruntime

    from edgeseg.graph.simplify import fixed_core
    from edgeseg.zoo.export import export_core

    size = Size(23, 31)
    exported = onnx.load_from_string(export_core(Block(ceil_mode=ceil_mode), size=size))
    core = fixed_core(exported, size)
    assert {node.op_type for node in core.graph.node} <= WITHOUT_INDICES
    assert all(len(node.output) == 1 for node in core.graph.node)
    pixels = torch.randint(-3, 3, (1, 3, *size), generator=torch.Generator().manual_seed(2)).float()
    session = onnxruntime.InferenceSession(core.SerializeToString())
    (logits,) = session.run(None, {"pixels": pixels.numpy()})
    below = F.max_pool2d(pixels.relu(), 2, ceil_mode=ceil_mode) - 1.25
    _, expected = _reference(pixels.relu(), below, ceil_mode)
    assert torch.equal(torch.from_numpy(logits).view(torch.int32), expected.view(torch.int32))
