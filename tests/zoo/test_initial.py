import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from edgeseg.types import Size  # noqa: E402
from edgeseg.zoo import MODELS, build_network  # noqa: E402
from edgeseg.zoo.initial import initialise, noise_pictures, random_weights  # noqa: E402

pytestmark = pytest.mark.torch

SIZE = Size(64, 96)


@pytest.mark.parametrize("how", ["he", "u-net normal"])
def test_convolutions_are_drawn_by_their_number_of_inputs(how: str) -> None:
    layer = nn.Conv2d(32, 256, 3)
    initialise(nn.Sequential(layer), how, seed=0)  # type: ignore[arg-type]
    assert float(layer.weight.detach().std()) == pytest.approx(np.sqrt(2 / (9 * 32)), rel=0.02)
    assert float(layer.bias.detach().abs().max()) == 0


def test_of_an_up_convolution_an_output_sees_one_weight_in_four() -> None:
    layer = nn.ConvTranspose2d(256, 128, 2, stride=2)
    before = layer.weight.clone()
    initialise(nn.Sequential(layer), "he", seed=0)
    assert torch.equal(layer.weight, before)
    initialise(nn.Sequential(layer), "u-net normal", seed=0)
    assert float(layer.weight.detach().std()) == pytest.approx(np.sqrt(2 / 256), rel=0.02)


@pytest.mark.parametrize(("factor", "groups"), [(2, 1), (4, 3), (8, 1)])
def test_bilinear_deconvolution_enlarges_every_channel_by_itself(factor: int, groups: int) -> None:
    layer = nn.ConvTranspose2d(3, 3, 2 * factor, stride=factor, groups=groups, padding=factor // 2)
    initialise(nn.Sequential(layer), "bilinear-deconvolution", seed=0)
    x = torch.rand(1, 3, 5, 6)
    wanted = nn.functional.interpolate(x, scale_factor=factor, mode="bilinear")
    inside = (..., slice(factor, -factor), slice(factor, -factor))
    assert torch.allclose(layer(x)[inside], wanted[inside], atol=1e-5)


def test_default_and_identity_leave_the_constructor_its_say() -> None:
    layer = nn.Conv2d(4, 4, 3)
    before = layer.weight.clone()
    initialise(nn.Sequential(layer), "default", seed=0)
    initialise(nn.Sequential(layer), "identity", seed=0)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(
    "name",
    [
        "fcn-compact", "segnet-compact", "unet-compact", "deeplabv1-compact", "deeplabv2-compact",
        "dilation-compact", "attention-to-scale-compact", "deeplabv3-compact",
        "deeplabv3plus-compact", "hdnet-compact", "deeplabv1-msc-largefov-vgg16",
    ],
)  # fmt: skip
def test_random_weights_decide_differently_from_place_to_place(name: str) -> None:
    row = MODELS[name]
    network = build_network(name, classes=11, width=0.125)
    size = row.sizes.nearest(SIZE)
    random_weights(network, size, pixels=row.pixels)
    with torch.no_grad():
        # Another picture than the one that the weights were scaled by.
        logits = network(noise_pictures(size, torch.Generator().manual_seed(7), row.pixels)[:1])
    assert 1 <= float(logits.std()) < 30
    assert len(logits.argmax(1).unique()) >= 3


def test_random_weights_give_normalisation_something_to_do() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 1))
    random_weights(network, SIZE)
    norm = network[1]
    assert float((norm.running_mean).abs().mean()) > 0.01
    assert float(norm.weight.detach().std()) > 0.1
    assert norm.momentum == 0.1
    assert not network.training


def test_random_weights_are_drawn_from_the_seed() -> None:
    made = []
    for seed in (1, 1, 2):
        network = build_network("deeplabv1-compact", classes=11, seed=seed, width=0.125)
        random_weights(network, SIZE, seed=seed)
        made.append(network.fc8.weight.clone())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
