"""The contract of every row: export, operators, determinism, sizes, INT8 and a stream.

In every run there is one row of each family, and deep backbones have few blocks; the other rows,
and all blocks, where tests may be slow."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("openvino")
pytest.importorskip("onnxsim")

import onnx

import edgeseg
from edgeseg.graph.nodes import tensor_shape
from edgeseg.manifest import read_manifest
from edgeseg.zoo import MODELS
from tests.small import PLAIN
from tests.zoo import contract
from tests.zoo.contract import Small

pytestmark = [pytest.mark.torch, pytest.mark.needs("openvino", "onnx", "onnxsim", "av", "cv2")]

TOLERANCE = 1e-4
"""Of the largest logit, between float64 in PyTorch and float32 of the exported graph."""


@pytest.fixture(scope="module", params=contract.rows())
def small(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pictures: Path
) -> Small:
    name, whole = request.param
    return Small(name, tmp_path_factory.mktemp(name), pictures, whole=whole)


def test_exported_graph_computes_what_pytorch_does(small: Small) -> None:
    core = onnx.load(small.engine / "float.onnx")

    wanted, found = contract.both_logits(small.name, small.network, core, small.size)

    assert wanted.std() >= 1
    assert contract.largest_error(wanted, found) <= TOLERANCE
    assert contract.argmax_agreement(wanted, found) >= 0.9999


def test_graph_has_only_what_tensorrt_parses_and_none_of_the_traps(small: Small) -> None:
    core = onnx.load(small.engine / "float.onnx")

    assert {node.op_type for node in core.graph.node} - contract.PARSED == set()
    assert contract.traps(core) == []
    assert all(isinstance(side, int) for side in tensor_shape(core.graph.output[0]))


@pytest.mark.usefixtures("streets_once")
def test_int8_engine_streams_ten_frames(small: Small) -> None:
    frames = [
        (result.labels.shape, int(result.labels.max()))
        for result in edgeseg.stream(
            small.engine, "synthetic://?seconds=0.4&fps=25&size=120x90", ["null://"], workers=1
        )
    ]

    assert len(frames) == 10
    assert {shape for shape, _ in frames} == {(90, 120)}
    assert max(label for _, label in frames) < contract.CLASSES
    assert contract.quantised_share(small.engine / "graph.onnx") >= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_default_steps_keep_more_labels(name: str, tmp_path: Path, pictures: Path) -> None:
    plain, default = (
        _agreement(Small(name, tmp_path / title, pictures, without))
        for title, without in (("plain", PLAIN), ("default", ()))
    )

    assert default >= plain


@pytest.mark.parametrize("name", contract.forms())
def test_another_size_and_class_count_are_exported_right(name: str) -> None:
    size = MODELS[name].sizes.nearest(contract.ODD)
    network = contract.lifelike(name, size, **contract.other_options(name))

    wanted, found = contract.both_logits(name, network, contract.core_of(network, size), size)

    assert wanted.shape[1] == 2
    assert contract.largest_error(wanted, found) <= TOLERANCE
    assert contract.argmax_agreement(wanted, found) >= 0.9999


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "unet-compact" else [pytest.mark.slow])
        for name in MODELS
    ],
)
def test_exports_are_the_same_to_the_bit(name: str) -> None:
    size = MODELS[name].sizes.nearest(contract.ODD)
    network = contract.lifelike(name, size, **contract.other_options(name))

    core, again = (contract.core_of(network, size) for _ in range(2))

    assert core.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)


def _agreement(small: Small) -> float:
    measured = read_manifest(small.engine).plans["openvino"].measured
    assert measured is not None
    return measured.agreement


def test_a_broken_promise_is_seen() -> None:
    """The checks themselves: a shifted map, a tie, and indices of a pooling."""
    logits = np.random.default_rng(0).normal(size=(1, 3, 8, 8))

    assert contract.largest_error(logits, np.roll(logits, 1, axis=2)) > 0.1
    assert contract.argmax_agreement(logits, np.roll(logits, 1, axis=2)) < 0.9
    assert contract.argmax_agreement(logits, logits.astype(np.float32)) == 1
