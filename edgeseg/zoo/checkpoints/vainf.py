"""VainF/DeepLabV3Plus-Pytorch: DeepLab v3 and v3+ on ResNet and MobileNetV2.

The strides are not in a file; the published ones have output stride 16, which is read here.
"""

from typing import Any

import torch
from torch import Tensor

from edgeseg.zoo.checkpoints.backbones import aspp_rules, mobilenetv2_rules, resnet_depth
from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes

AUTHOR = "VainF/DeepLabV3Plus-Pytorch"
LOW_LEVEL_CHANNELS = 48
BACKBONE_RULES = (
    *mobilenetv2_rules(
        (r"backbone\.low_level_features", r"backbone\.high_level_features"),
        (r"0\.0\.(.+)", r"0\.1\.(.+)", r"1\.0\.(.+)", r"1\.1\.(.+)", r"2\.(.+)", r"3\.(.+)"),
        (r"0\.0\.(.+)", r"0\.1\.(.+)", r"1\.(.+)", r"2\.(.+)"),
    ),
    (r"(backbone\.(?:conv1|bn1|layer[1-4])\..+)", r"\1"),
)


def _backbone(shapes: Shapes) -> tuple[str, dict[str, Any]] | None:
    """The end of the row's name and the backbone's variant."""
    if shapes.get("backbone.high_level_features.17.conv.2.weight") == (320, 960, 1, 1):
        return "mobilenetv2", {"separable": False, "stem_padding": 0, "pad_first": True}
    depth = resnet_depth(shapes)
    if depth is None:
        return None
    return f"resnet{depth}", {"multi_grid": (1, 1, 1), "first_block_dilates": False}


def _deeplabv3(shapes: Shapes) -> Found | None:
    classifier = shapes.get("classifier.classifier.4.weight")
    backbone = _backbone(shapes)
    if "classifier.classifier.0.convs.1.0.weight" not in shapes or not (classifier and backbone):
        return None
    name, variant = backbone
    return Found(f"deeplabv3-{name}", classifier[0], variant | {"head_3x3": True}, "imagenet")


def _deeplabv3plus(shapes: Shapes) -> Found | None:
    classifier = shapes.get("classifier.classifier.3.weight")
    backbone = _backbone(shapes)
    if "classifier.aspp.convs.1.0.weight" not in shapes or not (classifier and backbone):
        return None
    name, variant = backbone
    return Found(f"deeplabv3plus-{name}", classifier[0], variant | {"decoder_convs": 1}, "imagenet")


def _context_first(name: str, value: Tensor) -> Tensor:
    """Their decoder has the low-level channels first, ours has them last."""
    if name != "refine.0.0.weight":
        return value
    low, context = value[:, :LOW_LEVEL_CHANNELS], value[:, LOW_LEVEL_CHANNELS:]
    return torch.cat([context, low], dim=1)


LAYOUTS = (
    Layout(
        author=AUTHOR,
        recognise=_deeplabv3,
        rules=(
            *BACKBONE_RULES,
            *aspp_rules(r"classifier\.classifier\.0"),
            (r"classifier\.classifier\.1\.(.+)", r"refine.0.0.\1"),
            (r"classifier\.classifier\.2\.(.+)", r"refine.0.1.\1"),
            (r"classifier\.classifier\.4\.(.+)", r"classifier.\1"),
        ),
    ),
    Layout(
        author=AUTHOR,
        recognise=_deeplabv3plus,
        rules=(
            *BACKBONE_RULES,
            *aspp_rules(r"classifier\.aspp"),
            (r"classifier\.project\.([01]\..+)", r"low_level.\1"),
            (r"classifier\.classifier\.([01]\..+)", r"refine.0.\1"),
            (r"classifier\.classifier\.3\.(.+)", r"classifier.\1"),
        ),
        convert=_context_first,
    ),
)
