"""The receptive field that `edgeseg models` prints, against the support of the gradient."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812
from torch import nn  # noqa: E402

from edgeseg.types import Size  # noqa: E402
from edgeseg.zoo import MODELS, build_network, figures, geometry  # noqa: E402
from edgeseg.zoo.geometry import fields, geometry_of  # noqa: E402

pytestmark = pytest.mark.torch

NARROW = 0.01
"""Eight channels everywhere: the geometry does not depend on them."""
LOCAL = [
    name
    for name in MODELS
    if (known := figures.figures_of(name)) is not None and known.receptive_field_px is not None
]
"""The networks whose logits do not see the whole picture."""
FULL = [name for name in LOCAL if not name.endswith("-compact")]
"""Without the presets, which are narrower and shallower forms of the others."""
SCALES = (1.0, 0.75, 0.5)
"""At which attention-to-scale and MSC look, unless their row says otherwise."""


@contextlib.contextmanager
def additive() -> Iterator[None]:
    """Every maximum becomes a sum, so that no way through the network goes without gradient."""

    def pool(
        x: Any, window: Any, stride: Any = None, padding: Any = 0, _: Any = 1, ceil: Any = False,
        **options: Any,
    ) -> Any:  # fmt: skip
        return F.avg_pool2d(x, window, stride, padding, options.get("ceil_mode", ceil))

    def unpool(x: Any, places: Any) -> Any:
        return F.interpolate(x, size=places.size, mode="nearest")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "max_pool2d", pool)
        patch.setattr(torch, "maximum", torch.add)
        patch.setattr("edgeseg.zoo.segnet.unpooled", unpool)
        yield


def field_of(name: str) -> int:
    known = figures.figures_of(name)
    assert known is not None
    assert known.receptive_field_px is not None
    return known.receptive_field_px


def picture_of(name: str, rows: int) -> Size:
    """A narrow picture: the axes are alike. A network that mirrors 186 pixels needs them."""
    return MODELS[name].sizes.nearest(Size(rows, 190 if name.startswith("dilation") else 33))


def positive(network: nn.Module) -> nn.Module:
    """`network` in float64 with positive weights that keep the size of what they sum."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            terms = max(1, parameter[0].numel()) if parameter.ndim > 1 else 1
            share = torch.rand(parameter.shape, generator=generator) + 0.5
            parameter.copy_(share / terms if parameter.ndim > 1 else share)
    return network.double().eval()


