"""hszhao/semseg: PSPNet on ResNet-50 and -101 with the deep stem (VOC, ADE20K, Cityscapes)."""

from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes

DEPTHS = {6: 50, 23: 101}
"""Depth of the ResNet by the number of blocks in its third layer."""


def _recognise(shapes: Shapes) -> Found | None:
    last = shapes.get("cls.4.weight")
    if last is None or {"layer0.6.weight", "ppm.features.3.1.weight"} - set(shapes):
        return None
    blocks = sum(f"layer3.{index}.conv1.weight" in shapes for index in range(36))
    if blocks not in DEPTHS:
        return None
    variant = {"aux": "aux.4.weight" in shapes}
    return Found(f"pspnet-resnet{DEPTHS[blocks]}", last[0], variant, "imagenet")


LAYOUTS = (
    Layout(
        author="hszhao/semseg",
        recognise=_recognise,
        rules=(
            (r"layer0\.0\.(.+)", r"backbone.conv1.\1"),
            (r"layer0\.1\.(.+)", r"backbone.bn1.\1"),
            (r"layer0\.3\.(.+)", r"backbone.conv2.\1"),
            (r"layer0\.4\.(.+)", r"backbone.bn2.\1"),
            (r"layer0\.6\.(.+)", r"backbone.conv3.\1"),
            (r"layer0\.7\.(.+)", r"backbone.bn3.\1"),
            (r"(layer[1-4]\..+)", r"backbone.\1"),
            (r"ppm\.features\.(\d)\.1\.(.+)", r"pyramid.levels.\1.0.\2"),
            (r"ppm\.features\.(\d)\.2\.(.+)", r"pyramid.levels.\1.1.\2"),
            (r"cls\.([01])\.(.+)", r"head.0.\1.\2"),
            (r"cls\.4\.(.+)", r"head.1.1.\1"),
            (r"aux\.([01])\.(.+)", r"aux.0.\1.\2"),
            (r"aux\.4\.(.+)", r"aux.1.1.\1"),
        ),
    ),
)
