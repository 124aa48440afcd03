"""The table of the networks, the sizes they take, and the usual classes."""

from dataclasses import replace

import pytest

from edgeseg.errors import UsageError
from edgeseg.types import Size
from edgeseg.zoo import MODELS, check_size
from edgeseg.zoo.classes import CITYSCAPES, VOC, usual_classes
from edgeseg.zoo.pixels import PIXELS
from edgeseg.zoo.rows import SizeRule
from edgeseg.zoo.training_recipes import RECIPES

SYSTEMS = (
    "fcn", "segnet", "unet", "deeplabv1", "deeplabv2", "deeplabv3", "deeplabv3plus", "dilation",
    "attention-to-scale", "hdnet",
)  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_row_names_a_recipe_and_a_pixel_convention_that_exist(name: str) -> None:
    assert MODELS[name].system in RECIPES
    assert MODELS[name].pixels in PIXELS


@pytest.mark.parametrize("name", MODELS)
def test_network_takes_the_input_of_its_paper(name: str) -> None:
    check_size(name, MODELS[name], MODELS[name].size)


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_has_a_compact_preset(system: str) -> None:
    assert MODELS[f"{system}-compact"].system == system


@pytest.mark.parametrize(
    ("rule", "size", "nearest"),
    [
        (SizeRule(), Size(33, 47), Size(33, 47)),
        (SizeRule(), Size(16, 47), Size(32, 47)),
        (SizeRule(multiple=16), Size(100, 120), Size(96, 128)),
        (SizeRule(multiple=16, remainder=12, minimum=188), Size(100, 571), Size(188, 572)),
        (SizeRule(multiple=8, remainder=1), Size(473, 480), Size(473, 481)),
    ],
)
def test_nearest_size_is_one_that_the_rule_allows(
    rule: SizeRule, size: Size, nearest: Size
) -> None:
    assert rule.nearest(size) == nearest
    assert rule.nearest(nearest) == nearest


def test_a_size_that_a_network_cannot_take_is_refused_with_the_nearest() -> None:
    row = replace(MODELS["fcn8s-vgg16"], sizes=SizeRule(multiple=8, remainder=1))

    with pytest.raises(UsageError, match=r"cannot take pictures of 480x360") as refused:
        check_size("fcn8s-vgg16", row, Size(360, 480))

    assert "481x361" in str(refused.value)


def test_voc_palette_has_the_colours_that_every_reader_of_voc_knows() -> None:
    known = {"background": (0, 0, 0), "aeroplane": (128, 0, 0), "person": (192, 128, 128),
             "tvmonitor": (0, 64, 128)}  # fmt: skip
    assert {name: VOC.colors[VOC.names.index(name)] for name in known} == known
    assert len(set(VOC.colors)) == len(VOC.names) == 21


def test_classes_are_those_of_the_data_set_with_that_many() -> None:
    assert usual_classes(21) is VOC
    assert usual_classes(19) is CITYSCAPES
    assert len(CITYSCAPES.names) == len(CITYSCAPES.colors) == 19
    assert usual_classes(3).names == ("0", "1", "2")
