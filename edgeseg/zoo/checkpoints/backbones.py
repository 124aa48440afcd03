"""What layouts of several authors share: the backbones that they took from the same places."""

from edgeseg.zoo.checkpoints.layout import Shapes
from edgeseg.zoo.mobilenetv2 import PLACES

DEPTHS = {6: 50, 23: 101}
"""Blocks of the third layer to depth, of the ResNets with bottlenecks."""

ASPP_RULES = (
    (r"{aspp}\.convs\.0\.([01]\..+)", r"aspp.pointwise.\1"),
    (r"{aspp}\.convs\.1\.([01]\..+)", r"aspp.atrous.0.\1"),
    (r"{aspp}\.convs\.2\.([01]\..+)", r"aspp.atrous.1.\1"),
    (r"{aspp}\.convs\.3\.([01]\..+)", r"aspp.atrous.2.\1"),
    (r"{aspp}\.convs\.4\.1\.(.+)", r"aspp.pooled.0.\1"),
    (r"{aspp}\.convs\.4\.2\.(.+)", r"aspp.pooled.1.\1"),
    (r"{aspp}\.project\.([01]\..+)", r"aspp.project.\1"),
)


def aspp_rules(prefix: str) -> tuple[tuple[str, str], ...]:
    """Rules for torchvision's ASPP, which VainF has too, under the regular expression `prefix`."""
    return tuple((rule.replace("{aspp}", prefix), ours) for rule, ours in ASPP_RULES)


def resnet_depth(shapes: Shapes, prefix: str = "backbone.") -> int | None:
    """50 or 101 for a ResNet of torchvision's names with its 7x7 stem; None for anything else."""
    if shapes.get(f"{prefix}conv1.weight") != (64, 3, 7, 7):
        return None
    if shapes.get(f"{prefix}layer4.2.conv3.weight") != (2048, 512, 1, 1):
        return None
    blocks = sum(
        key.startswith(f"{prefix}layer3.") and key.endswith(".conv3.weight") for key in shapes
    )
    return DEPTHS.get(blocks)


def mobilenetv2_rules(
    prefixes: tuple[str, str], expanded: tuple[str, ...], first: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Rules for MobileNetV2's stem and its 17 blocks, numbered from 1.

    `prefixes`: of the numbers below 4 and of the rest. `expanded`, `first`: for a block and for
    the one without expansion, regular expressions with one group that stand for convolution and
    normalisation of each of our layers in turn.
    """
    rules = [(rf"{prefixes[0]}\.0\.([01]\..+)", r"backbone.stem.\1")]
    for number, (stage, block) in enumerate(PLACES, start=1):
        theirs = rf"{prefixes[number > 3]}\.{number}\.conv\."
        ours = f"backbone.stages.{stage}.{block}.body."
        for index, part in enumerate(expanded if number > 1 else first):
            rules.append((theirs + part, rf"{ours}{index // 2}.{index % 2}.\1"))
    return tuple(rules)
