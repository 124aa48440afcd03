"""The table of the networks: where each is made, its paper, its input and its variant."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
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


def _row(
    make: str,
    *,
    paper: str,
    year: int,
    size: Size,
    system: str,
    pixels: str = "imagenet",
    sizes: SizeRule = SizeRule(),
    **variant: Any,
) -> Row:
    """The row of a network in this folder; what is left over is its variant."""
    return Row(
        make=f"edgeseg.zoo.{make}",
        paper=paper,
        year=year,
        size=size,
        system=system,
        pixels=pixels,
        variant=variant,
        sizes=sizes,
    )


def _square(side: int) -> Size:
    return Size(side, side)


_fcn = partial(
    _row,
    paper="FCN (Long et al.)",
    year=2015,
    size=_square(500),
    system="fcn",
    pixels="caffe-fcn",
)
_segnet = partial(
    _row,
    paper="SegNet (Badrinarayanan et al.)",
    year=2015,
    size=Size(360, 480),
    system="segnet",
    pixels="bytes-bgr",
)
_unet = partial(_row, paper="U-Net (Ronneberger et al.)", year=2015, system="unet", pixels="unit")
_deeplabv1 = partial(
    _row, paper="DeepLab v1 (Chen et al.)", year=2015, system="deeplabv1", pixels="caffe"
)
_deeplabv2 = partial(
    _row, paper="DeepLab v2 (Chen et al.)", year=2016, system="deeplabv2", pixels="caffe"
)
_dilation = partial(
    _row,
    paper="Dilated context (Yu and Koltun)",
    year=2016,
    system="dilation",
    pixels="dilation-camvid",
    sizes=SizeRule(minimum=194),  # the mirrored border of 186 px must fit into the picture
)
_deeplabv3 = partial(
    _row, paper="DeepLab v3 (Chen et al.)", year=2017, size=_square(513), system="deeplabv3"
)
_deeplabv3plus = partial(
    _row, paper="DeepLab v3+ (Chen et al.)", year=2018, size=_square(513), system="deeplabv3plus"
)
_hdnet = partial(_row, paper="HDNet (Li et al.)", year=2021, size=_square(480), system="hdnet")
_fcn_resnet = partial(
    _row,
    "fcn_resnet:fcn_resnet",
    paper="FCN head, torchvision",
    year=2019,
    size=_square(520),
    system="deeplabv3",
)
_pspnet = partial(_row, paper="PSPNet (Zhao et al.)", year=2017, size=_square(473), system="pspnet")

MODELS: dict[str, Row] = {
    "fcn32s-vgg16": _fcn("fcn:fcn32s"),
    "fcn16s-vgg16": _fcn("fcn:fcn16s"),
    "fcn8s-vgg16": _fcn("fcn:fcn8s"),
    "fcn8s-atonce-vgg16": _fcn("fcn:fcn8s", at_once=True),
    "segnet-vgg16": _segnet("segnet:segnet"),
    "segnet-basic": _segnet("segnet:segnet_basic"),
    "unet": _unet("unet:unet", size=_square(512)),
    "unet-valid": _unet("unet:unet_valid", size=_square(388)),
    "deeplabv1-largefov-vgg16": _deeplabv1("deeplabv1:largefov", size=_square(321)),
    "deeplabv1-4x4-vgg16": _deeplabv1("deeplabv1:four_by_four", size=_square(306)),
    "deeplabv1-msc-largefov-vgg16": _deeplabv1(
        "deeplabv1:largefov", size=_square(321), multi_scale=True
    ),
    "deeplabv1-resnet101": _deeplabv1("deeplabv1:resnet101", size=_square(513)),
    "deeplabv2-vgg16": _deeplabv2("deeplabv2:vgg16", size=_square(321)),
    "deeplabv2-resnet101": _deeplabv2("deeplabv2:resnet", size=_square(513)),
    "deeplabv2-msc-resnet101": _deeplabv2(
        "deeplabv2:resnet", size=_square(513), scales=(1.0, 0.75, 0.5)
    ),
    "dilation-frontend": _dilation("dilation:frontend", size=_square(528)),
    "dilation8": _dilation("dilation:dilation8", size=Size(528, 728)),
    "attention-to-scale-largefov": _row(
        "attention:attention_to_scale",
        paper="Attention to Scale (Chen et al.)",
        year=2016,
        size=_square(321),
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
    "hdnet-resnet50": _hdnet("hdnet:hdnet", depth=50),
    "hdnet-resnet101": _hdnet("hdnet:hdnet", depth=101),
    "fcn-resnet50": _fcn_resnet(depth=50),
    "fcn-resnet101": _fcn_resnet(depth=101),
    "pspnet-resnet50": _pspnet("pspnet:pspnet", depth=50),
    "pspnet-resnet101": _pspnet("pspnet:pspnet", depth=101),
    "danet-resnet101": _row(
        "danet:danet", paper="DANet (Fu et al.)", year=2019, size=_square(480), system="danet"
    ),
    "ccnet-resnet101": _row(
        "ccnet:ccnet",
        paper="CCNet (Huang et al.)",
        year=2019,
        size=_square(769),
        system="ccnet",
        pixels="caffe-ccnet",
    ),
    "nonlocal-resnet101": _row(
        "nonlocal_net:nonlocal_net",
        paper="Non-local networks (Wang et al.)",
        year=2018,
        size=_square(513),
        system="danet",
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
