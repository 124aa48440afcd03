"""What `edgeseg models` lists: complete, up to date, and what the references say."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from benchmarks.figures import CLASSES, figures, macs_of, parameters_of  # noqa: E402
from edgeseg.models import WHOLE, models  # noqa: E402
from edgeseg.tables import pick  # noqa: E402
from edgeseg.types import Size  # noqa: E402
from edgeseg.zoo import MODELS, build_network  # noqa: E402
from edgeseg.zoo.checkpoints import LAYOUTS  # noqa: E402
from edgeseg.zoo.figures import WEIGHTS, authors_of, figures_of  # noqa: E402

pytestmark = pytest.mark.torch

Variant = dict[str, Any]

TORCHVISION = {"aux": True, "multi_grid": (1, 1, 1), "first_block_dilates": False,
               "output_stride": 8, "head_3x3": True}  # fmt: skip
PARAMETERS: list[tuple[str, Variant, int, int]] = [
    ("fcn32s-vgg16", {}, 21, 136_152_917),
    ("fcn8s-vgg16", {}, 21, 134_489_759),
    ("fcn8s-atonce-vgg16", {}, 21, 134_489_759),
    ("segnet-vgg16", {}, 11, 29_449_355),
    ("unet", {}, 2, 31_030_658 + 2 * 64 * 9),  # the paper's picture is grey
    ("unet-valid", {}, 2, 31_030_658 + 2 * 64 * 9),
    ("deeplabv1-largefov-vgg16", {}, 21, 20_505_429),
    ("deeplabv1-resnet101", {}, 91, 42_686_619),
    ("deeplabv2-resnet101", {}, 21, 44_048_532),
    ("deeplabv2-msc-resnet101", {}, 21, 44_048_532),
    ("deeplabv3-resnet50", TORCHVISION, 21, 42_004_074),
    ("deeplabv3-resnet101", TORCHVISION, 21, 60_996_202),
    ("deeplabv3-resnet101", {"head_3x3": True, "multi_grid": (1, 1, 1)}, 21, 58_630_997),
    ("deeplabv3-mobilenetv3-large", {"aux": True, "head_3x3": True}, 21, 11_029_328),
    ("deeplabv3plus-resnet101", {}, 21, 59_344_309),
    ("deeplabv3plus-resnet101", {"decoder_convs": 1}, 21, 58_753_973),
    ("deeplabv3plus-xception65", {"low_level": "block1"}, 21, 54_705_317),
    ("deeplabv3plus-mobilenetv2", {"separable": False}, 21, 5_816_053),
    ("deeplabv3plus-mobilenetv2", {"separable": False, "decoder_convs": 1}, 21, 5_225_717),
    ("fcn-resnet50", {"aux": True}, 21, 35_322_218),
    ("pspnet-resnet50", {"aux": True}, 21, 49_081_578),
    # Their files hold ImageNet's classifier too, with 1000 classes on 2048 features.
    ("hdnet-resnet101", {}, 59, 68_504_933 - 1000 * 2049),
    ("danet-resnet101", {"aux": True}, 59, 68_565_339 - 1000 * 2049),
    ("ccnet-resnet101", {"aux": True}, 19, 71_287_911),
]
"""Counted in the authors' code: network, variant, classes, parameters."""

ROUNDED: list[tuple[str, Variant, int, float]] = [
    ("fcn16s-vgg16", {}, 21, 134.82),
    ("segnet-basic", {}, 11, 1.417),
    ("deeplabv1-4x4-vgg16", {}, 21, 65.1),
    ("deeplabv1-4x4-vgg16", {"kernel": 7}, 21, 134.3),
    ("deeplabv2-vgg16", {}, 21, 37.88),
    ("deeplabv3-resnet101", {}, 21, 58.04),
    ("deeplabv3plus-resnet50", {"decoder_convs": 1}, 21, 39.76),
    ("dilation-frontend", {}, 21, 134.35),
    ("dilation8", {}, 11, 134.31),
    ("dilation8", {"context": "large"}, 21, 141.15),
    ("attention-to-scale-largefov", {}, 21, 34.66),
    ("attention-to-scale-largefov", {"scales": (1.0, 0.5)}, 21, 29.94),
    ("pspnet-resnet101", {"aux": True}, 21, 68.1),
]
"""In millions."""

