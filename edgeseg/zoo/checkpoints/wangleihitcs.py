"""Weights of wangleihitcs/DeepLab-V1-PyTorch: LargeFOV as one numbered sequence."""

from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes

NAMES = {
    0: "backbone.conv1_1",
    2: "backbone.conv1_2",
    5: "backbone.conv2_1",
    7: "backbone.conv2_2",
    10: "backbone.conv3_1",
    12: "backbone.conv3_2",
    14: "backbone.conv3_3",
    17: "backbone.conv4_1",
    19: "backbone.conv4_2",
    21: "backbone.conv4_3",
    24: "backbone.conv5_1",
    26: "backbone.conv5_2",
    28: "backbone.conv5_3",
    32: "classifier.fc6",
    35: "classifier.fc7",
    38: "fc8",
}
"""Ours by the number of theirs; the numbers between are ReLUs, pools and dropouts."""


def _largefov(shapes: Shapes) -> Found | None:
    keys = {f"features.{number}.{kind}" for number in NAMES for kind in ("weight", "bias")}
    if shapes.keys() != keys or shapes["features.32.weight"] != (1024, 512, 3, 3):
        return None
    return Found(
        network="deeplabv1-largefov-vgg16",
        classes=shapes["features.38.weight"][0],
        variant={"align_corners": True},
        pixels="caffe",
    )


LAYOUTS = (
    Layout(
        author="wangleihitcs/DeepLab-V1-PyTorch",
        recognise=_largefov,
        rules=tuple(
            (rf"features\.{number}\.(weight|bias)", rf"{name}.\1") for number, name in NAMES.items()
        ),
    ),
)
