"""speedinghzl/CCNet: ResNet-101 with in-place activated batch normalisation (Cityscapes)."""

from torch import Tensor

from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes

EPSILON = 1e-5  # what their normalisation adds to the size of its weight


def _recognise(shapes: Shapes) -> Found | None:
    last = shapes.get("head.bottleneck.3.weight")
    needed = {"conv3.weight", "layer3.22.conv1.weight", "head.cca.query_conv.weight"}
    if last is None or needed - set(shapes) or "layer3.23.conv1.weight" in shapes:
        return None
    variant = {"aux": "dsn.3.weight" in shapes}
    return Found("ccnet-resnet101", last[0], variant, "caffe-ccnet")


def _positive_gain(name: str, value: Tensor) -> Tensor:
    """Their normalisation multiplies by |weight| + epsilon, ours by its weight."""
    if name.endswith(".weight") and value.dim() == 1:
        return value.abs() + EPSILON
    return value


LAYOUTS = (
    Layout(
        author="speedinghzl/CCNet",
        recognise=_recognise,
        rules=(
            (r"((?:conv[123]|bn[123]|layer[1-4])\..+)", r"backbone.\1"),
            (r"head\.conva\.(.+)", r"head.enter.\1"),
            (r"head\.convb\.(.+)", r"head.leave.\1"),
            (r"head\.cca\.gamma", "head.context.gamma"),
            (r"head\.cca\.(query|key|value)_conv\.(.+)", r"head.context.\1.\2"),
            (r"head\.bottleneck\.([01])\.(.+)", r"head.fuse.\1.\2"),
            (r"head\.bottleneck\.3\.(.+)", r"head.classifier.1.\1"),
            (r"dsn\.([01])\.(.+)", r"aux.\1.\2"),
            (r"dsn\.3\.(.+)", r"aux.3.1.\1"),
        ),
        convert=_positive_gain,
    ),
)
