"""The compact presets that ship: small files, cards that say where they come from."""

import pytest

from edgeseg.networks import ZooNetwork, facts_of
from edgeseg.zoo import MODELS
from edgeseg.zoo.shipped import FOLDER, card, shipped_weights

PRESETS = [name for name in MODELS if name.endswith("-compact")]
MEGABYTE = 1e6


@pytest.mark.parametrize("name", PRESETS)
def test_preset_ships_with_small_weights_and_a_card(name: str) -> None:
    weights, held = shipped_weights(name), card(name)

    assert weights is not None
    assert held is not None
    assert weights.stat().st_size <= 6 * MEGABYTE
    assert held["cost"]["parameters"] <= 3e6
    assert held["network"] == name
    assert held["training"]["recipe"] == "compact"
    assert held["training"]["data"] == "camvid"
    assert held["training"]["synthetic_share"] == 0
    assert len(held["labels"]) == len(held["colors"]) == 11


def test_presets_together_are_no_more_than_forty_megabytes() -> None:
    sizes = [path.stat().st_size for path in FOLDER.glob("*-compact.safetensors")]
    assert sum(sizes) <= 40 * MEGABYTE


def test_presets_were_trained_under_one_budget() -> None:
    budgets = {(held["budget"], held["training"]["steps"], held["training"]["seed"])
               for held in map(card, PRESETS) if held}  # fmt: skip
    assert len(budgets) == 1


@pytest.mark.parametrize("name", PRESETS)
def test_what_ships_says_its_classes_and_its_test_score(name: str) -> None:
    held = card(name)
    assert held is not None
    facts = facts_of(ZooNetwork(name=name))

    assert facts.labels[0] == "Sky"
    assert facts.weights == "shipped"
    assert held["test"]["frames"] == 233
    scored = [value for value in held["test"]["iou"].values() if value is not None]
    assert held["test"]["miou"] == pytest.approx(sum(scored) / len(scored), abs=0.02)