def support(network: nn.Module, size: Size, row: int, column: int) -> tuple[int, int, int, int]:
    """First and last picture row, first and last column that the logit at a place depends on."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(1, 3, *size, generator=generator, dtype=torch.float64).requires_grad_()
    with additive():
        network(pixels)[0, :, row, column].sum().backward()
    seen = pixels.grad[0].abs().sum(0) > 0
    rows, columns = seen.any(1).nonzero()[:, 0], seen.any(0).nonzero()[:, 0]
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def stated(network: nn.Module, size: Size) -> tuple[Any, Any, Any, Any]:
    """First and last rows, first and last columns of every logit, as the tool traces them."""
    return (*fields(network, size, "rows"), *fields(network, size, "columns"))


@pytest.mark.parametrize("name", FULL)
def test_field_is_where_the_gradient_is(name: str) -> None:
    network = build_network(name, classes=2, width=NARROW)
    size = MODELS[name].sizes.nearest(Size(131, 170))
    top, bottom, left, right = stated(network, size)

    height, width = len(top), len(left)
    for row, column in ((height // 2, width // 2), (0, width - 1)):
        traced = (int(top[row]), int(bottom[row]), int(left[column]), int(right[column]))
        assert support(positive(network), size, row, column) == traced


@pytest.mark.parametrize("name", FULL)
def test_stated_field_is_as_high_as_the_gradient(name: str) -> None:
    field = field_of(name)
    network = build_network(name, classes=2, width=NARROW)
    rows = next(rows for rows in geometry.PROBES_ROWS if rows > field)
    size = picture_of(name, rows)
    top, bottom = fields(network, size)
    row = int((bottom - top).argmax())

    first, last, *_ = support(positive(network), size, row, 0)

    assert last - first + 1 == field


@pytest.mark.parametrize("name", LOCAL)
def test_logit_looks_at_the_position_that_it_stands_for(name: str) -> None:
    """At half-pixel centres, or pixel for pixel where the network itself resizes.

    In a picture whose corners stay on the grid no shift is left on average. A single one may look
    aside by less than a step of the coarsest features, of which it sees the nearest.
    """
    known = figures.figures_of(name)
    assert known is not None
    network = build_network(name, classes=2, width=NARROW)
    size = picture_of(name, (field_of(name) + 400) // 32 * 32 + 1)
    top, bottom = fields(network, size)

    whole = (top > 0) & (bottom < size.height - 1)
    place = (torch.arange(len(top)) + 0.5) * size.height / len(top) - 0.5
    astray = ((top + bottom) / 2 - place)[whole]

    step = known.encoder_stride / min(MODELS[name].variant.get("scales", SCALES))
    assert whole.sum() >= 32
    assert astray.abs().max() < step
    assert astray.mean().abs() <= 1


@pytest.mark.parametrize("name", [name for name in MODELS if name not in LOCAL])
def test_network_with_global_context_sees_the_corners(name: str) -> None:
    network = build_network(name, classes=2, width=NARROW)
    size = MODELS[name].sizes.nearest(Size(105, 137))

    top, bottom, left, right = stated(network, size)

    assert (int(top.max()), int(bottom.min())) == (0, size.height - 1)
    assert (int(left.max()), int(right.min())) == (0, size.width - 1)


@pytest.mark.parametrize(
    ("layers", "field", "stride"),
    [
        ([nn.Conv2d(3, 4, 3, padding=1)], 3, 1),
        ([nn.Conv2d(3, 4, 3, padding=6, dilation=6)], 13, 1),
        ([nn.Conv2d(3, 4, 7, 2, padding=3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 2, 3)], 19, 4),
        ([nn.Conv2d(3, 4, 4, 4), nn.ConvTranspose2d(4, 2, 8, 4, padding=2)], 8, 4),
        ([nn.Conv2d(3, 16, 2, 2), nn.PixelShuffle(2), nn.Conv2d(4, 2, 1)], 2, 1),
        ([nn.ReflectionPad2d(5), nn.AvgPool2d(5, 1), nn.Conv2d(3, 2, 1)], 5, 1),
        ([nn.Conv2d(3, 4, 3, 2, 1), nn.Upsample(scale_factor=2, mode="bilinear")], 5, 2),
    ],
)
def test_field_of_a_short_chain_is_what_the_formula_says(
    layers: list[nn.Module], field: int, stride: int
) -> None:
    """1 + the sum of (kernel - 1) * dilation * the strides before; a resize adds one step."""
    found = geometry_of(nn.Sequential(*layers))

    assert (found.receptive_field_px, found.output_stride) == (field, stride)


def test_published_fields() -> None:
    """FCN's 404 pixels of fc7, and one step of 32 more for the upsampling; ResNet-101's 1027."""
    fields_px = {
        name: geometry_of(build_network(name, classes=2, width=NARROW)).receptive_field_px
        for name in ("fcn32s-vgg16", "deeplabv1-resnet101")
    }

    assert fields_px == {"fcn32s-vgg16": 404 + 32, "deeplabv1-resnet101": 1027}


def test_an_operator_that_nothing_is_known_of_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="grid_sampler"):
        geometry_of(_Warped())


class _Warped(nn.Module):
    def forward(self, pixels: Any) -> Any:
        return F.grid_sample(pixels, pixels[:, :2].permute(0, 2, 3, 1), align_corners=False)


def test_probes_grow() -> None:
    assert list(geometry.PROBES_ROWS) == sorted(geometry.PROBES_ROWS)
