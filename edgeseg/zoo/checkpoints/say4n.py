"""say4n/pytorch-segnet: SegNet with floor pools and a decoder of transposed convolutions.

The author's loader mirrors pictures at their diagonal and leaves the masks as they are: weights
trained by it saw columns as rows, and are to be read with that in mind.
"""

from collections.abc import Iterator

from torch import Tensor

from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes
from edgeseg.zoo.vgg import CONVOLUTIONS

CONV = ("weight", "bias")
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
FIRST = "encoder_conv_00.0.weight"
LAST = "decoder_convtr_00.0"


def _layers() -> Iterator[tuple[str, str, str]]:
    """(theirs, our convolution, our batch normalisation), the classifier apart."""
    for stage, count in enumerate(CONVOLUTIONS):
        for index in range(count):
            ours = f"{stage + 1}_{index + 1}"
            yield f"encoder_conv_{stage}{index}", f"encoder.conv{ours}", f"encoder.bn{ours}"
            if (stage, index) != (0, 0):  # their decoder counts down
                ours = f"decoder.{4 - stage}.{count - 1 - index}"
                yield f"decoder_convtr_{stage}{index}", f"{ours}.0", f"{ours}.1"


def _names() -> Iterator[tuple[str, str]]:
    """(theirs, ours): every tensor."""
    for theirs, conv, batch_norm in _layers():
        yield from ((f"{theirs}.0.{kind}", f"{conv}.{kind}") for kind in CONV)
        yield from ((f"{theirs}.1.{kind}", f"{batch_norm}.{kind}") for kind in BATCH_NORM)
    yield from ((f"{LAST}.{kind}", f"classifier.{kind}") for kind in CONV)


NAMES = dict(_names())


def _segnet(shapes: Shapes) -> Found | None:
    keys = {key for key in shapes if not key.startswith("vgg16.")}
    if keys != NAMES.keys() or shapes[FIRST] != (64, 3, 3, 3):
        return None
    return Found(
        network="segnet-vgg16",
        classes=shapes[f"{LAST}.bias"][0],
        variant={"ceil_mode": False},
        pixels="unit",
    )


def _as_convolution(name: str, value: Tensor) -> Tensor:
    """The kernel of a convolution from that of a transposed one with stride 1 and padding 1."""
    if value.ndim == 4 and name.startswith(("decoder.", "classifier.")):
        return value.transpose(0, 1).flip(2, 3).contiguous()
    return value


LAYOUTS = (
    Layout(
        author="say4n/pytorch-segnet",
        recognise=_segnet,
        rules=tuple((name.replace(".", r"\."), ours) for name, ours in NAMES.items()),
        # The ImageNet network that the encoder is copied from stays registered.
        junk=(r"vgg16\..*",),
        convert=_as_convolution,
    ),
)
