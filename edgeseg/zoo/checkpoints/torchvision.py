"""torchvision's segmentation weights: DeepLab v3 and FCN heads on ResNet and MobileNetV3."""

from typing import Any

from edgeseg.zoo.checkpoints.backbones import aspp_rules, resnet_depth
from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes

AUX_RULES = (
    (r"aux_classifier\.([01]\..+)", r"aux.0.\1"),
    (r"aux_classifier\.4\.(.+)", r"aux.2.\1"),
)
BACKBONE_RULE = (r"(backbone\..+)", r"\1")


def _deeplabv3(shapes: Shapes) -> Found | None:
    if "classifier.0.convs.4.1.weight" not in shapes or "classifier.4.weight" not in shapes:
        return None
    classes = shapes["classifier.4.weight"][0]
    variant: dict[str, Any] = {"head_3x3": True, "aux": "aux_classifier.0.weight" in shapes}
    if shapes.get("backbone.16.0.weight") == (960, 160, 1, 1):
        variant["rates"] = (12, 24, 36)
        return Found("deeplabv3-mobilenetv3-large", classes, variant, "imagenet")
    depth = resnet_depth(shapes)
    if depth is None:
        return None
    # The strides are not in the file: torchvision offers this network at output stride 8 only.
    variant |= {"output_stride": 8, "multi_grid": (1, 1, 1), "first_block_dilates": False}
    return Found(f"deeplabv3-resnet{depth}", classes, variant, "imagenet")


def _fcn(shapes: Shapes) -> Found | None:
    depth = resnet_depth(shapes)
    if depth is None or shapes.get("classifier.0.weight") != (512, 2048, 3, 3):
        return None
    if "classifier.4.weight" not in shapes:
        return None
    variant = {"aux": "aux_classifier.0.weight" in shapes}
    classes = shapes["classifier.4.weight"][0]
    return Found(f"fcn-resnet{depth}", classes, variant, "imagenet")


LAYOUTS = (
    Layout(
        author="pytorch/vision",
        recognise=_deeplabv3,
        rules=(
            BACKBONE_RULE,
            *aspp_rules(r"classifier\.0"),
            (r"classifier\.1\.(.+)", r"refine.0.0.\1"),
            (r"classifier\.2\.(.+)", r"refine.0.1.\1"),
            (r"classifier\.4\.(.+)", r"classifier.\1"),
            *AUX_RULES,
        ),
    ),
    Layout(
        author="pytorch/vision",
        recognise=_fcn,
        rules=(
            BACKBONE_RULE,
            (r"classifier\.([01]\..+)", r"head.0.\1"),
            (r"classifier\.4\.(.+)", r"head.2.\1"),
            *AUX_RULES,
        ),
    ),
)
