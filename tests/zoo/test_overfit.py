import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")

from edgeseg.zoo import MODELS
from tests.zoo.overfit import overfit_accuracy

pytestmark = pytest.mark.torch

COMPACT = [name for name in MODELS if name.endswith("-compact")]
FINER = {"deeplabv3-compact": {"output_stride": 8}}
"""At its stride of 16 a picture of 96x128 has 48 cells, too few for its borders."""


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPACT)
def test_every_system_learns_eight_pictures_by_heart(name: str) -> None:
    assert overfit_accuracy(name, FINER.get(name, {})) >= 0.97


def test_a_picture_is_learnt_in_seconds() -> None:
    assert overfit_accuracy("fcn-compact", {}, frames=1, steps=30) >= 0.9
