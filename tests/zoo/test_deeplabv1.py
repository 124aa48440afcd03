"""DeepLab v1: the paper's sizes and costs, its grid, its variants and the public weights."""

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from edgeseg.errors import UsageError  # noqa: E402
from edgeseg.zoo import build_network  # noqa: E402
from edgeseg.zoo.checkpoints.kazuto1011 import LAYOUTS as KAZUTO1011  # noqa: E402
from edgeseg.zoo.checkpoints.wangleihitcs import LAYOUTS as WANGLEIHITCS  # noqa: E402
from edgeseg.zoo.deeplabv1 import four_by_four, largefov, resnet101  # noqa: E402

pytestmark = pytest.mark.torch

SMALL: dict[str, Any] = {"classes": 5, "width": 0.125}
WEIGHTS_OF_LARGEFOV = "wangleihitcs_DeepLab-V1-PyTorch-vgg16_largefov-voc21"
WEIGHTS_ON_COCO = "kazuto1011_deeplab-pytorch-deeplabv1_resnet101-coco91"


@pytest.mark.parametrize(
    ("name", "variant", "parameters"),
    [
        ("deeplabv1-largefov-vgg16", {}, 20_505_429),
        ("deeplabv1-4x4-vgg16", {}, 65_140_565),
        ("deeplabv1-4x4-vgg16", {"rate": 8}, 65_140_565),
        ("deeplabv1-4x4-vgg16", {"kernel": 7}, 134_346_581),
    ],
)
def test_network_has_as_many_parameters_as_the_papers(
    name: str, variant: dict[str, Any], parameters: int
) -> None:
    with torch.device("meta"):
        network = build_network(name, classes=21, **variant)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("make", "side", "gmacs"),
    [
        (largefov, 321, 50.928),
        (largefov, 306, 46.075),
        (largefov, 513, 128.585),
        (four_by_four, 306, 113.956),
    ],
)
def test_network_costs_as_many_multiplications_as_the_reference(
    make: Any, side: int, gmacs: float
) -> None:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        make(classes=21).eval()(torch.zeros(1, 3, side, side))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=1e-3)


@pytest.mark.parametrize(("side", "cells"), [(321, 41), (306, 39), (513, 65)])
@pytest.mark.parametrize("make", [largefov, four_by_four])
def test_map_has_the_papers_size(make: Any, side: int, cells: int) -> None:
    with torch.device("meta"), torch.no_grad():
        scores = make(**SMALL, align_corners=False).eval()(torch.zeros(1, 3, side, side))
    assert scores.shape == (1, 5, cells, cells)


@pytest.mark.parametrize(
    "variant", [{}, {"kernel": 7}, {"kernel": 3}, {"rate": 8}], ids=["4x4", "7x7", "3x3", "rate 8"]
)
def test_every_fc6_keeps_the_size_of_the_map(variant: dict[str, Any]) -> None:
    network = four_by_four(**SMALL, **variant, align_corners=False).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 57, 72)).shape == (1, 5, 8, 9)


def test_even_kernel_at_an_odd_rate_is_refused() -> None:
    with pytest.raises(UsageError, match="no centre"):
        four_by_four(**SMALL, kernel=4, rate=3)


def test_scores_lie_on_every_eighth_pixel() -> None:
    pixels = torch.randn(1, 3, 65, 49)
    network = _lively(largefov(**SMALL))
    with torch.no_grad():
        logits = network(pixels)
        network.align_corners = False
        scores = network(pixels)
    assert logits.shape == (1, 5, 65, 49)
    torch.testing.assert_close(logits[:, :, ::8, ::8], scores, rtol=1e-4, atol=1e-6)


def test_network_without_left_and_right_sees_the_mirrored_picture_mirrored() -> None:
    network = _lively(four_by_four(**SMALL))
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = (parameter.data + parameter.data.flip(3)) / 2**0.5
    pixels = torch.randn(1, 3, 33, 49)
    with torch.no_grad():
        mirrored = network(pixels.flip(3)).flip(3)
        logits = network(pixels)
    assert (logits - mirrored).abs().max() < 1e-4 * logits.std()


