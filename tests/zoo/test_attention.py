"""Attention to Scale: counts, the weighted sum, what a loss is given, and the picture of it."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from edgeseg.zoo import build_network  # noqa: E402
from edgeseg.zoo.attention import attention_to_scale, weights_picture  # noqa: E402

pytestmark = pytest.mark.torch

SMALL: dict[str, Any] = {"classes": 5, "width": 0.125}
TWO = (1.0, 0.5)


@pytest.mark.parametrize(
    ("scales", "parameters"), [((1.0, 0.75, 0.5), 34_663_256), (TWO, 29_944_151)]
)
def test_network_has_a_shared_largefov_and_its_attention(
    scales: tuple[float, ...], parameters: int
) -> None:
    largefov, head = 20_505_429, 9 * 1024 * len(scales) * 512 + 512 + 513 * len(scales)
    with torch.device("meta"):
        network = build_network("attention-to-scale-largefov", classes=21, scales=scales)
    assert sum(p.numel() for p in network.parameters()) == parameters == largefov + head


@pytest.mark.parametrize(("scales", "gmacs"), [((1.0, 0.75, 0.5), 114.600), ((1.0, 0.75), 94.398)])
def test_network_costs_as_many_multiplications_as_the_reference(
    scales: tuple[float, ...], gmacs: float
) -> None:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = attention_to_scale(classes=21, scales=scales, align_corners=False)
        network.eval()(torch.zeros(1, 3, 321, 321))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=1e-3)


def test_logits_are_the_scores_weighted_at_each_place() -> None:
    network = _lively(attention_to_scale(**SMALL, align_corners=False))
    with torch.no_grad():
        outputs = network.outputs(torch.randn(2, 3, 65, 81))
    weights = outputs["weights"]
    assert weights.shape == (2, 3, 9, 11)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 9, 11))
    maps = [F.interpolate(outputs[f"scale{i}"], (9, 11), mode="bilinear") for i in range(3)]
    expected = torch.einsum("nshw,snchw->nchw", weights, torch.stack(maps))
    torch.testing.assert_close(outputs["logits"], expected)


def test_blind_attention_averages_the_scales() -> None:
    network = _lively(attention_to_scale(**SMALL, scales=TWO))
    torch.nn.init.zeros_(network.attention[2].weight)
    torch.nn.init.zeros_(network.attention[2].bias)
    with torch.no_grad():
        outputs = network.outputs(torch.randn(1, 3, 65, 49))
    mean = (outputs["scale0"] + outputs["scale1"]) / 2
    torch.testing.assert_close(outputs["logits"], mean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size", [(33, 50), (64, 47)])
def test_forward_gives_the_logits_of_outputs(size: tuple[int, int], align_corners: bool) -> None:
    network = _lively(attention_to_scale(**SMALL, scales=TWO, align_corners=align_corners))
    pixels = torch.randn(1, 3, *size)
    with torch.no_grad():
        logits = network(pixels)
        torch.testing.assert_close(logits, network.outputs(pixels)["logits"])
    cells = tuple(-(-side // 8) for side in size)
    assert logits.shape == (1, 5, *(size if align_corners else cells))


def test_loss_on_every_scale_reaches_every_parameter() -> None:
    network = _lively(attention_to_scale(**SMALL, scales=TWO, batch_norm=True)).train()
    outputs = network.outputs(torch.randn(2, 3, 64, 64))
    loss = sum(outputs[name].square().mean() for name in ("logits", "scale0", "scale1"))
    loss.backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_picture_has_the_scales_side_by_side() -> None:
    weights = torch.tensor([[[1.0, 0.0], [0.5, 0.2]], [[0.0, 1.0], [0.5, 0.8]]])
    picture = weights_picture(weights)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, [[255, 0, 0, 255], [128, 51, 128, 204]])


def _lively(network: Any) -> Any:
    """`network`, in eval, with weights that keep the features of noise from fading."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return network.eval()
