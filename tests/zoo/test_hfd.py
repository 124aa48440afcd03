import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgeseg.zoo.hfd import ClassTable  # noqa: E402

pytestmark = pytest.mark.torch

VOID = 255


@pytest.fixture
def table() -> ClassTable:
    made = ClassTable(3, 2, momentum=0.5)
    made.vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    return made


@pytest.fixture
def features() -> torch.Tensor:
    """One picture of 2x2 pixels with two channels."""
    pixels = [[3.0, 4.0], [1.0, 0.0], [5.0, 2.0], [9.0, 9.0]]
    return torch.tensor(pixels).T.reshape(1, 2, 2, 2)


def test_present_classes_move_to_their_mean_and_get_norm_one(
    table: ClassTable, features: torch.Tensor
) -> None:
    table.update(features, torch.tensor([[[0, 1], [0, VOID]]]))

    # Class 0: 0.5 (1, 0) + 0.5 (4, 3) = (2.5, 1.5); class 1: 0.5 (0, 1) + 0.5 (1, 0).
    wanted = np.array([[2.5, 1.5], [0.5, 0.5]])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    assert table.vectors[:2].numpy() == pytest.approx(wanted, rel=1e-6)
    assert table.vectors[2].tolist() == pytest.approx([0.6, 0.8])


def test_loss_scores_each_feature_by_its_product_with_the_table(
    table: ClassTable, features: torch.Tensor
) -> None:
    loss = table.loss(features, torch.tensor([[[0, 1], [2, VOID]]]))

    pixels = np.array([[3.0, 4.0], [1.0, 0.0], [5.0, 2.0]])
    logits = pixels @ table.vectors.numpy().T
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert float(loss) == pytest.approx(-np.log(np.diag(shares)).mean(), rel=1e-5)


def test_labels_are_brought_to_the_map_of_the_features_by_nearest(
    table: ClassTable, features: torch.Tensor
) -> None:
    small = torch.tensor([[[0, 1], [2, VOID]]])
    large = small.repeat_interleave(8, 1).repeat_interleave(8, 2)
    assert torch.equal(table.loss(features, large), table.loss(features, small))


def test_features_get_a_gradient_and_the_table_gets_none(
    table: ClassTable, features: torch.Tensor
) -> None:
    features.requires_grad_()
    table.loss(features, torch.zeros(1, 2, 2, dtype=torch.int64)).backward()
    table.update(features, torch.zeros(1, 2, 2, dtype=torch.int64))
    assert features.grad is not None
    assert features.grad.abs().sum() > 0
    assert not table.vectors.requires_grad


def test_first_vectors_are_drawn_from_the_seed() -> None:
    first, again, other = (
        ClassTable(11, 64, momentum=0.5, seed=seed).vectors for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float(first.abs().max()) <= np.sqrt(6 / 64)
