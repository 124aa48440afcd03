"""A network of the zoo with its weights: shipped, own or random, and at several scales."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import edgeseg  # noqa: E402
from edgeseg.errors import InputFileError, UsageError  # noqa: E402
from edgeseg.export import export  # noqa: E402
from edgeseg.networks import ZooNetwork, default_size, facts_of  # noqa: E402
from edgeseg.types import Size  # noqa: E402
from edgeseg.zoo import MODELS, build_network  # noqa: E402
from edgeseg.zoo.training import save_weights  # noqa: E402
from tests.small import working_directory, write_pictures  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.needs("onnx", "onnxsim", "openvino", "safetensors")]

SMALL = {"width": 0.0625}
NAME = "deeplabv1-largefov-vgg16"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Of a small network with three classes, and its card."""
    path = tmp_path / "own.safetensors"
    save_weights(build_network(NAME, classes=3, **SMALL), path)
    card = {"labels": ["a", "b", "c"], "variant": SMALL}
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def test_card_beside_own_weights_says_classes_and_variant(weights: Path) -> None:
    facts = facts_of(ZooNetwork(name=NAME, weights=weights))

    assert facts.labels == ["a", "b", "c"]
    assert facts.variant == SMALL
    assert facts.pixels["order"] == "bgr"  # of the paper's own network


def test_labels_that_are_not_as_many_as_the_weights_have_are_refused(weights: Path) -> None:
    with pytest.raises(UsageError, match="2 labels were given, but the weights have 3 classes"):
        facts_of(ZooNetwork(name=NAME, weights=weights), ["a", "b"])


def test_a_variant_that_contradicts_the_weights_is_refused(weights: Path) -> None:
    with pytest.raises(InputFileError):
        facts_of(ZooNetwork(name=NAME, weights=weights, variant={"width": 0.125}))


def test_a_variant_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such variant") as refused:
        export(NAME, tmp_path / "x.onnx", weights="random", variant={"depth": 5})

    assert "width" in str(refused.value)


def test_network_without_weights_is_refused_and_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no weights of danet-resnet101 ship") as refused:
        export("danet-resnet101", tmp_path / "x.onnx")

    assert "--weights random" in str(refused.value)
    assert not (tmp_path / "x.onnx").exists()


def test_export_is_made_for_the_size_of_the_paper_unless_told() -> None:
    assert default_size("deeplabv3plus-mobilenetv2") == Size(360, 480)
    assert default_size(NAME) == MODELS[NAME].size


def test_engine_with_random_weights_runs_and_says_what_it_is(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures" / "train", range(2))
    with (
        working_directory(tmp_path),
        edgeseg.build(
            NAME,
            weights="random",
            variant=SMALL,
            precision="int8",
            calibrate="folder:train",
            root=tmp_path / "pictures",
            size=Size(64, 96),
            backend="openvino",
        ) as engine,
    ):
        labels = engine(np.zeros((90, 120, 3), np.uint8))
        plan = engine.manifest.plans["openvino"]

        assert labels.shape == (90, 120)
        assert engine.manifest.weights == "random"
        assert plan.measured is None


def test_several_scales_and_flip_are_part_of_the_graph(tmp_path: Path, weights: Path) -> None:
    from edgeseg.backends.floats import float_runner

    size = Size(64, 96)
    plain = export(NAME, tmp_path / "1.onnx", weights=weights, size=size)
    flipped = export(NAME, tmp_path / "2.onnx", weights=weights, size=size, flip=True)
    pixels = np.random.default_rng(0).normal(0, 60, (1, 3, *size)).astype(np.float32)

    run = float_runner(plain.read_bytes())
    straight, mirrored = (
        run({"pixels": np.ascontiguousarray(view)})["logits"]
        for view in (pixels, pixels[..., ::-1])
    )
    fused = float_runner(flipped.read_bytes())({"pixels": pixels})["logits"]

    wanted = (straight + mirrored[..., ::-1]) / 2
    np.testing.assert_allclose(fused, wanted, atol=1e-4 * np.abs(wanted).max())
    assert flipped.stat().st_size < 1.2 * plain.stat().st_size


@pytest.mark.parametrize("value", ["wide", -1])
def test_a_variant_with_an_impossible_value_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(UsageError, match=f"cannot be made with rates={value}"):
        export("deeplabv2-vgg16", tmp_path / "x.onnx", weights="random", variant={"rates": value})
