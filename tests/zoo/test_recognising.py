"""Whose weights a file holds: one author at most, and the closest where nobody's."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from edgeseg.tables import pick  # noqa: E402
from edgeseg.zoo import MODELS, build_network  # noqa: E402
from edgeseg.zoo.checkpoints import LAYOUTS  # noqa: E402
from edgeseg.zoo.checkpoints.layout import Found, Layout, Shapes  # noqa: E402
from edgeseg.zoo.checkpoints.recognising import (  # noqa: E402
    classifier_in,
    closest,
    recognised,
)
from edgeseg.zoo.pixels import PIXELS  # noqa: E402

pytestmark = pytest.mark.torch

HOLDS = {
    "Anstarc_HDNet-danet_resnet101-pcontext59": ("encoding", "danet-resnet101", 59),
    "Anstarc_HDNet-hdnet_resnet101-pcontext59": ("encoding", "hdnet-resnet101", 59),
    "VainF_DeepLabV3Plus-Pytorch-deeplabv3_resnet101-voc21": ("vainf", "deeplabv3-resnet101", 21),
    "VainF_DeepLabV3Plus-Pytorch-deeplabv3plus_mobilenet-voc21": (
        "vainf", "deeplabv3plus-mobilenetv2", 21,
    ),
    "VainF_DeepLabV3Plus-Pytorch-deeplabv3plus_resnet101-voc21": (
        "vainf", "deeplabv3plus-resnet101", 21,
    ),
    "hszhao_semseg-pspnet50-voc2012": ("hszhao", "pspnet-resnet50", 21),
    "jfzhang95_pytorch-deeplab-xception-deeplabv3plus_mobilenet-voc21": (
        "jfzhang95", "deeplabv3plus-mobilenetv2", 21,
    ),
    "jfzhang95_pytorch-deeplab-xception-deeplabv3plus_resnet-voc21": (
        "jfzhang95", "deeplabv3plus-resnet101", 21,
    ),
    "jfzhang95_pytorch-deeplab-xception-deeplabv3plus_xception-voc21": (
        "jfzhang95", "deeplabv3plus-xception65", 21,
    ),
    "kazuto1011_deeplab-pytorch-deeplabv1_resnet101-coco91": (
        "kazuto1011", "deeplabv1-resnet101", 91,
    ),
    "kazuto1011_deeplab-pytorch-deeplabv2_resnet101_msc-voc21": (
        "kazuto1011", "deeplabv2-msc-resnet101", 21,
    ),
    "milesial_Pytorch-UNet-unet_bilinear-carvana2": ("milesial", "unet", 2),
    "milesial_Pytorch-UNet-unet_convtranspose-carvana2": ("milesial", "unet", 2),
    "say4n_pytorch-segnet-segnet-voc21": ("say4n", "segnet-vgg16", 21),
    "speedinghzl_CCNet-ccnet_resnet101-cityscapes19": ("ccnet", "ccnet-resnet101", 19),
    "torchvision-deeplabv3_mobilenet_v3_large-coco_voc21": (
        "torchvision", "deeplabv3-mobilenetv3-large", 21,
    ),
    "torchvision-deeplabv3_resnet101-coco_voc21": ("torchvision", "deeplabv3-resnet101", 21),
    "torchvision-deeplabv3_resnet50-coco_voc21": ("torchvision", "deeplabv3-resnet50", 21),
    "torchvision-fcn_resnet50-coco_voc21": ("torchvision", "fcn-resnet50", 21),
    "wangleihitcs_DeepLab-V1-PyTorch-vgg16_largefov-voc21": (
        "wangleihitcs", "deeplabv1-largefov-vgg16", 21,
    ),
    "wkentaro_pytorch-fcn-fcn32s": ("wkentaro", "fcn32s-vgg16", 21),
    "wkentaro_pytorch-fcn-fcn8s": ("wkentaro", "fcn8s-vgg16", 21),
}  # fmt: skip
"""Whose row in LAYOUTS, which network and how many classes each public file holds."""


def _toy(shapes: Shapes) -> Found | None:
    last = shapes.get("head.weight")
    return Found("unet", last[0], {}, "unit") if last else None


TOY = Layout(
    author="someone/toy",
    recognise=_toy,
    rules=((r"body\.(.+)", r"encoder.\1"), (r"head\.(.+)", r"classifier.\1")),
    junk=(r"extra\..+",),
)
OTHER = Layout(author="other/toy", recognise=lambda _: None, rules=((r"body\.a", "a"),))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """A table of two authors, of whom the second is TOY's."""
    module = SimpleNamespace(LAYOUTS=(OTHER, TOY), NONE=())
    monkeypatch.setitem(sys.modules, "toys", module)
    return {"nobody": "toys:NONE", "toys": "toys:LAYOUTS"}


