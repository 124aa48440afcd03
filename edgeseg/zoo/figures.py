"""What is known of each network without building it: size, work, geometry, and public weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "figures.json"
"""Computed from the networks by benchmarks/figures.py; read here without PyTorch."""

WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "torchvision": (
        "fcn-resnet50", "fcn-resnet101", "deeplabv3-resnet50", "deeplabv3-resnet101",
        "deeplabv3-mobilenetv3-large",
    ),
    "wkentaro": ("fcn32s-vgg16", "fcn16s-vgg16", "fcn8s-vgg16", "fcn8s-atonce-vgg16"),
    "kazuto1011": ("deeplabv1-resnet101", "deeplabv2-resnet101", "deeplabv2-msc-resnet101"),
    "vainf": (
        "deeplabv3-resnet50", "deeplabv3-resnet101", "deeplabv3-mobilenetv2",
        "deeplabv3plus-resnet50", "deeplabv3plus-resnet101", "deeplabv3plus-mobilenetv2",
    ),
    "jfzhang95": (
        "deeplabv3plus-resnet101", "deeplabv3plus-mobilenetv2", "deeplabv3plus-xception65",
    ),
    "milesial": ("unet",),
    "say4n": ("segnet-vgg16",),
    "hszhao": ("pspnet-resnet50", "pspnet-resnet101"),
    "encoding": ("hdnet-resnet50", "hdnet-resnet101", "danet-resnet101"),
    "ccnet": ("ccnet-resnet101",),
    "wangleihitcs": ("deeplabv1-largefov-vgg16",),
}  # fmt: skip
"""The networks whose weights load, by the author's row in checkpoints.LAYOUTS."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one network as its row in MODELS has it, with `classes` classes."""

    classes: int
    parameters: int
    macs: int
    """Multiply-accumulates of one picture of `size`; convolutions and matrix products."""
    size: str
    """WIDTHxHEIGHT of the paper's input."""
    output_stride: int
    """Picture pixels per step of the map on which classes are scored."""
    encoder_stride: int
    """Picture pixels per step of the coarsest features."""
    receptive_field_px: int | None
    """Of one score; None: it sees the whole picture."""


def figures_of(name: str) -> Figures | None:
    """The figures of network `name`; None where they have not been computed."""
    document = _document()
    values = document["networks"].get(name)
    return Figures(classes=document["classes"], **values) if values else None


def authors_of(name: str) -> list[str]:
    """Whose public weights load into network `name`."""
    return [author for author, networks in WEIGHTS.items() if name in networks]


@cache
def _document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return loaded
