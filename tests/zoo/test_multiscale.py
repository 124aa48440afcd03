"""Inference at several scales: the same as one run after the other by hand."""

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed here")

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.types import Size
from edgeseg.zoo.multiscale import MultiScale
from edgeseg.zoo.rows import SizeRule

pytestmark = pytest.mark.torch

CHANNELS = 32


def _network(*, full_size: bool = False) -> nn.Module:
    """Logits of stride 2, or of the picture's size; its weights do not fit the mirrored picture."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [
        nn.Conv2d(3, CHANNELS, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(CHANNELS),
        nn.ReLU(inplace=True),
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(CHANNELS, 4, 1),
    ]
    if full_size:
        layers.append(nn.UpsamplingBilinear2d(scale_factor=2))
    return nn.Sequential(*layers).eval()


def _picture(height: int = 96, width: int = 128) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def _resized(x: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False)


@torch.no_grad()
def test_one_run_is_the_network_itself() -> None:
    network, picture = _network(), _picture()
    assert torch.equal(MultiScale(network)(picture), network(picture))
    assert torch.equal(MultiScale(network, fusion="max")(picture), network(picture))


@torch.no_grad()
@pytest.mark.parametrize("fusion", ["mean", "max", "softmax-mean"])
def test_runs_are_fused_on_the_map_of_the_first_scale(fusion: str) -> None:
    network, picture = _network(), _picture()
    maps = torch.stack(
        [
            _resized(network(_resized(picture, 48, 64)), 48, 64),
            network(picture),
            _resized(network(_resized(picture, 144, 192)), 48, 64),
        ]
    )
    expected = {
        "mean": maps.mean(0),
        "max": maps.amax(0),
        "softmax-mean": maps.softmax(2).mean(0),
    }[fusion]
    fused = MultiScale(network, scales=(0.5, 1.0, 1.5), fusion=fusion)(picture)
    assert fused.shape == (1, 4, 48, 64)
    torch.testing.assert_close(fused, expected)


@torch.no_grad()
def test_logits_of_the_mirrored_picture_are_turned_back() -> None:
    network, picture = _network(full_size=True), _picture()
    half = _resized(picture, 48, 64)
    runs = [
        network(picture),
        network(picture.flip(3)).flip(3),
        _resized(network(half), 96, 128),
        _resized(network(half.flip(3)).flip(3), 96, 128),
    ]
    assert not torch.allclose(runs[0], runs[1], atol=1e-2)
    fused = MultiScale(network, scales=(1.0, 0.5), flip=True)(picture)
    torch.testing.assert_close(fused, torch.stack(runs).mean(0))


@torch.no_grad()
def test_without_scale_one_the_largest_map_counts() -> None:
    network, picture = _network(), _picture()
    fused = MultiScale(network, scales=(0.5, 0.75))(picture)
    assert fused.shape == (1, 4, 36, 48)


@torch.no_grad()
@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        (SizeRule(), [(36, 48), (49, 65)]),  # floors of 36.75 and 48.75
        (SizeRule(multiple=8, remainder=1), [(33, 49), (49, 65)]),
        (SizeRule(minimum=40), [(40, 48), (49, 65)]),
    ],
)
def test_each_scale_sees_a_size_that_the_network_takes(
    rule: SizeRule, seen: list[tuple[int, int]]
) -> None:
    network, sizes = _network(), []
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    MultiScale(network, scales=(0.75, 1.0), sizes=rule)(_picture(49, 65))
    assert sizes == seen


@torch.no_grad()
def test_a_scale_whose_product_is_whole_is_not_rounded_down() -> None:
    network, sizes = _network(), []
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    MultiScale(network, scales=(0.57, 1.1))(_picture(100, 100))  # 0.57 * 100 < 57 in binary
    assert sizes == [(57, 57), (110, 110)]


def test_unknown_fusion_and_empty_scales_are_refused() -> None:
    with pytest.raises(UsageError, match="fusion 'average'"):
        MultiScale(_network(), fusion="average")
    with pytest.raises(UsageError, match="are no scales"):
        MultiScale(_network(), scales=())


@pytest.mark.needs("onnx", "onnxsim", "onnxruntime", "onnxscript")
def test_exported_graph_holds_each_weight_once_and_computes_the_same() -> None:
    import onnx
    import onnxruntime

    from edgeseg.graph.simplify import fixed_core
    from edgeseg.zoo.export import export_core

    network, picture = _network(), _picture()
    fused = MultiScale(network, scales=(1.0, 0.5, 0.75), flip=True, fusion="softmax-mean")
    size = Size(96, 128)
    core = fixed_core(onnx.load_from_string(export_core(fused, size=size)), size)
    count = Counter(node.op_type for node in core.graph.node)
    assert count["Conv"] == 6 * 3
    assert set(count) == {
        "Conv", "Relu", "Resize", "Gather", "Softmax", "Add", "Mul",
    }  # fmt: skip
    weights = [np.prod(item.dims) for item in core.graph.initializer if len(item.dims) == 4]
    assert sum(weights) == sum(p.numel() for p in network.parameters() if p.dim() == 4)
    session = onnxruntime.InferenceSession(core.SerializeToString())
    (logits,) = session.run(None, {"pixels": picture.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, fused(picture).numpy(), atol=1e-5)