def test_layout_that_knows_the_names_says_what_they_hold(table: Mapping[str, str]) -> None:
    found = recognised({"head.weight": (5, 8, 1, 1), "body.a": (8,)}, table=table)

    assert found is not None
    assert found.layout is TOY
    assert found.found.classes == 5


def test_tensors_are_recognised_as_their_shapes_are(table: Mapping[str, str]) -> None:
    found = recognised({"head.weight": torch.empty(7, 8, 1, 1, device="meta")}, table=table)

    assert found is not None
    assert found.found.classes == 7


def test_names_that_no_layout_knows_are_not_recognised(table: Mapping[str, str]) -> None:
    assert recognised({"tail.weight": (5,)}, table=table) is None


def test_tensor_with_too_few_axes_is_no_reason_to_stop(table: Mapping[str, str]) -> None:
    everything = {"head.conv8.1.weight": (), "cls.4.weight": (), "classifier.4.weight": ()}

    assert recognised({"head.weight": ()}, table=table) is None
    assert recognised(everything) is None


def test_closest_layout_is_told_with_the_keys_that_differ(table: Mapping[str, str]) -> None:
    shapes = {"body.a": (1,), "body.b": (1,), "extra.x": (1,), "foot.weight": (1,)}
    ours = {"unet": {"encoder.a": (1,), "encoder.c": (1,), "classifier.weight": (1,)}}

    near = closest(shapes, ours, table=table)

    assert near is not None
    assert near.whose == "the layout of someone/toy"
    assert near.matched == 3
    assert near.unknown == ("foot.weight",)
    assert near.missing == ("classifier.weight", "encoder.c")


def test_own_layout_is_closest_where_it_has_most_names(table: Mapping[str, str]) -> None:
    own = {"unet": {name: (1,) for name in ("one.a", "two.b", "three.c", "four.d", "five.e")}}

    near = closest({"one.a": (1,), "two.b": (1,), "sixth.f": (1,)}, own, table=table)

    assert near is not None
    assert str(near) == (
        "closest is edgeseg's own layout of unet, which has 2 of its names; unknown: sixth.f; "
        "missing: three.c, four.d, five.e"
    )


def test_nothing_is_close_to_names_that_are_mostly_unknown(table: Mapping[str, str]) -> None:
    assert closest({"body.a": (1,), "x": (1,), "y": (1,)}, {}, table=table) is None


def test_networks_that_name_whole_pictures_are_told_by_their_keys() -> None:
    resnet = ("conv1.weight", "bn1.running_mean", "layer4.2.conv3.weight", "fc.bias")

    assert classifier_in(dict.fromkeys(resnet, (1,))) == "a ResNet"
    assert classifier_in({"features.0.weight": (1,), "classifier.6.bias": (1,)}) is not None
    assert classifier_in(dict.fromkeys((*resnet, "head.weight"), (1,))) is None


@pytest.mark.parametrize("name", HOLDS)
def test_one_author_claims_each_public_file(shared: Path, name: str) -> None:
    author, network, classes = HOLDS[name]

    ((claiming, found),) = _claims(_public_shapes(shared, name))

    assert claiming == author
    assert (found.network, found.classes) == (network, classes)
    assert found.network in MODELS
    assert found.pixels in PIXELS


def test_files_of_caffe_and_of_other_networks_are_claimed_by_nobody(shared: Path) -> None:
    stored = {path.stem for path in (shared / "checkpoints").glob("*.json")}
    claimed = {name for name in stored if _claims(_public_shapes(shared, name))}

    assert claimed <= HOLDS.keys()
    assert stored >= HOLDS.keys()


@pytest.mark.parametrize("name", MODELS)
def test_our_own_layout_is_claimed_by_nobody(name: str) -> None:
    with torch.device("meta"):
        network = build_network(name, classes=21)

    assert recognised(network.state_dict()) is None


def _claims(shapes: Shapes) -> list[tuple[str, Found]]:
    return [
        (author, found)
        for author in LAYOUTS
        for layout in pick(LAYOUTS, author, kind="layout of weights")
        if (found := layout.recognise(shapes))
    ]


def _public_shapes(shared: Path, name: str) -> dict[str, Any]:
    """As they are after reading: without `module.` and the counters of batch normalisation."""
    stored = json.loads((shared / "checkpoints" / f"{name}.json").read_text(encoding="utf-8"))
    return {
        key.removeprefix("module."): tuple(shape)
        for key, shape in stored.items()
        if not key.endswith("num_batches_tracked")
    }
