"""The table of the networks: where each is made, its paper, its input and its variant."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from edgeseg.types import Size

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class SizeRule:
    """The heights and widths that a network takes: multiple * k + remainder, at least minimum."""

    multiple: int = 1
    remainder: int = 0
    minimum: int = 32

    def nearest(self, size: Size) -> Size:
        """The allowed size that is closest to `size`."""
        return Size(*(self._nearest(side) for side in size))

    def _nearest(self, side: int) -> int:
        side = max(side, self.minimum)
        steps = max(0, round((side - self.remainder) / self.multiple))
        while steps * self.multiple + self.remainder < self.minimum:
            steps += 1
        return steps * self.multiple + self.remainder

    def __str__(self) -> str:
        text = f"each side at least {self.minimum} px"
        if self.multiple > 1:
            text += f" and {self.multiple}k"
            text += f"+{self.remainder}" if self.remainder else ""
        return text


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network."""

    make: str
    """ "module:function"; the function takes `classes` and the variant as keywords."""
    paper: str
    year: int
    size: Size
    """(height, width) in pixels of the paper's input."""
    system: str
    """The row of the training recipes that it is trained by."""
    pixels: str = "imagenet"
    """The row of `pixels.PIXELS` that its weights expect unless their layout says otherwise."""
    variant: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """Keyword arguments of `make` by which this row differs from others of the same file."""
    sizes: SizeRule = SizeRule()


def _fcn(make: str, **variant: Any) -> Row:
    return Row(
        make=f"edgeseg.zoo.{make}",
        paper="FCN (Long et al.)",
        year=2015,
        size=Size(500, 500),
        system="fcn",
        pixels="caffe-fcn",
        variant=variant,
    )


def _segnet(make: str) -> Row:
    return Row(
        make=f"edgeseg.zoo.{make}",
        paper="SegNet (Badrinarayanan et al.)",
        year=2015,
        size=Size(360, 480),
        system="segnet",
        pixels="bytes-bgr",
    )


def _unet(make: str, size: Size) -> Row:
    return Row(
        make=f"edgeseg.zoo.{make}",
        paper="U-Net (Ronneberger et al.)",
        year=2015,
        size=size,
        system="unet",
        pixels="unit",
    )


def _deeplabv1(make: str, side: int, **variant: Any) -> Row:
    return Row(
        make=f"edgeseg.zoo.{make}",
        paper="DeepLab v1 (Chen et al.)",
        year=2015,
        size=Size(side, side),
        system="deeplabv1",
        pixels="caffe",
        variant=variant,
    )


def _deeplabv2(make: str, side: int, **variant: Any) -> Row:
    return Row(
        make=f"edgeseg.zoo.{make}",
        paper="DeepLab v2 (Chen et al.)",
        year=2016,
        size=Size(side, side),
        system="deeplabv2",
        pixels="caffe",
        variant=variant,
    )


def _deeplabv3(make: str, **variant: Any) -> Row:
    return Row(
        make=f"edgeseg.zoo.{make}",
        paper="DeepLab v3 (Chen et al.)",
        year=2017,
        size=Size(513, 513),
        system="deeplabv3",
        variant=variant,
    )


def _deeplabv3plus(make: str, **variant: Any) -> Row:
    return Row(
        make=f"edgeseg.zoo.{make}",
        paper="DeepLab v3+ (Chen et al.)",
        year=2018,
        size=Size(513, 513),
        system="deeplabv3plus",
        variant=variant,
    )


def _dilation(make: str, size: Size, **variant: Any) -> Row:
    return Row(
        make=f"edgeseg.zoo.{make}",
        paper="Dilated context (Yu and Koltun)",
        year=2016,
        size=size,
        system="dilation",
        pixels="dilation-camvid",
        variant=variant,
        sizes=SizeRule(minimum=194),  # the mirrored border of 186 px must fit into the picture
    )


def _context(make: str, paper: str, year: int, side: int, system: str, **variant: Any) -> Row:
    """A network whose context module stands on a dilated ResNet."""
    return Row(
        make=f"edgeseg.zoo.{make}",
        paper=paper,
        year=year,
        size=Size(side, side),
        system=system,
        variant=variant,
    )


_ATTENTION = "Attention to Scale (Chen et al.)"
_HDNET = "HDNet (Li et al.)"
_PSPNET = "PSPNet (Zhao et al.)"

