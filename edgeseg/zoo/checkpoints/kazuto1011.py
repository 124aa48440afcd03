"""Weights of kazuto1011/deeplab-pytorch: DeepLab v2 with ResNet (MSC), and the COCO start."""

import re
from collections.abc import Iterator

from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes

AUTHOR = "kazuto1011/deeplab-pytorch"
BLOCKS = (3, 4, 23, 3)
"""Of layer2 to layer5 in ResNet-101; ResNet-50 has fewer in layer4."""
DEPTH_OF_BLOCKS = {6: 50, 23: 101}
"""By the blocks of layer4."""
UNITS = {"reduce": 1, "conv3x3": 2, "increase": 3}


def _v2(shapes: Shapes) -> Found | None:
    msc = "base.layer1.conv1.conv.weight" in shapes
    base = "base." if msc else ""
    head = shapes.get(f"{base}aspp.c0.weight", ())
    depth = _depth(shapes, base)
    if depth is None or head[1:] != (2048, 3, 3):
        return None
    return Found(
        network="deeplabv2-msc-resnet101" if msc else "deeplabv2-resnet101",
        classes=head[0],
        variant={"depth": depth, "align_corners": False, "ceil_pool": True},
        pixels="caffe",
    )


def _v1(shapes: Shapes) -> Found | None:
    head = shapes.get("fc.weight", ())
    if _depth(shapes, "") != 101 or head[1:] != (2048, 1, 1):
        return None
    return Found(network="deeplabv1-resnet101", classes=head[0], variant={}, pixels="caffe")


def _depth(shapes: Shapes, base: str) -> int | None:
    """The depth of the ResNet; None where the names are not this author's."""
    if f"{base}layer1.conv1.conv.weight" not in shapes:
        return None
    blocks = sum(
        re.fullmatch(rf"{base}layer4\.block\d+\.conv3x3\.conv\.weight", key) is not None
        for key in shapes
    )
    return DEPTH_OF_BLOCKS.get(blocks)


def _rules(base: str) -> Iterator[tuple[str, str]]:
    """His layers count from 1 with the stem, his blocks from 1; ours count from 1 and from 0."""
    yield rf"{base}layer1\.conv1\.(conv|bn)\.(\w+)", r"backbone.\g<1>1.\2"
    for layer, blocks in enumerate(BLOCKS, start=1):
        theirs = rf"{base}layer{layer + 1}\.block"
        for block in range(blocks):
            for unit, number in UNITS.items():
                yield (
                    rf"{theirs}{block + 1}\.{unit}\.(conv|bn)\.(\w+)",
                    rf"backbone.layer{layer}.{block}.\g<1>{number}.\2",
                )
        for index, part in enumerate(("conv", "bn")):
            yield (
                rf"{theirs}1\.shortcut\.{part}\.(\w+)",
                rf"backbone.layer{layer}.0.downsample.{index}.\1",
            )


LAYOUTS = (
    Layout(
        author=AUTHOR,
        recognise=_v2,
        rules=(
            *_rules(r"(?:base\.)?"),
            (r"(?:base\.)?aspp\.c(\d)\.(weight|bias)", r"branches.\1.\2"),
        ),
    ),
    Layout(
        author=AUTHOR,
        recognise=_v1,
        rules=(*_rules(""), (r"fc\.(weight|bias)", r"fc.\1")),
    ),
)
