from dataclasses import replace

import pytest

from edgeseg.errors import UsageError
from edgeseg.training_plan import PHASES, Training, planned
from edgeseg.types import Size
from edgeseg.zoo.rows import MODELS
from edgeseg.zoo.training_recipes import RECIPES

NETWORK = "deeplabv3plus-mobilenetv2"


def test_what_is_left_open_comes_from_the_recipe() -> None:
    how = Training(network="hdnet-compact", data="camvid", root=None, recipe="compact")
    plan = planned(how, 367)
    assert (plan.steps, plan.steps_per_epoch, plan.synthetic_share) == (1835, 46, 0.0)
    assert [phase.crop for phase in plan.phases] == [Size(240, 320)]

    asked = planned(replace(how, epochs=2, synthetic_share=0.25), 367)
    assert (asked.steps, asked.synthetic_share) == (92, 0.25)


def test_default_recipe_has_three_phases_and_4000_steps() -> None:
    plan = planned(Training(network=NETWORK, data="camvid", root=None), 367)
    assert (plan.steps, plan.synthetic_share, plan.phases) == (4000, 0.125, PHASES)


def test_paper_stands_for_the_recipe_of_the_system() -> None:
    plan = planned(Training(network="unet", data="camvid", root=None, recipe="paper"), 367)
    assert plan.how.recipe == "unet"
    assert plan.recipe is RECIPES["unet"]


def test_the_crop_is_one_that_the_network_takes() -> None:
    how = Training(network="unet-valid", data="camvid", root=None, recipe="compact")
    (phase,) = planned(how, 367).phases
    assert MODELS["unet-valid"].sizes.nearest(phase.crop) == phase.crop


def test_steps_and_epochs_together_are_refused() -> None:
    with pytest.raises(UsageError, match="3 steps and 2 epochs"):
        Training(network=NETWORK, data="camvid", root=None, steps=3, epochs=2)


def test_a_plan_is_written_with_everything_filled_in() -> None:
    how = Training(network="unet-compact", data="camvid", root=None, variant={"width": 0.5})
    document = planned(replace(how, recipe="paper"), 367).document()
    assert document["recipe"] == "unet"
    assert document["variant"] == {"width": 0.5}
    assert document["steps"] == 36700
    assert document["synthetic_share"] == 0
    assert document["phases"][0]["crop"] == [388, 388]
