"""jfzhang95/pytorch-deeplab-xception: DeepLab v3+ on ResNet-101, aligned Xception, MobileNetV2.

The strides are not in a file; the published ones have output stride 16, which is read here.
"""

from typing import Any

from edgeseg.zoo.checkpoints.backbones import mobilenetv2_rules, resnet_depth
from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes

MOBILENET_RULES = mobilenetv2_rules(
    (r"backbone\.features", r"backbone\.features"),
    tuple(rf"{index}\.(.+)" for index in (0, 1, 3, 4, 6, 7)),
    tuple(rf"{index}\.(.+)" for index in (0, 1, 3, 4)),
)
ASPP_RULES = (
    *(
        (rf"aspp\.aspp{number}\.{theirs}\.(.+)", rf"aspp.{ours}.{index}.\1")
        for number, ours in enumerate(("pointwise", "atrous.0", "atrous.1", "atrous.2"), start=1)
        for index, theirs in enumerate(("atrous_conv", "bn"))
    ),
    (r"aspp\.global_avg_pool\.1\.(.+)", r"aspp.pooled.0.\1"),
    (r"aspp\.global_avg_pool\.2\.(.+)", r"aspp.pooled.1.\1"),
    (r"aspp\.conv1\.(.+)", r"aspp.project.0.\1"),
    (r"aspp\.bn1\.(.+)", r"aspp.project.1.\1"),
)
DECODER_RULES = (
    (r"decoder\.conv1\.(.+)", r"low_level.0.\1"),
    (r"decoder\.bn1\.(.+)", r"low_level.1.\1"),
    (r"decoder\.last_conv\.([01]\..+)", r"refine.0.\1"),
    (r"decoder\.last_conv\.4\.(.+)", r"refine.1.0.\1"),
    (r"decoder\.last_conv\.5\.(.+)", r"refine.1.1.\1"),
    (r"decoder\.last_conv\.8\.(.+)", r"classifier.\1"),
)
PARTS = (("conv1", "0.0"), ("bn", "0.1"), ("pointwise", "1.0"))
"""Of their separable convolution and ours; the last normalisation stands outside theirs."""


def _xception_rules() -> tuple[tuple[str, str], ...]:
    found = [
        (r"backbone\.conv1\.(weight)", r"backbone.stem.0.0.\1"),
        (r"backbone\.bn1\.(.+)", r"backbone.stem.0.1.\1"),
        (r"backbone\.conv2\.(weight)", r"backbone.stem.1.0.\1"),
        (r"backbone\.bn2\.(.+)", r"backbone.stem.1.1.\1"),
    ]
    for number in range(1, 21):
        theirs, ours = rf"backbone\.block{number}\.", f"backbone.blocks.{number - 1}."
        # A block that starts with a ReLU, from the third on, numbers its layers one up.
        first = 0 if number < 3 else 1
        found.append((theirs + r"skip\.(.+)", rf"{ours}shortcut.0.\1"))
        found.append((theirs + r"skipbn\.(.+)", rf"{ours}shortcut.1.\1"))
        for index in range(3):
            place = first + 3 * index
            found += _separable(rf"{theirs}rep\.{place}", f"{ours}convs.{index}")
            found.append((rf"{theirs}rep\.{place + 1}\.(.+)", rf"{ours}convs.{index}.1.1.\1"))
    for index, number in enumerate((3, 4, 5)):
        found += _separable(rf"backbone\.conv{number}", f"backbone.exit.{index}")
        found.append((rf"backbone\.bn{number}\.(.+)", rf"backbone.exit.{index}.1.1.\1"))
    return tuple(found)


def _separable(theirs: str, ours: str) -> list[tuple[str, str]]:
    return [(rf"{theirs}\.{part}\.(.+)", rf"{ours}.{place}.\1") for part, place in PARTS]


def _classes(shapes: Shapes) -> int | None:
    if "aspp.aspp4.atrous_conv.weight" not in shapes:
        return None
    scores = shapes.get("decoder.last_conv.8.weight")
    return scores[0] if scores else None


def _resnet(shapes: Shapes) -> Found | None:
    classes, depth = _classes(shapes), resnet_depth(shapes)
    if classes is None or depth is None:
        return None
    return _found(f"resnet{depth}", classes)


def _xception(shapes: Shapes) -> Found | None:
    classes = _classes(shapes)
    if classes is None or "backbone.block20.rep.7.pointwise.weight" not in shapes:
        return None
    return _found("xception65", classes, low_level="block1", depthwise_relu=False, relu_sums=True)


def _mobilenet(shapes: Shapes) -> Found | None:
    classes = _classes(shapes)
    if classes is None or "backbone.features.17.conv.7.weight" not in shapes:
        return None
    return _found("mobilenetv2", classes, separable=False, pad_first=True, late_dilation=True)


def _found(backbone: str, classes: int, **variant: Any) -> Found:
    variant["align_corners"] = True
    return Found(f"deeplabv3plus-{backbone}", classes, variant, "imagenet")


LAYOUTS = tuple(
    Layout(
        author="jfzhang95/pytorch-deeplab-xception",
        recognise=recognise,
        rules=(*backbone_rules, *ASPP_RULES, *DECODER_RULES),
        junk=junk,
    )
    for recognise, backbone_rules, junk in (
        (_resnet, ((r"(backbone\.(?:conv1|bn1|layer[1-4])\..+)", r"\1"),), ()),
        (_xception, _xception_rules(), ()),
        # Every tensor of this backbone is there twice, under two names.
        (_mobilenet, MOBILENET_RULES, (r"backbone\.(?:low|high)_level_features\..+",)),
    )
)