MODELS: dict[str, Row] = {
    "fcn32s-vgg16": _fcn("fcn:fcn32s"),
    "fcn16s-vgg16": _fcn("fcn:fcn16s"),
    "fcn8s-vgg16": _fcn("fcn:fcn8s"),
    "fcn8s-atonce-vgg16": _fcn("fcn:fcn8s", at_once=True),
    "segnet-vgg16": _segnet("segnet:segnet"),
    "segnet-basic": _segnet("segnet:segnet_basic"),
    "unet": _unet("unet:unet", Size(512, 512)),
    "unet-valid": _unet("unet:unet_valid", Size(388, 388)),
    "deeplabv1-largefov-vgg16": _deeplabv1("deeplabv1:largefov", 321),
    "deeplabv1-4x4-vgg16": _deeplabv1("deeplabv1:four_by_four", 306),
    "deeplabv1-msc-largefov-vgg16": _deeplabv1("deeplabv1:largefov", 321, multi_scale=True),
    "deeplabv1-resnet101": _deeplabv1("deeplabv1:resnet101", 513),
    "deeplabv2-vgg16": _deeplabv2("deeplabv2:vgg16", 321),
    "deeplabv2-resnet101": _deeplabv2("deeplabv2:resnet", 513),
    "deeplabv2-msc-resnet101": _deeplabv2("deeplabv2:resnet", 513, scales=(1.0, 0.75, 0.5)),
    "dilation-frontend": _dilation("dilation:frontend", Size(528, 528)),
    "dilation8": _dilation("dilation:dilation8", Size(528, 728)),
    "attention-to-scale-largefov": Row(
        make="edgeseg.zoo.attention:attention_to_scale",
        paper=_ATTENTION,
        year=2016,
        size=Size(321, 321),
        system="attention-to-scale",
        pixels="caffe",
    ),
    "deeplabv3-resnet50": _deeplabv3("deeplabv3:deeplabv3_resnet", depth=50),
    "deeplabv3-resnet101": _deeplabv3("deeplabv3:deeplabv3_resnet", depth=101),
    "deeplabv3-mobilenetv3-large": _deeplabv3("deeplabv3:deeplabv3_mobilenetv3"),
    "deeplabv3-mobilenetv2": _deeplabv3("deeplabv3:deeplabv3_mobilenetv2"),
    "deeplabv3plus-xception65": _deeplabv3plus("deeplabv3plus:deeplabv3plus_xception"),
    "deeplabv3plus-resnet50": _deeplabv3plus("deeplabv3plus:deeplabv3plus_resnet", depth=50),
    "deeplabv3plus-resnet101": _deeplabv3plus("deeplabv3plus:deeplabv3plus_resnet", depth=101),
    "deeplabv3plus-mobilenetv2": _deeplabv3plus("deeplabv3plus:deeplabv3plus_mobilenetv2"),
    "hdnet-resnet50": _context("hdnet:hdnet", _HDNET, 2021, 480, "hdnet", depth=50),
    "hdnet-resnet101": _context("hdnet:hdnet", _HDNET, 2021, 480, "hdnet", depth=101),
    "fcn-resnet50": _context(
        "fcn_resnet:fcn_resnet", "FCN head, torchvision", 2019, 520, "deeplabv3", depth=50
    ),
    "fcn-resnet101": _context(
        "fcn_resnet:fcn_resnet", "FCN head, torchvision", 2019, 520, "deeplabv3", depth=101
    ),
    "pspnet-resnet50": _context("pspnet:pspnet", _PSPNET, 2017, 473, "pspnet", depth=50),
    "pspnet-resnet101": _context("pspnet:pspnet", _PSPNET, 2017, 473, "pspnet", depth=101),
    "danet-resnet101": _context("danet:danet", "DANet (Fu et al.)", 2019, 480, "danet"),
    "ccnet-resnet101": Row(
        make="edgeseg.zoo.ccnet:ccnet",
        paper="CCNet (Huang et al.)",
        year=2019,
        size=Size(769, 769),
        system="ccnet",
        pixels="caffe-ccnet",
    ),
    "nonlocal-resnet101": _context(
        "nonlocal_net:nonlocal_net", "Non-local networks (Wang et al.)", 2018, 513, "danet"
    ),
}
"""The networks, in the order of their papers; the last ones are there for comparison."""


def _compact(name: str, **variant: Any) -> Row:
    """Row `name` made small, for CamVid's size and with ImageNet's normalisation."""
    small = replace(MODELS[name], size=Size(360, 480), pixels="imagenet", variant=variant)
    return replace(small, sizes=SizeRule())


MODELS |= {
    "fcn-compact": _compact(
        "fcn8s-vgg16", width=0.25, pad=1, batch_norm=True, fc_channels=1024, dropout=0.1
    ),
    "segnet-compact": _compact("segnet-vgg16", width=0.1875),
    "unet-compact": _compact("unet", width=0.15, batch_norm=True, dropout=0.1),
    "deeplabv1-compact": _compact(
        "deeplabv1-largefov-vgg16", width=0.25, batch_norm=True, dropout=0.1
    ),
    "deeplabv2-compact": _compact("deeplabv2-resnet101", depth=18, width=0.375),
    "dilation-compact": _compact(
        "dilation8", width=0.1875, padding="same", batch_norm=True, fc_channels=1024, dropout=0.1
    ),
    "attention-to-scale-compact": _compact(
        "attention-to-scale-largefov",
        width=0.1875,
        scales=(1.0, 0.5),
        batch_norm=True,
        dropout=0.1,
    ),
    "deeplabv3-compact": _compact("deeplabv3-resnet101", depth=18, width=0.375, aspp_channels=128),
    "deeplabv3plus-compact": _compact(
        "deeplabv3plus-resnet101", depth=18, width=0.375, aspp_channels=96
    ),
    "hdnet-compact": _compact("hdnet-resnet50", depth=18, width=0.375),
}
"""One small preset of each of the ten systems: what ships with weights, and trains in minutes."""
