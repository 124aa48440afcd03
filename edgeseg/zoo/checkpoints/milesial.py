"""milesial/Pytorch-UNet: U-Net with batch normalisation, transposed or bilinear on the way up."""

from collections.abc import Iterator

from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes

LEVELS = range(1, 5)
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
FIRST = "inc.double_conv.0.weight"
LAST = "outc.conv.weight"
CHANNELS = {3: False, 1: True}
"""Whether the network sees grey pictures, by the channels of its first convolution."""


def _stages() -> Iterator[tuple[str, str]]:
    """(theirs, ours): each stage of two convolutions."""
    yield "inc", "encoder.0"
    for level in LEVELS:
        yield f"down{level}.maxpool_conv.1", f"encoder.{level}"
        yield f"up{level}.conv", f"decoder.{level - 1}"


def _names() -> Iterator[tuple[str, str]]:
    """(theirs, ours): every tensor, transposed convolutions included."""
    for theirs, ours in _stages():
        for index, number in enumerate((0, 3)):
            yield f"{theirs}.double_conv.{number}.weight", f"{ours}.{index}.0.weight"
            for kind in BATCH_NORM:
                yield f"{theirs}.double_conv.{number + 1}.{kind}", f"{ours}.{index}.1.{kind}"
    for kind in ("weight", "bias"):
        yield f"outc.conv.{kind}", f"classifier.{kind}"
        for level in LEVELS:
            yield f"up{level}.up.{kind}", f"up.{level - 1}.{kind}"


NAMES = dict(_names())
UP = frozenset(name for name in NAMES if ".up." in name)


def _unet(shapes: Shapes) -> Found | None:
    has_up = shapes.keys() >= UP
    if shapes.keys() != (NAMES.keys() if has_up else NAMES.keys() - UP):
        return None
    first = shapes[FIRST]
    if first[0] != 64 or first[1] not in CHANNELS:
        return None
    variant = {
        "batch_norm": True,
        "bilinear": not has_up,
        "grey": CHANNELS[first[1]],
        "dropout": 0.0,
    }
    return Found(network="unet", classes=shapes[LAST][0], variant=variant, pixels="unit")


LAYOUTS = (
    Layout(
        author="milesial/Pytorch-UNet",
        recognise=_unet,
        rules=tuple((name.replace(".", r"\."), ours) for name, ours in NAMES.items()),
    ),
)
