"""The float core that ships: small, open in height and width, and what the weights give."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from edgeseg.graph.cost import cost_of
from edgeseg.graph.load import image_input, load_model
from edgeseg.graph.nodes import tensor_shape
from edgeseg.graph.simplify import fixed_core
from edgeseg.types import Size
from edgeseg.zoo import MODELS
from edgeseg.zoo.shipped import FOLDER, card, shipped_core
from tests.networks import picture
from tests.oracle import run

NAME = "deeplabv3plus-mobilenetv2"
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.onnx"))


def imagenet_pixels(size: tuple[int, int]) -> np.ndarray:
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    scaled = (picture(size) / 255 - mean) / std
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None]).astype(np.float32)


@pytest.fixture(scope="module", params=SHIPPED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def path(name: str) -> Path:
    found = shipped_core(name)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def shipped(path: Path) -> ModelProto:
    return load_model(path)


def test_the_network_of_the_readme_ships() -> None:
    assert NAME in SHIPPED
    assert set(SHIPPED) <= set(MODELS)


def test_the_file_is_6_mb_at_most(path: Path) -> None:
    assert path.stat().st_size <= 6_000_000


def test_height_and_width_are_open_and_the_classes_are_those_of_the_card(
    name: str, shipped: ModelProto
) -> None:
    onnx.checker.check_model(shipped, full_check=True)
    assert image_input(shipped).size is None
    assert all(isinstance(dim, str) for dim in tensor_shape(shipped.graph.input[0])[2:])
    labels = card(name)["labels"]
    assert tensor_shape(shipped.graph.output[0])[1] == len(labels)
    assert len(card(name)["colors"]) == len(labels)


@pytest.mark.parametrize("size", [(64, 96), (90, 122)])
def test_it_computes_the_same_when_it_is_simplified_for_a_size(
    shipped: ModelProto, size: tuple[int, int]
) -> None:
    feeds = {"pixels": imagenet_pixels(size)}
    wanted = run(shipped, feeds)
    found = run(fixed_core(shipped, Size(*size)), feeds)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_deeplab_costs_what_the_readme_says() -> None:
    path = shipped_core(NAME)
    assert path is not None
    cost = cost_of(fixed_core(load_model(path), Size(256, 512)))
    assert cost.macs == pytest.approx(2.78e9, rel=0.005)
    assert cost.parameters == pytest.approx(2.70e6, rel=0.005)


@pytest.mark.torch
@pytest.mark.needs("safetensors", "onnxscript")
@pytest.mark.parametrize("size", [pytest.param((64, 96), marks=pytest.mark.slow), (90, 122)])
def test_it_is_the_export_of_the_weights_beside_it(
    name: str, shipped: ModelProto, size: tuple[int, int]
) -> None:
    weights = FOLDER / f"{name}.safetensors"
    if not weights.is_file():
        pytest.skip(f"{weights.name} does not ship yet")
    from edgeseg.networks import ZooNetwork, core_bytes

    fresh = core_bytes(ZooNetwork(name=name, weights=weights), size=Size(*size))
    feeds = {"pixels": imagenet_pixels(size)}
    wanted = run(fresh, feeds)
    # The shipped core holds its weights in FP16.
    np.testing.assert_allclose(run(shipped, feeds), wanted, atol=1e-2 * np.abs(wanted).max())
