"""wkentaro/pytorch-fcn: the authors' FCN-32s, -16s and -8s, converted from Caffe."""

from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes
from edgeseg.zoo.vgg import CONVOLUTIONS

CONV = tuple(
    f"conv{stage}_{index}"
    for stage, count in enumerate(CONVOLUTIONS, 1)
    for index in range(1, count + 1)
)
HEAD = ("fc6", "fc7")
SKIPS = {
    "fcn32s-vgg16": ((), ("upscore",)),
    "fcn16s-vgg16": (("score_pool4",), ("upscore2", "upscore16")),
    "fcn8s-vgg16": (("score_pool4", "score_pool3"), ("upscore2", "upscore_pool4", "upscore8")),
}
"""Scores and deconvolutions of each network. Trained at once, FCN-8s has the same keys: only the
user can tell, by naming fcn8s-atonce-vgg16."""


def _keys(network: str) -> set[str]:
    scores, upsampling = SKIPS[network]
    layers = (*CONV, *HEAD, "score_fr", *scores)
    weighted = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    return weighted | {f"{layer}.weight" for layer in upsampling}


def _fcn(shapes: Shapes) -> Found | None:
    for network in SKIPS:
        if shapes.keys() == _keys(network) and shapes["fc6.weight"] == (4096, 512, 7, 7):
            classes = shapes["score_fr.weight"][0]
            return Found(network=network, classes=classes, variant={}, pixels="caffe-fcn")
    return None


LAYOUTS = (
    Layout(
        author="wkentaro/pytorch-fcn",
        recognise=_fcn,
        rules=(
            (r"(conv\d_\d\.(?:weight|bias))", r"vgg.\1"),
            (r"(fc[67]\.(?:weight|bias))", r"head.\1"),
            (r"(score_\w+\.(?:weight|bias))", r"\1"),
            (r"(upscore2|upscore_pool4)\.weight", r"\1.weight"),
            (r"upscore(?:16|8)?\.weight", "upscore.weight"),
        ),
    ),
)
