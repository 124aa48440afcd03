import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeseg import datasets
from edgeseg.datasets import synthetic
from edgeseg.errors import UsageError
from edgeseg.train import Phase, Training, TrainingResult, train
from edgeseg.types import OnProgress, Size
from edgeseg.zoo.rows import MODELS
from edgeseg.zoo.training_recipes import RECIPES
from tests.small import NETWORK, write_pictures

pytestmark = [pytest.mark.torch, pytest.mark.needs("cv2", "safetensors")]

STEPS = 3


class Interrupted(Exception):
    pass


@pytest.fixture(scope="module")
def how(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Training]:
    """Three steps on a few small pictures, evaluated after every step."""
    data = tmp_path_factory.mktemp("data")
    write_pictures(data / "train", range(3))
    write_pictures(data / "val", range(100, 101))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(synthetic.SPLITS, "train", (2, 0))
        for name in RECIPES:
            patch.setitem(RECIPES, name, replace(RECIPES[name], views_per_step=2))
        yield _three_steps(data)


@pytest.fixture(scope="module")
def straight(how: Training, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """What comes of it without an interruption."""
    return train(how, tmp_path_factory.mktemp("runs") / "straight")


def _three_steps(data: Path) -> Training:
    return Training(
        network=NETWORK,
        data="folder",
        root=data,
        steps=STEPS,
        evaluate_every=1,
        synthetic_share=0.5,
        phases=(
            Phase(start=0.0, crop=Size(32, 64), scale=(0.8, 1.2)),
            Phase(start=0.6, crop=Size(64, 64), scale=(0.9, 1.1)),
        ),
    )


def test_three_steps_leave_fp16_weights_and_their_card(straight: TrainingResult) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(straight.weights)
    card = json.loads(straight.weights.with_suffix(".json").read_text())
    assert {str(value.dtype) for value in tensors.values()} == {"float16"}
    assert all(np.isfinite(value).all() for value in tensors.values())
    assert card["labels"] == list(datasets.open_dataset("synthetic:val").labels.names)
    assert card["val"]["miou"] == pytest.approx(straight.val_miou)
    assert card["training"]["steps"] == STEPS
    log = json.loads((straight.weights.parent / "log.json").read_text())
    assert [row["step"] for row in log] == [1, 2, 3]


def test_a_resumed_run_ends_in_the_same_weights_to_the_bit(
    how: Training, straight: TrainingResult, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        train(how, tmp_path / "resumed", on_progress=_stop_in_step(2))
    resumed = train(how, tmp_path / "resumed")

    assert straight.weights.read_bytes() == resumed.weights.read_bytes()
    assert straight.val_miou == resumed.val_miou


def test_another_run_in_the_same_folder_is_refused(how: Training, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(how, tmp_path / "run", on_progress=_stop_in_step(1))
    before = (tmp_path / "run" / "run.json").read_text()

    for other in (replace(how, steps=9), replace(how, seed=1), replace(how, synthetic_share=0.0)):
        with pytest.raises(UsageError, match="holds another training run"):
            train(other, tmp_path / "run")

    assert (tmp_path / "run" / "run.json").read_text() == before


def test_another_recipe_or_variant_in_the_same_folder_is_refused(
    how: Training, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        train(how, tmp_path / "run", on_progress=_stop_in_step(1))
    for other in (replace(how, recipe="compact"), replace(how, variant={"width": 0.5})):
        with pytest.raises(UsageError, match="holds another training run"):
            train(other, tmp_path / "run")


def test_an_unknown_recipe_is_refused_with_the_nearest(how: Training, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no recipe 'compakt'") as refused:
        train(replace(how, recipe="compakt"), tmp_path / "run")
    assert "did you mean 'compact'?" in str(refused.value.fix)


@pytest.mark.parametrize(
    ("network", "variant", "recipe"),
    [
        ("unet-compact", {"width": 0.0625}, "paper"),
        ("segnet-basic", {"width": 0.125}, "segnet"),
        ("attention-to-scale-compact", {"width": 0.0625}, "paper"),
        ("hdnet-compact", {"width": 0.125}, "compact"),
    ],
)
def test_a_small_network_trains_by_its_recipe_and_resumes_to_the_bit(
    network: str, variant: dict[str, float], recipe: str, how: Training, tmp_path: Path
) -> None:
    small = (Phase(start=0.0, crop=Size(64, 64), scale=(0.9, 1.1)),)
    other = replace(how, network=network, variant=variant, recipe=recipe, phases=small)
    straight = train(other, tmp_path / "straight")
    with pytest.raises(Interrupted):
        train(other, tmp_path / "resumed", on_progress=_stop_in_step(2))
    resumed = train(other, tmp_path / "resumed")

    assert straight.weights.read_bytes() == resumed.weights.read_bytes()
    card = json.loads(straight.weights.with_suffix(".json").read_text())
    assert card["variant"] == variant
    assert card["training"]["recipe"] == (MODELS[network].system if recipe == "paper" else recipe)


def test_data_without_masks_is_refused(how: Training, tmp_path: Path) -> None:
    write_pictures(tmp_path / "plain", range(1), masks=False)

    with pytest.raises(UsageError, match="has no masks"):
        train(replace(how, root=tmp_path / "plain"), tmp_path / "run")

    assert not (tmp_path / "run").exists()


def _stop_in_step(number: int) -> OnProgress:
    def stop(step: str, done: int, total: int | None) -> None:
        del step, total
        if done == number:
            raise Interrupted

    return stop
