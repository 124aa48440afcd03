"""The dilated front end and its context: counts, the mirrored border, the identity it starts as."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from edgeseg.errors import UsageError  # noqa: E402
from edgeseg.zoo import build_network, dilation  # noqa: E402
from edgeseg.zoo.dilation import Context, dilation8, frontend  # noqa: E402

pytestmark = pytest.mark.torch

SMALL: dict[str, Any] = {"classes": 5, "width": 0.125, "fc_channels": 128}
CITYSCAPES = (1, 1, 2, 4, 8, 16, 32, 64, 1)


@pytest.mark.parametrize(
    ("name", "classes", "variant", "parameters"),
    [
        ("dilation-frontend", 21, {}, 134_346_581),
        ("dilation8", 11, {}, 134_313_443),
        ("dilation8", 21, {"context": "large"}, 141_149_720),
        ("dilation8", 19, {"rates": CITYSCAPES}, 134_368_179),
    ],
)
def test_network_has_as_many_parameters_as_the_reference(
    name: str, classes: int, variant: dict[str, Any], parameters: int
) -> None:
    with torch.device("meta"):
        network = build_network(name, classes=classes, **variant)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_basic_context_has_as_many_parameters_as_the_reference() -> None:
    with torch.device("meta"):
        context = dilation8(classes=21).context
    assert sum(p.numel() for p in context.parameters()) == 28_392


@pytest.mark.parametrize(
    ("make", "classes", "size", "cells", "gmacs"),
    [(frontend, 21, (528, 528), (66, 66), 791.6), (dilation8, 11, (528, 728), (66, 91), 1053.4)],
)
def test_network_costs_as_many_multiplications_as_the_reference(
    make: Any, classes: int, size: tuple[int, int], cells: tuple[int, int], gmacs: float
) -> None:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        logits = make(classes=classes).eval()(torch.zeros(1, 3, *size))
    assert logits.shape == (1, classes, *cells)
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=0.05)


@pytest.mark.parametrize("padding", ["reflect186", "same"])
def test_cells_lie_evenly_on_the_picture(padding: Any) -> None:
    network = _lively(frontend(**SMALL, padding=padding))
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = (parameter.data + parameter.data.flip(3)) / 2**0.5
    pixels = torch.randn(1, 3, 200, 208)
    with torch.no_grad():
        mirrored = network(pixels.flip(3)).flip(3)
        logits = network(pixels)
    assert (logits - mirrored).abs().max() < 1e-4 * logits.std()


def test_border_is_mirrored_and_other_sizes_are_cut() -> None:
    network = _lively(frontend(**SMALL))
    picture = np.random.default_rng(0).standard_normal((1, 3, 194, 203)).astype(np.float32)
    sides = ((0, 0), (0, 0), (186, 186 + 6), (186, 186 + 5))  # 194 + 6 = 200, 203 + 5 = 208
    with torch.no_grad():
        scores = network.front(torch.from_numpy(np.pad(picture, sides, mode="reflect")))
        assert scores.shape == (1, 5, 25, 26)
        whole = F.interpolate(scores, scale_factor=8, mode="bilinear")[:, :, :194, :203]
        torch.testing.assert_close(network(torch.from_numpy(picture)), whole)


@pytest.mark.parametrize(
    ("size", "shape"), [((32, 40), (4, 5)), ((33, 40), (33, 40)), ((61, 47), (61, 47))]
)
def test_same_padding_takes_small_pictures(size: tuple[int, int], shape: tuple[int, int]) -> None:
    network = dilation8(**SMALL, padding="same", batch_norm=True).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, *size)).shape[2:] == shape


def test_basic_context_starts_as_the_identity() -> None:
    scores = torch.rand(1, 6, 9, 11)
    context = Context(6, multiples=(1,) * 7, rates=dilation.RATES)
    with torch.no_grad():
        torch.testing.assert_close(context(scores), scores)


def test_large_context_starts_as_the_identity_in_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dilation, "NOISE_STD", 0.0)
    scores = torch.rand(1, 3, 9, 11)
    context = Context(3, multiples=dilation.LARGE, rates=dilation.RATES)
    with torch.no_grad():
        torch.testing.assert_close(context(scores), scores)


def test_large_context_shares_each_class_among_its_channels() -> None:
    classes, ins, outs = 3, 6, 12
    layer = Context(classes, multiples=dilation.LARGE, rates=dilation.RATES).layers[2]
    weight = layer.weight.detach()
    assert weight.shape == (outs, ins, 3, 3)
    for b in range(outs):
        for a in range(ins):
            if a * classes // ins == b * classes // outs:
                assert weight[b, a, 1, 1] == classes / outs
            else:
                assert 0 < abs(weight[b, a, 1, 1]) < 0.1
    assert 0.005 < weight[:, :, 0].std() < 0.015


def test_large_context_refuses_other_rates() -> None:
    with pytest.raises(UsageError, match="7 rates, not 9"):
        dilation8(classes=3, context="large", rates=CITYSCAPES)


@pytest.mark.parametrize("wrong", [{"context": "larg"}, {"padding": "valid"}])
def test_unknown_form_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="there is no"):
        dilation8(**SMALL, **wrong)


def test_every_parameter_learns() -> None:
    network = dilation8(**SMALL, padding="same", batch_norm=True).train()
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def _lively(network: Any) -> Any:
    """`network`, in eval, with weights that keep the features of noise from fading."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return network.eval()
