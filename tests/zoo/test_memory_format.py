"""Gradients of BF16 training are those of float32 in the memory format that is chosen."""

import pytest

torch = pytest.importorskip("torch")

from edgeseg.zoo.memory_format import training_format  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("groups", [1, 40])
@pytest.mark.parametrize("dilation", [1, 2])
def test_gradients_in_bf16_are_those_of_float32(groups: int, dilation: int) -> None:
    layer = torch.nn.Conv2d(
        40, 40, 3, padding=dilation, dilation=dilation, groups=groups, bias=False
    )
    form = training_format(layer, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 40, 30, 40, generator=generator).relu()
    wanted = torch.nn.grad.conv2d_weight(
        x,
        layer.weight.shape,
        torch.ones(4, 40, 30, 40),
        padding=dilation,
        dilation=dilation,
        groups=groups,
    )

    layer.to(memory_format=form)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x.contiguous(memory_format=form)).float().sum().backward()

    error = (layer.weight.grad - wanted).abs().max() / wanted.abs().max()
    assert error < 0.02


@pytest.mark.parametrize(
    ("layer", "plain"),
    [
        (torch.nn.Conv2d(48, 8, 3, dilation=2), False),
        (torch.nn.Conv2d(24, 8, 3, dilation=1), False),
        (torch.nn.Conv2d(11, 8, 3, dilation=4), False),
        (torch.nn.Conv2d(24, 8, 3, dilation=2), True),
        (torch.nn.Conv2d(48, 48, 3, dilation=2, groups=48), True),
    ],
)
def test_channels_stay_apart_only_where_they_must(layer: torch.nn.Conv2d, plain: bool) -> None:
    wanted = torch.contiguous_format if plain else torch.channels_last

    assert training_format(torch.nn.Sequential(layer), torch.device("cpu")) is wanted
    assert training_format(torch.nn.Sequential(layer), torch.device("cuda")) is torch.channels_last
