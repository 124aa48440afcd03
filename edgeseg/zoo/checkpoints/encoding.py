"""junfu1115/DANet and Anstarc/HDNet, both made from PyTorch-Encoding: `pretrained.*`, `head.*`."""

from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes

DEPTHS = {6: 50, 23: 101}
"""Depth of the ResNet by the number of blocks in its third layer."""

SHARED = (
    (r"pretrained\.((?:conv1|bn1|layer[1-4])\..+)", r"backbone.\1"),
    (r"head\.conv5a\.(.+)", r"branches.spatial_in.\1"),
    (r"head\.conv5c\.(.+)", r"branches.channel_in.\1"),
    (r"head\.conv51\.(.+)", r"branches.spatial_out.\1"),
    (r"head\.conv52\.(.+)", r"branches.channel_out.\1"),
    (r"head\.sc\.gamma", "branches.channel.gamma"),
    (r"head\.conv8\.(.+)", r"classifier.\1"),
)
JUNK = (r"pretrained\.fc\..+", r"auxlayer\..+")
"""The ImageNet classifier that the authors never call, and a head that only training uses."""


def _depth(shapes: Shapes) -> int | None:
    """That of a dilated ResNet with torchvision's stem; None for another backbone."""
    if "pretrained.conv1.weight" not in shapes:
        return None
    blocks = sum(f"pretrained.layer3.{index}.conv3.weight" in shapes for index in range(36))
    return DEPTHS.get(blocks)


def _recognise_danet(shapes: Shapes) -> Found | None:
    depth, last = _depth(shapes), shapes.get("head.conv8.1.weight")
    if depth is None or last is None or "head.sa.query_conv.weight" not in shapes:
        return None
    variant = {"depth": depth, "aux": "head.conv6.1.weight" in shapes}
    return Found("danet-resnet101", last[0], variant, "imagenet")


def _recognise_hdnet(shapes: Shapes) -> Found | None:
    depth, last = _depth(shapes), shapes.get("head.conv8.1.weight")
    # Their form with a decoder at full size is another network.
    decodes = any(key.startswith("decoder.") for key in shapes)
    if depth is None or last is None or decodes or "head.sa.fuse.0.weight" not in shapes:
        return None
    return Found(f"hdnet-resnet{depth}", last[0], {}, "imagenet")


LAYOUTS = (
    Layout(
        author="junfu1115/DANet",
        recognise=_recognise_danet,
        rules=(
            *SHARED,
            (r"head\.sa\.gamma", "branches.spatial.gamma"),
            (r"head\.sa\.(query|key|value)_conv\.(.+)", r"branches.spatial.\1.\2"),
            (r"head\.conv6\.(.+)", r"aux_spatial.\1"),
            (r"head\.conv7\.(.+)", r"aux_channel.\1"),
        ),
        junk=JUNK,
    ),
    Layout(
        author="Anstarc/HDNet",
        recognise=_recognise_hdnet,
        rules=(
            *SHARED,
            (r"head\.sa\.bottle_neck\.(.+)", r"branches.spatial.theta.\1"),
            (r"head\.sa\.fuse\.(.+)", r"branches.spatial.fuse.\1"),
            (r"head\.sa\.out_conv\.(.+)", r"branches.spatial.phi.\1"),
        ),
        junk=JUNK,
    ),
)