def test_multi_scale_form_scores_640_more_channels() -> None:
    with torch.device("meta"):
        plain, multi_scale = largefov(classes=21), largefov(classes=21, multi_scale=True)
    first = sum(9 * channels * 128 + 128 for channels in (3, 64, 128, 256, 512))
    added = first + 5 * (128 * 128 + 128) + 640 * 21
    counts = [sum(p.numel() for p in net.parameters()) for net in (plain, multi_scale)]
    assert counts[1] - counts[0] == added


@pytest.mark.parametrize("size", [(32, 32), (37, 50), (64, 71)])
@pytest.mark.parametrize("align_corners", [True, False])
def test_multi_scale_form_takes_any_size(size: tuple[int, int], align_corners: bool) -> None:
    network = largefov(**SMALL, multi_scale=True, align_corners=align_corners).eval()
    with torch.no_grad():
        logits = network(torch.zeros(2, 3, *size))
    cells = tuple(-(-side // 8) for side in size)
    assert logits.shape == (2, 5, *(size if align_corners else cells))


def test_multi_scale_form_sees_the_picture_in_its_branches() -> None:
    network = _lively(largefov(**SMALL, multi_scale=True))
    torch.nn.init.zeros_(network.classifier.fc7.weight)
    torch.nn.init.zeros_(network.classifier.fc7.bias)
    with torch.no_grad():
        one, other = network(torch.randn(2, 3, 33, 33)).unbind()
    assert (one - other).abs().max() > 0


@pytest.mark.parametrize(
    "network",
    [
        largefov(**SMALL, multi_scale=True),
        four_by_four(**SMALL, batch_norm=True),
        resnet101(classes=5, width=0.0625),
    ],
    ids=["multi-scale", "4x4", "resnet101"],
)
def test_every_parameter_learns(network: Any) -> None:
    logits = _lively(network).train()(torch.randn(2, 3, 65, 65))
    logits.square().mean().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # Batch normalisation takes the bias before it away again: rounding is all it may leave.
    assert [name for name in still if not name.endswith("bias")] == []


@pytest.mark.parametrize(
    ("layouts", "name", "network", "classes", "parameters"),
    [
        (WANGLEIHITCS, WEIGHTS_OF_LARGEFOV, "deeplabv1-largefov-vgg16", 21, 20_505_429),
        (KAZUTO1011, WEIGHTS_ON_COCO, "deeplabv1-resnet101", 91, 42_686_619),
    ],
)
def test_public_weights_fit(
    shared: Path, layouts: Any, name: str, network: str, classes: int, parameters: int
) -> None:
    shapes = _shapes(shared / "checkpoints" / f"{name}.json")
    layout, found = _recognised(layouts, shapes)
    assert (found.network, found.classes, found.pixels) == (network, classes, "caffe")
    with torch.device("meta"):
        ours = build_network(found.network, classes=found.classes, **found.variant)
    wanted = {
        key: tuple(value.shape)
        for key, value in ours.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert {layout.renamed(key): shape for key, shape in shapes.items()} == wanted
    assert sum(p.numel() for p in ours.parameters()) == parameters


def test_weights_of_others_are_not_claimed(shared: Path) -> None:
    claimed = {
        path.stem.split("-")[0]
        for path in (shared / "checkpoints").glob("*.json")
        for layout in WANGLEIHITCS
        if layout.recognise(_shapes(path))
    }
    assert claimed == {"wangleihitcs_DeepLab"}


def test_another_count_of_classes_is_recognised(shared: Path) -> None:
    shapes = _shapes(shared / "checkpoints" / f"{WEIGHTS_OF_LARGEFOV}.json")
    shapes |= {"features.38.weight": (11, 1024, 1, 1), "features.38.bias": (11,)}
    assert _recognised(WANGLEIHITCS, shapes)[1].classes == 11


def _lively(network: Any) -> Any:
    """`network`, in eval, with weights that keep the features of noise from fading."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return network.eval()


def _recognised(layouts: Any, shapes: dict[str, tuple[int, ...]]) -> Any:
    (hit,) = [(each, found) for each in layouts if (found := each.recognise(shapes))]
    return hit


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    return {
        key.removeprefix("module."): tuple(shape)
        for key, shape in json.loads(path.read_text()).items()
        if not key.endswith("num_batches_tracked")
    }
