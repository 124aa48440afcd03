import numpy as np
import pytest

from edgeseg.zoo import MODELS
from edgeseg.zoo.training_recipes import COMPACT, RECIPES, TrainingRecipe


def _recipe(**values: object) -> TrainingRecipe:
    return TrainingRecipe(
        source="", learning_rate=0.1, views_per_step=8, crop=COMPACT.crop, **values
    )  # type: ignore[arg-type]


def test_every_network_has_the_recipe_of_its_system() -> None:
    assert {row.system for row in MODELS.values()} <= set(RECIPES)


def test_poly_falls_to_nothing_by_its_power() -> None:
    recipe = _recipe(schedule="poly", power=0.9)
    factors = [recipe.factor(step, 1000) for step in (0, 250, 500, 1000)]
    assert factors == pytest.approx([1.0, 0.75**0.9, 0.5**0.9, 0.0])


def test_step_divides_by_ten_at_every_2000th() -> None:
    recipe = RECIPES["deeplabv1"]
    factors = [recipe.factor(step, 6000) for step in (0, 1999, 2000, 3999, 4000, 5999)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_fixed_stays() -> None:
    assert {RECIPES["segnet"].factor(step, 100) for step in range(100)} == {1.0}


def test_warmup_rises_in_a_line_and_then_falls_as_poly() -> None:
    recipe = _recipe(schedule="warmup-poly", power=1.0, warmup_steps=10)
    factors = [recipe.factor(step, 100) for step in (0, 4, 9, 50, 99)]
    assert factors == pytest.approx([0.1, 0.5 * 0.96, 0.91, 0.5, 0.01])


def test_compact_is_forty_epochs_of_camvid_without_synthetic_views() -> None:
    assert COMPACT.steps_for(367) == int(np.ceil(40 * 367 / 8)) == 1835
    assert COMPACT.steps_for(367, epochs=2) == 92
    assert COMPACT.synthetic_share == 0


def test_papers_numbers_are_those_of_the_papers() -> None:
    rates = {name: recipe.learning_rate for name, recipe in RECIPES.items()}
    assert rates["deeplabv2"] == 2.5e-4
    assert rates["deeplabv3"] == rates["deeplabv3plus"] == 7e-3
    assert RECIPES["deeplabv1"].head_multiplier == RECIPES["deeplabv2"].head_multiplier == 10
    assert RECIPES["unet"].momentum == 0.99
    assert RECIPES["segnet"].loss == "median-frequency"
    assert RECIPES["attention-to-scale"].views_per_step == 30
    assert RECIPES["hdnet"].hfd_weight == 0.1
    assert all(recipe.source for recipe in RECIPES.values())
    assert all(recipe.steps or recipe.epochs for recipe in RECIPES.values())
