from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from edgeseg.types import Size  # noqa: E402
from edgeseg.zoo.rows import SizeRule  # noqa: E402
from edgeseg.zoo.training import Trainer  # noqa: E402
from edgeseg.zoo.training_recipes import TrainingRecipe  # noqa: E402

pytestmark = pytest.mark.torch

CLASSES = 3
PLAIN = TrainingRecipe(
    source="these tests",
    learning_rate=0.1,
    weight_decay=0.0,
    schedule="fixed",
    views_per_step=2,
    crop=Size(16, 16),
    hfd_start_epoch=0.0,
)


class Net(nn.Module):
    """Scores at every second pixel, and whatever else it is told to give in training."""

    def __init__(self, **extras: Tensor) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.scorer = nn.Conv2d(4, CLASSES, 1)
        self.extras = extras

    def outputs(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"logits": self.scorer(self.backbone(pixels)), **self.extras}

    def forward(self, pixels: Tensor) -> Tensor:
        return self.outputs(pixels)["logits"]


@pytest.fixture
def views() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    made = np.random.default_rng(1).integers(0, CLASSES, (2, 16, 16), dtype=np.uint8)
    made[0, :4] = 255
    return made


def test_without_extras_the_loss_is_the_cross_entropy(
    views: np.ndarray, labels: np.ndarray
) -> None:
    loss = _first_loss(PLAIN, views, labels)
    with torch.random.fork_rng(), torch.no_grad():
        logits = _net().train()(_normalised(views))
    large = nn.functional.interpolate(logits, (16, 16), mode="bilinear")
    wanted = nn.functional.cross_entropy(large, torch.from_numpy(labels).long(), ignore_index=255)
    assert loss == pytest.approx(float(wanted), rel=0.02)  # bfloat16 against float32


@pytest.mark.parametrize(
    ("names", "share"),
    [
        (("scale0",), 1.0),
        (("scale0", "scale1"), 2.0),
        (("spatial", "channel"), 2.0),
        (("aux",), 0.4),
    ],
)
def test_extra_supervision_adds_its_cross_entropies(
    names: tuple[str, ...], share: float, views: np.ndarray, labels: np.ndarray
) -> None:
    # Scores that know nothing cost log(classes), at whatever size they come.
    extras = {name: torch.zeros(2, CLASSES, 4 + n, 4 + n) for n, name in enumerate(names)}
    added = _first_loss(PLAIN, views, labels, **extras) - _first_loss(PLAIN, views, labels)
    assert added == pytest.approx(share * np.log(CLASSES), rel=1e-3)


def test_features_add_a_tenth_of_their_loss_once_it_has_begun(
    views: np.ndarray, labels: np.ndarray
) -> None:
    features = torch.zeros(2, 5, 4, 4)
    plain = _first_loss(PLAIN, views, labels)
    added = _first_loss(PLAIN, views, labels, features=features) - plain
    assert added == pytest.approx(0.1 * np.log(CLASSES), rel=1e-3)
    later = replace(PLAIN, hfd_start_epoch=1.0)
    assert _first_loss(later, views, labels, features=features) == pytest.approx(plain)


def test_subsampled_labels_are_those_at_the_scores(views: np.ndarray, labels: np.ndarray) -> None:
    recipe = replace(PLAIN, labels="subsampled")
    elsewhere = labels.copy()
    elsewhere[:, ::2] = elsewhere[:, :, ::2] = 0  # 16 px to 8 scores: the odd pixels are read
    assert _first_loss(recipe, views, labels) == _first_loss(recipe, views, elsewhere)


def test_pixels_that_weigh_nothing_cost_nothing(views: np.ndarray, labels: np.ndarray) -> None:
    trainer = Trainer(_net(), PLAIN, classes=CLASSES)
    assert trainer.step(views, labels, np.zeros(labels.shape, np.float32), total_steps=9) == 0


def test_scorers_learn_ten_times_as_fast() -> None:
    recipe = replace(PLAIN, head_multiplier=10.0)
    net = _net()
    groups = Trainer(net, recipe, classes=CLASSES).optimizer.param_groups
    rates = {id(value): group["lr"] for group in groups for value in group["params"]}
    assert {rates[id(value)] for value in net.scorer.parameters()} == {1.0}
    assert {rates[id(value)] for value in net.backbone.parameters()} == {0.1}