GMACS: list[tuple[str, Variant, int, tuple[int, int], float]] = [
    ("fcn32s-vgg16", {}, 21, (500, 500), 181.366),
    ("fcn32s-vgg16", {}, 21, (360, 480), 139.676),
    ("fcn8s-vgg16", {}, 21, (500, 500), 181.529),
    ("fcn8s-vgg16", {}, 21, (360, 480), 139.812),
    ("segnet-vgg16", {}, 11, (360, 480), 106.7),
    ("unet", {}, 11, (368, 480), 129.9),
    ("unet", {}, 11, (512, 512), 192.8),
    ("unet-valid", {}, 2, (388, 388), 150.4),
    ("deeplabv1-largefov-vgg16", {}, 21, (306, 306), 46.075),
    ("deeplabv1-largefov-vgg16", {}, 21, (321, 321), 50.928),
    ("deeplabv1-largefov-vgg16", {}, 21, (513, 513), 128.585),
    ("deeplabv1-4x4-vgg16", {}, 21, (306, 306), 114.0),
    ("deeplabv1-4x4-vgg16", {"kernel": 7}, 21, (306, 306), 219.2),
    ("deeplabv1-resnet101", {}, 91, (513, 513), 183.132),
    ("deeplabv2-vgg16", {}, 21, (321, 321), 80.1),
    ("deeplabv2-resnet101", {}, 21, (321, 321), 75.1),
    ("deeplabv2-resnet101", {}, 21, (513, 513), 188.9),
    ("deeplabv2-msc-resnet101", {}, 21, (321, 321), 137.779),
    ("deeplabv2-msc-resnet101", {}, 21, (513, 513), 344.876),
    ("deeplabv3-resnet50", TORCHVISION, 21, (520, 520), 168.731),
    ("deeplabv3-resnet101", TORCHVISION, 21, (520, 520), 248.752),
    ("deeplabv3-resnet101", {"stride_on_1x1": True}, 21, (513, 513), 70.2),
    ("deeplabv3-resnet101", {"head_3x3": True, "multi_grid": (1, 1, 1)}, 21, (513, 513), 71.704),
    ("deeplabv3-mobilenetv3-large", {"head_3x3": True}, 21, (520, 520), 10.436),
    ("deeplabv3plus-resnet101", {}, 21, (513, 513), 92.82),
    ("deeplabv3plus-resnet101", {"decoder_convs": 1}, 21, (513, 513), 83.005),
    ("deeplabv3plus-resnet50", {"decoder_convs": 1}, 21, (513, 513), 62.4),
    ("deeplabv3plus-xception65", {"low_level": "block1"}, 21, (513, 513), 86.577),
    ("deeplabv3plus-mobilenetv2", {"separable": False}, 21, (513, 513), 27.068),
    ("fcn-resnet50", {}, 21, (520, 520), 142.726),
    ("dilation-frontend", {}, 21, (528, 528), 791.6),
    ("dilation8", {}, 11, (528, 728), 1053),
    ("dilation8", {"rates": (1, 1, 2, 4, 8, 16, 32, 64, 1)}, 19, (1024, 1024), 2647),
    ("pspnet-resnet50", {}, 21, (473, 473), 161.637),
    ("pspnet-resnet50", {}, 21, (713, 713), 363.8),
    ("pspnet-resnet101", {}, 21, (473, 473), 229.8),
    # The author's forward runs the auxiliary head as well: a 3x3 from 1024 to 512 on 97x97.
    ("ccnet-resnet101", {}, 19, (769, 769), 697.893 - 1024 * 512 * 9 * 97 * 97 / 1e9),
]
"""Network, variant, classes, (height, width), multiply-accumulates in thousand millions."""

MAPS: list[tuple[str, Variant, tuple[int, int], tuple[int, int]]] = [
    ("fcn32s-vgg16", {}, (360, 480), (360, 480)),
    ("fcn8s-vgg16", {}, (500, 500), (500, 500)),
    ("segnet-vgg16", {}, (360, 480), (360, 480)),
    ("segnet-vgg16", {"ceil_mode": False}, (224, 224), (224, 224)),
    ("unet", {}, (360, 480), (360, 480)),
    ("unet-valid", {}, (388, 388), (388, 388)),
    ("deeplabv1-largefov-vgg16", {"align_corners": False}, (306, 306), (39, 39)),
    ("deeplabv1-largefov-vgg16", {"align_corners": False}, (321, 321), (41, 41)),
    ("deeplabv1-largefov-vgg16", {"align_corners": False}, (513, 513), (65, 65)),
    ("deeplabv1-largefov-vgg16", {}, (321, 321), (321, 321)),
    ("deeplabv1-resnet101", {}, (513, 513), (65, 65)),
    ("deeplabv2-msc-resnet101", {}, (321, 321), (41, 41)),
    ("deeplabv3-resnet101", {}, (513, 513), (33, 33)),
    ("deeplabv3plus-resnet101", {}, (513, 513), (129, 129)),
    ("dilation-frontend", {}, (528, 528), (66, 66)),
    ("fcn-resnet50", {}, (520, 520), (65, 65)),
    ("pspnet-resnet50", {}, (473, 473), (473, 473)),
    ("ccnet-resnet101", {"align_corners": False}, (769, 769), (97, 97)),
]
"""Network, variant, (height, width) of the picture and of the logits."""


