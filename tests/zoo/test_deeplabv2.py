"""DeepLab v2: counts, the pyramid over rates and over scales, and the public weights."""

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from edgeseg.zoo import build_network  # noqa: E402
from edgeseg.zoo.checkpoints.kazuto1011 import LAYOUTS  # noqa: E402
from edgeseg.zoo.deeplabv2 import resnet, vgg16  # noqa: E402

pytestmark = pytest.mark.torch

SMALL: dict[str, Any] = {"classes": 5, "width": 0.125, "depth": 18}
WEIGHTS = "kazuto1011_deeplab-pytorch-deeplabv2_resnet101_msc-voc21"
PARAMETERS = {"deeplabv2-resnet101": 44_048_532, "deeplabv2-msc-resnet101": 44_048_532}


@pytest.mark.parametrize(
    ("name", "parameters"), [*PARAMETERS.items(), ("deeplabv2-vgg16", 37_877_652)]
)
def test_network_has_as_many_parameters_as_the_reference(name: str, parameters: int) -> None:
    with torch.device("meta"):
        network = build_network(name, classes=21)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "side", "gmacs"),
    [
        ("deeplabv2-resnet101", 321, 75.136),
        ("deeplabv2-msc-resnet101", 321, 137.779),
        ("deeplabv2-msc-resnet101", 513, 344.876),
        ("deeplabv2-vgg16", 321, 80.120),
    ],
)
def test_network_costs_as_many_multiplications_as_the_reference(
    name: str, side: int, gmacs: float
) -> None:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        build_network(name, classes=21).eval()(torch.zeros(1, 3, side, side))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=1e-3)


def test_smaller_pyramid_has_the_same_parameters() -> None:
    with torch.device("meta"):
        wide, small = vgg16(classes=21), vgg16(classes=21, rates=(2, 4, 8, 12))
    assert {k: v.shape for k, v in wide.state_dict().items()} == {
        k: v.shape for k, v in small.state_dict().items()
    }
    assert [branch[0].fc6.dilation for branch in small.branches] == [(r, r) for r in (2, 4, 8, 12)]


def test_scores_are_the_sum_of_the_branches() -> None:
    network = _lively(resnet(**SMALL))
    pixels = torch.randn(1, 3, 65, 65)
    with torch.no_grad():
        features = network.backbone(pixels)[-1]
        expected = torch.stack([branch(features) for branch in network.branches]).sum(0)
        torch.testing.assert_close(network(pixels), expected)


def test_logits_are_the_maximum_over_the_scales() -> None:
    network = _lively(resnet(**SMALL, scales=(1.0, 0.75, 0.5)))
    pixels = torch.randn(1, 3, 65, 90)
    sizes = [(65, 90), (48, 67), (32, 45)]  # floor(s H), floor(s W)
    with torch.no_grad():
        views = [F.interpolate(pixels, size, mode="bilinear") for size in sizes]
        maps = [network.scores(view) for view in views]
        expected = torch.stack([F.interpolate(m, maps[0].shape[2:], mode="bilinear") for m in maps])
        torch.testing.assert_close(network(pixels), expected.amax(0))
        outputs = network.outputs(pixels)
    assert list(outputs) == ["logits", "scale0", "scale1", "scale2"]
    for index, scores in enumerate(maps):
        torch.testing.assert_close(outputs[f"scale{index}"], scores)


def test_aligned_corners_keep_the_grid_of_every_scale() -> None:
    network = _lively(resnet(**SMALL, scales=(1.0, 0.5), align_corners=True))
    pixels = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        outputs = network.outputs(pixels)
        # (65 - 1) / 2 + 1 = 33 px are 5 cells of 8 px: every second cell of the full scale's 9.
        half = F.interpolate(pixels, (33, 49), mode="bilinear", align_corners=True)
        cells = outputs["scale1"][:, :, ::16, ::16]
        torch.testing.assert_close(cells, network.scores(half), rtol=1e-4, atol=1e-3)
    assert {tuple(value.shape) for value in outputs.values()} == {(1, 5, 65, 97)}


def test_one_scale_has_no_outputs_but_the_logits() -> None:
    with torch.no_grad():
        assert list(resnet(**SMALL).eval().outputs(torch.zeros(1, 3, 33, 33))) == ["logits"]


@pytest.mark.parametrize("size", [(32, 32), (45, 70)])
def test_vgg16_gives_the_size_of_the_picture(size: tuple[int, int]) -> None:
    network = vgg16(classes=5, width=0.125, batch_norm=True, scales=(1.0, 0.75)).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, *size)).shape == (1, 5, *size)


def test_pool_without_ceiling_has_one_cell_for_eight_pixels() -> None:
    with torch.no_grad():
        assert resnet(**SMALL, ceil_pool=False).eval()(torch.zeros(1, 3, 48, 64)).shape[2:] == (
            6,
            8,
        )


def test_every_parameter_learns() -> None:
    network = resnet(**SMALL, scales=(1.0, 0.5)).train()
    sum(
        value.square().mean() for value in network.outputs(torch.randn(2, 3, 65, 65)).values()
    ).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("prefix", "network"),
    [("base.", "deeplabv2-msc-resnet101"), ("", "deeplabv2-resnet101")],
)
def test_public_weights_fit(shared: Path, prefix: str, network: str) -> None:
    shapes = {prefix + key: shape for key, shape in _shapes(shared, WEIGHTS).items()}
    layout, found = _recognised(shapes)
    assert (found.network, found.classes, found.pixels) == (network, 21, "caffe")
    assert found.variant["depth"] == 101
    ours = _state(found)
    assert {layout.renamed(key): shape for key, shape in shapes.items()} == ours


def test_weights_of_a_shallower_sibling_fit(shared: Path) -> None:
    shapes = {
        f"base.{key}": (182, *shape[1:]) if key.startswith("aspp") else shape
        for key, shape in _shapes(shared, WEIGHTS).items()
        if not key.startswith("layer4") or int(key.split(".")[1].removeprefix("block")) <= 6
    }
    layout, found = _recognised(shapes)
    assert (found.classes, found.variant["depth"]) == (182, 50)
    assert {layout.renamed(key): shape for key, shape in shapes.items()} == _state(found)


def test_weights_of_others_are_not_claimed(shared: Path) -> None:
    claimed = {
        path.stem.split("-")[0]
        for path in (shared / "checkpoints").glob("*.json")
        for layout in LAYOUTS
        if layout.recognise(_shapes(shared, path.stem, base=False))
    }
    assert claimed == {"kazuto1011_deeplab"}


def _lively(network: Any) -> Any:
    """`network`, in eval, with weights that keep the features of noise from fading."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return network.eval()


def _recognised(shapes: dict[str, tuple[int, ...]]) -> Any:
    (hit,) = [(each, found) for each in LAYOUTS if (found := each.recognise(shapes))]
    return hit


def _state(found: Any) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        network = build_network(found.network, classes=found.classes, **found.variant)
    return {
        key: tuple(value.shape)
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def _shapes(shared: Path, name: str, *, base: bool = True) -> dict[str, tuple[int, ...]]:
    """Key to shape of a file; `base` takes off the prefix that stands for several scales."""
    held = json.loads((shared / "checkpoints" / f"{name}.json").read_text())
    return {
        (key.removeprefix("base.") if base else key): tuple(shape)
        for key, shape in held.items()
        if not key.endswith("num_batches_tracked")
    }