def test_all_but_the_backbone_learns_ten_times_as_fast() -> None:
    recipe = replace(PLAIN, head_multiplier=10.0, head="all but backbone")
    net = _net()
    net.context = nn.Conv2d(4, 4, 1)
    groups = Trainer(net, recipe, classes=CLASSES).optimizer.param_groups
    rates = {id(value): group["lr"] for group in groups for value in group["params"]}
    assert rates[id(net.context.weight)] == 1.0
    assert rates[id(net.backbone[0].weight)] == 0.1


@pytest.mark.parametrize("optimiser", ["sgd", "nesterov", "adamw"])
def test_a_step_makes_the_loss_smaller(
    optimiser: str, views: np.ndarray, labels: np.ndarray
) -> None:
    rate = 0.01 if optimiser == "adamw" else 0.1
    recipe = replace(PLAIN, optimiser=optimiser, learning_rate=rate)
    trainer = Trainer(_net(), recipe, classes=CLASSES)
    losses = [trainer.step(views, labels, total_steps=9) for _ in range(8)]
    assert losses[-1] < losses[0]


def test_frozen_normalisation_keeps_statistics_scale_and_shift(
    views: np.ndarray, labels: np.ndarray
) -> None:
    net = _net()
    before = {name: value.clone() for name, value in net.backbone[1].state_dict().items()}
    Trainer(net, replace(PLAIN, frozen_bn=True), classes=CLASSES).step(views, labels, total_steps=9)
    after = net.backbone[1].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_without_an_average_the_weights_themselves_are_kept(
    views: np.ndarray, labels: np.ndarray
) -> None:
    trainer = Trainer(_net(), PLAIN, classes=CLASSES)
    trainer.step(views, labels, total_steps=9)
    live, kept = trainer.network.state_dict(), trainer.average.state_dict()
    assert all(torch.equal(kept[name], live[name]) for name in kept if "num" not in name)


def test_a_network_sees_bytes_by_its_own_convention() -> None:
    seen: list[Tensor] = []

    class Watch(nn.Conv2d):
        def forward(self, pixels: Tensor) -> Tensor:
            seen.append(pixels)
            return super().forward(pixels)

    trainer = Trainer(Watch(3, CLASSES, 1), PLAIN, classes=CLASSES, pixels="caffe-fcn")
    trainer.labels_of(np.full((8, 8, 3), (10, 20, 30), np.uint8))
    blue, green, red = seen[0][0, :, 0, 0].tolist()
    assert (blue, green, red) == pytest.approx((30 - 104.00699, 20 - 116.66877, 10 - 122.67892))


def test_a_picture_of_a_size_the_network_cannot_take_is_brought_to_one() -> None:
    sizes: list[Size] = []

    class Watch(nn.Conv2d):
        def forward(self, pixels: Tensor) -> Tensor:
            sizes.append(Size(*pixels.shape[-2:]))
            return super().forward(pixels)

    rule = SizeRule(multiple=16, remainder=4)
    trainer = Trainer(Watch(3, CLASSES, 1), PLAIN, classes=CLASSES, sizes=rule)
    labels = trainer.labels_of(np.zeros((50, 60, 3), np.uint8))
    assert sizes == [Size(52, 68)]
    assert labels.shape == (50, 60)


def test_the_table_of_features_is_part_of_the_state(views: np.ndarray, labels: np.ndarray) -> None:
    features = torch.randn(2, 5, 4, 4)
    trainer = Trainer(_net(features=features), PLAIN, classes=CLASSES)
    trainer.step(views, labels, total_steps=9)
    other = Trainer(_net(features=features), PLAIN, classes=CLASSES)
    other.restore(trainer.state())
    assert trainer.table is not None
    assert other.table is not None
    assert torch.equal(other.table.vectors, trainer.table.vectors)
    assert float(other.table.vectors.norm(dim=1).max()) == pytest.approx(1)


def _net(**extras: Tensor) -> Net:
    torch.manual_seed(0)
    return Net(**extras)


def _first_loss(
    recipe: TrainingRecipe, views: np.ndarray, labels: np.ndarray, **extras: Tensor
) -> float:
    trainer = Trainer(_net(**extras), recipe, classes=CLASSES)
    return trainer.step(views, labels, total_steps=9)


def _normalised(views: np.ndarray) -> Tensor:
    pixels = (views / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2)).float()