def on_meta(name: str, variant: Variant, classes: int) -> Any:
    with torch.device("meta"):
        return build_network(name, classes=classes, **variant).eval()


@pytest.mark.parametrize(("name", "variant", "classes", "parameters"), PARAMETERS)
def test_parameters_are_exactly_those_of_the_reference(
    name: str, variant: Variant, classes: int, parameters: int
) -> None:
    assert parameters_of(on_meta(name, variant, classes)) == parameters


@pytest.mark.parametrize(("name", "variant", "classes", "millions"), ROUNDED)
def test_parameters_are_those_of_the_reference(
    name: str, variant: Variant, classes: int, millions: float
) -> None:
    found = parameters_of(on_meta(name, variant, classes)) / 1e6

    assert found == pytest.approx(millions, rel=1e-3)


@pytest.mark.parametrize(("name", "variant", "classes", "size", "gmac"), GMACS)
def test_macs_are_those_of_the_reference(
    name: str, variant: Variant, classes: int, size: tuple[int, int], gmac: float
) -> None:
    found = macs_of(on_meta(name, variant, classes), Size(*size)) / 1e9

    assert found == pytest.approx(gmac, rel=1e-2)


@pytest.mark.parametrize(("name", "variant", "size", "logits"), MAPS)
def test_logits_have_the_size_of_the_reference(
    name: str, variant: Variant, size: tuple[int, int], logits: tuple[int, int]
) -> None:
    network = on_meta(name, variant, 21)

    with torch.no_grad(), torch.device("meta"):
        assert tuple(network(torch.zeros(1, 3, *size)).shape) == (1, 21, *logits)


@pytest.mark.parametrize("name", MODELS)
def test_file_is_up_to_date(name: str) -> None:
    known = figures_of(name)

    assert known is not None, "python -m benchmarks.figures"
    assert known.classes == CLASSES
    assert {"classes": CLASSES, **figures(name)} == vars(known), "python -m benchmarks.figures"


def test_strides_are_those_of_the_papers() -> None:
    strides = {name: (m.output_stride, m.encoder_stride) for name, m in by_name().items()}

    assert strides["fcn32s-vgg16"] == (32, 32)
    assert strides["fcn16s-vgg16"] == (16, 32)
    assert strides["fcn8s-vgg16"] == (8, 32)
    assert strides["segnet-vgg16"] == (1, 32)
    assert strides["unet"] == strides["unet-valid"] == (1, 16)
    assert strides["deeplabv1-largefov-vgg16"] == strides["deeplabv2-resnet101"] == (8, 8)
    assert strides["deeplabv3-resnet101"] == (16, 16)
    assert strides["deeplabv3plus-resnet101"] == (4, 16)
    assert (
        strides["dilation8"] == strides["hdnet-resnet101"] == strides["pspnet-resnet50"] == (8, 8)
    )


def test_every_network_is_listed_in_full() -> None:
    listed = models()

    assert [model.name for model in listed] == list(MODELS)
    assert all(value is not None for model in listed for value in vars(model).values())
    assert {type(m.receptive_field) for m in listed} == {int, str}
    assert by_name()["pspnet-resnet50"].receptive_field == WHOLE


def test_authors_are_those_whose_layouts_are_known() -> None:
    assert set(WEIGHTS) == set(LAYOUTS)
    assert {name for names in WEIGHTS.values() for name in names} <= set(MODELS)
    assert authors_of("deeplabv3plus-resnet101") == ["vainf", "jfzhang95"]


def test_every_known_file_is_of_a_network_that_lists_its_author(shared: Path) -> None:
    shown = set()
    for path in sorted((shared / "checkpoints").glob("*.json")):
        shapes = _shapes(json.loads(path.read_text()))
        for author, target in LAYOUTS.items():
            for layout in pick({author: target}, author, kind="layout"):
                if found := layout.recognise(shapes):
                    assert author in authors_of(found.network)
                    shown.add(author)
    assert shown >= {"torchvision", "wkentaro", "vainf", "jfzhang95", "hszhao"}


def test_models_are_listed_without_torch(root: Path) -> None:
    code = "import sys; from edgeseg.models import models; models(); print('torch' in sys.modules)"

    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == "False"


def by_name() -> dict[str, Any]:
    return {model.name: model for model in models()}


def _shapes(document: Any) -> dict[str, tuple[int, ...]]:
    held = document.get("keys", document) if isinstance(document, dict) else document
    return {
        key.removeprefix("module."): tuple(shape)
        for key, shape in held.items()
        if not key.endswith("num_batches_tracked")
    }
