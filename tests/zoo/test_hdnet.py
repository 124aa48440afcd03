"""HDNet's distance maps are the paper's, and the network has its size, its export and gradients."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from edgeseg.types import Size
from edgeseg.zoo import build_network
from edgeseg.zoo.hdr import WINDOWS, LocationAwareAttention, distance_maps

pytestmark = pytest.mark.torch

COMPACT: dict[str, Any] = {"depth": 18, "width": 0.25, "head_channels": 192, "align_corners": False}


def cosine_with_pools(theta: np.ndarray, row: int, column: int) -> list[float]:
    """The 14 values at one position of theta (C, H, W): windows cut at the border, as defined."""
    values = []
    for pool in (np.mean, np.max):
        for side in WINDOWS:
            reach = side // 2
            rows = slice(max(0, row - reach), row + reach + 1)
            columns = slice(max(0, column - reach), column + reach + 1)
            pooled = pool(theta[:, rows, columns], axis=(1, 2))
            here = theta[:, row, column]
            values.append(here @ pooled / np.linalg.norm(here) / np.linalg.norm(pooled))
    return values


@pytest.mark.parametrize("shape", [(6, 7, 9), (8, 23, 21), (3, 4, 4)])
def test_distance_maps_are_cosines_with_the_pools_of_seven_windows(
    shape: tuple[int, int, int],
) -> None:
    theta = np.random.default_rng(0).standard_normal(shape) + 0.3

    maps = distance_maps(torch.from_numpy(theta[None]).float())[0].numpy()

    expected = [[cosine_with_pools(theta, i, j) for j in range(shape[2])] for i in range(shape[1])]
    np.testing.assert_allclose(maps, np.moveaxis(np.array(expected), 2, 0), atol=1e-5)


def test_distance_maps_take_half_precision_vectors_whose_squares_overflow() -> None:
    theta = torch.randn(1, 16, 9, 9)

    maps = distance_maps((theta * 2000).half())

    torch.testing.assert_close(maps, distance_maps(theta), atol=1e-3, rtol=0)


def test_distance_maps_of_nothing_are_zero_and_have_finite_gradients() -> None:
    theta = torch.zeros(1, 4, 6, 6, requires_grad=True)

    maps = distance_maps(theta)
    maps.sum().backward()  # type: ignore[no-untyped-call]

    assert maps.abs().max() == 0
    assert theta.grad is not None
    assert theta.grad.isfinite().all()


def test_attention_adds_phi_of_the_weighted_input() -> None:
    attention = LocationAwareAttention(16).eval()
    x = torch.randn(2, 16, 8, 10)

    y = attention(x)

    u = attention.fuse(distance_maps(attention.theta(x)))
    assert u.shape == (2, 1, 8, 10)
    torch.testing.assert_close(y, x + attention.phi(u * x))


def test_head_and_attention_have_the_parameters_of_the_authors_code() -> None:
    with torch.device("meta"):
        network = build_network("hdnet-resnet101", classes=59)
    branches = network.get_submodule("branches")

    assert count(network) == 68_504_933 - 2_049_000  # less the ImageNet classifier they keep
    assert count(network) - count(network.get_submodule("backbone")) == pytest.approx(23.96e6, 1e-3)
    assert count(branches.get_submodule("spatial")) == pytest.approx(0.33e6, 1e-2)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 80)])
def test_logits_have_the_size_of_the_picture_and_features_the_stride_8(
    size: tuple[int, int],
) -> None:
    network = build_network("hdnet-resnet50", classes=5, depth=18, width=0.25).eval()

    with torch.no_grad():
        outputs = network.outputs(torch.randn(2, 3, *size))  # type: ignore[operator]

    assert outputs["logits"].shape == (2, 5, *size)
    assert outputs["features"].shape == (2, 128, -(-size[0] // 8), -(-size[1] // 8))


def test_logits_keep_the_stride_when_corners_are_not_aligned() -> None:
    network = build_network("hdnet-resnet50", classes=11, **COMPACT).eval()

    with torch.no_grad():
        assert network(torch.randn(1, 3, 48, 64)).shape == (1, 11, 6, 8)


def test_multi_grid_gives_the_last_layer_the_rates_4_8_16() -> None:
    with torch.device("meta"):
        network = build_network("hdnet-resnet50", classes=2, multi_grid=True)
        plain = build_network("hdnet-resnet50", classes=2)

    assert rates(network) == [4, 8, 16]
    assert rates(plain) == [2, 4, 4]


def test_compact_form_is_small() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = build_network("hdnet-resnet50", classes=11, **COMPACT).eval()
        network(torch.zeros(1, 3, 240, 320))

    assert count(network) < 1.5e6
    assert 0.6e9 < counter.get_total_flops() / 2 < 1.2e9


def test_every_parameter_learns_in_bfloat16() -> None:
    network = build_network("hdnet-resnet50", classes=11, **COMPACT).train()

    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(2, 3, 64, 80))
    logits.float().square().mean().backward()

    gradients = [weight.grad for weight in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.needs("onnx", "onnxsim", "onnxruntime", "onnxscript")
def test_exported_network_computes_the_same() -> None:
    import onnx

    from edgeseg.graph.simplify import fixed_core
    from edgeseg.zoo.export import export_core
    from tests.oracle import run

    network = build_network("hdnet-resnet50", classes=5, **{**COMPACT, "align_corners": True})
    wake(network.eval())
    pixels = torch.randn(1, 3, 72, 104)
    exported = onnx.load_from_string(export_core(network, size=Size(72, 104)))

    core = fixed_core(exported, Size(72, 104))

    with torch.no_grad():
        expected = network(pixels).numpy()
    got = run(core, {"pixels": pixels.numpy()})
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()
    assert {node.op_type for node in core.graph.node}.isdisjoint(
        {"Einsum", "ScatterND", "NonZero", "Loop", "If", "Where", "Gather"}
    )


def wake(network: nn.Module) -> None:
    """Set the gains that start at zero, so that the attention counts."""
    for name, weight in network.named_parameters():
        if name.endswith("gamma"):
            nn.init.constant_(weight, 0.7)


def rates(network: nn.Module) -> list[int]:
    blocks = network.get_submodule("backbone.layer4").children()
    return [block.get_submodule("conv2").dilation[0] for block in blocks]  # type: ignore[index,misc]


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())
