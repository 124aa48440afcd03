"""The rows of the table, in its order; and what they are for: exact INT8 in OpenVINO."""

import importlib

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

from edgeseg.backends import BACKENDS
from edgeseg.backends.floats import float_runner
from edgeseg.graph import prepare
from edgeseg.graph.prepare import PREPARATIONS, prepared, prepared_bytes
from edgeseg.graph.quantize import activation_tensors, quantized
from edgeseg.graph.simulate import simulated
from edgeseg.graph.tap import tapped
from tests.networks import small_graph
from tests.oracle import run, run_all

pytestmark = pytest.mark.needs("onnx", "onnxruntime")

Array = np.ndarray
SHAPE = (1, 3, 16, 24)
WIDTH = 16
PACKAGES = {"tensorrt": ["tensorrt"], "openvino": ["openvino"], "onnxruntime": ["onnxruntime"]}
KEEPING_BITS = sorted(PREPARATIONS.keys() - {"narrow"})


def marked(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.needs(*PACKAGES.get(name, [])))


def needs_of(name: str) -> frozenset[str]:
    found = importlib.import_module(BACKENDS[name]).NEEDS
    assert isinstance(found, frozenset)
    return found


def block(seed: int) -> ModelProto:
    """A level of a U-Net: down, up again, and a Concat of signed sums with what passed a ReLU."""
    rng = np.random.default_rng(seed)
    shapes = {
        "stem_w": (WIDTH, 3, 3, 3),
        "down_w": (2 * WIDTH, WIDTH, 3, 3),
        "up_w": (2 * WIDTH, WIDTH, 2, 2),
        "join_w": (WIDTH, 2 * WIDTH, 3, 3),
        "last_w": (5, WIDTH, 1, 1),
    }
    weights = {
        name: (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
        for name, shape in shapes.items()
    }
    edge, half = {"pads": [1, 1, 1, 1]}, {"strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["pixels", "stem_w"], ["stem"], "stem", **edge),
        helper.make_node("Relu", ["stem"], ["skip"], "skip"),
        helper.make_node("MaxPool", ["skip"], ["small"], "pool", kernel_shape=[2, 2], **half),
        helper.make_node("Conv", ["small", "down_w"], ["sums"], "down", **edge),
        helper.make_node("Relu", ["sums"], ["deep"], "deep"),
        helper.make_node("ConvTranspose", ["deep", "up_w"], ["large"], "up", **half),
        helper.make_node("Concat", ["large", "skip"], ["both"], "both", axis=1),
        helper.make_node("Conv", ["both", "join_w"], ["joined"], "join", **edge),
        helper.make_node("Relu", ["joined"], ["last"], "last"),
        helper.make_node("Conv", ["last", "last_w"], ["logits"], "classifier"),
    ]
    return small_graph(nodes, weights, shape=SHAPE, out=(1, 5, *SHAPE[2:]))


def pixels_for(seed: int) -> Array:
    return np.random.default_rng(9 + seed).normal(0, 1.5, SHAPE).astype(np.float32)


def quantised_block(seed: int) -> ModelProto:
    core = block(seed)
    names = activation_tensors(core)
    seen = run_all(tapped(core, names), {"pixels": pixels_for(seed)})
    return quantized(core, {n: float(np.abs(x).max()) for n, x in zip(names, seen, strict=True)})


@pytest.fixture(scope="module")
def qdq() -> ModelProto:
    return quantised_block(0)


@pytest.mark.parametrize("name", [marked(name) for name in BACKENDS])
def test_what_a_backend_needs_are_rows_of_the_table(name: str) -> None:
    assert needs_of(name) <= PREPARATIONS.keys()


@pytest.mark.parametrize("needs", [[], ["pools"], ["concats", "narrow"], [*reversed(PREPARATIONS)]])
def test_the_rows_that_are_needed_work_in_the_order_of_the_table(
    monkeypatch: pytest.MonkeyPatch, needs: list[str]
) -> None:
    seen: list[str] = []

    def noting(name: str, model: ModelProto) -> ModelProto:
        seen.append(name)
        return model

    rows = {name: lambda model, name=name: noting(name, model) for name in PREPARATIONS}
    monkeypatch.setattr(prepare, "PREPARATIONS", rows)
    prepared(ModelProto(), needs)
    assert seen == [name for name in PREPARATIONS if name in needs]


def test_each_row_does_something_to_the_block_alone(qdq: ModelProto) -> None:
    for name in PREPARATIONS:
        changed = prepared(qdq, {name})
        onnx.checker.check_model(changed, full_check=True)
        assert changed.graph.node != qdq.graph.node, name


def test_a_graph_that_nothing_needs_comes_back_as_it_was(qdq: ModelProto) -> None:
    assert prepared(qdq, frozenset()) == qdq


def test_the_given_graph_stays_as_it_is(qdq: ModelProto) -> None:
    before = qdq.SerializeToString(deterministic=True)
    prepared(qdq, PREPARATIONS)
    assert qdq.SerializeToString(deterministic=True) == before


def test_serialised_graphs_come_back_serialised(qdq: ModelProto) -> None:
    found = prepared_bytes(qdq.SerializeToString(), PREPARATIONS)
    assert onnx.load_model_from_string(found) == prepared(qdq, PREPARATIONS)


@pytest.mark.parametrize("names", [*([name] for name in KEEPING_BITS), KEEPING_BITS], ids=str)
def test_all_rows_but_the_narrow_weights_keep_every_bit(qdq: ModelProto, names: list[str]) -> None:
    feeds = {"pixels": 2 * pixels_for(1)}
    wanted = run(qdq, feeds, optimized=False)
    found = run(prepared(qdq, names), feeds, optimized=False)
    np.testing.assert_array_equal(found, wanted)


def openvino_against_integers(model: ModelProto, pixels: Array) -> float:
    """SQNR in dB of OpenVINO's INT8 logits, against the exact ones of the same graph."""
    wanted = run(simulated(model), {"pixels": pixels}, optimized=False).astype(np.float64)
    found = float_runner(model.SerializeToString())({"pixels": pixels})["logits"]
    return float(10 * np.log10(np.square(wanted).sum() / np.square(found - wanted).sum()))


@pytest.mark.needs("openvino")
@pytest.mark.parametrize("seed", range(3))
def test_openvino_computes_a_prepared_graph_as_its_integers_say(seed: int) -> None:
    model = prepared(quantised_block(seed), needs_of("openvino"))
    assert openvino_against_integers(model, pixels_for(seed)) > 80


@pytest.mark.needs("openvino")
@pytest.mark.parametrize("without", sorted(PREPARATIONS.keys() - {"pools"}))
def test_on_a_cpu_whose_sums_saturate_each_row_is_needed_for_that(
    qdq: ModelProto, without: str
) -> None:
    """Pools are for speed alone. With the row, there are more than 80 dB."""
    if needs_of("openvino") != PREPARATIONS.keys():
        pytest.skip("this CPU computes INT8 without one of them")
    model = prepared(qdq, PREPARATIONS.keys() - {without})
    assert openvino_against_integers(model, pixels_for(0)) < 40


@pytest.mark.needs("openvino")
def test_seven_bits_cost_less_than_a_cpu_that_saturates(qdq: ModelProto) -> None:
    """Against the unprepared graph's own integers: what the masks are compared with."""
    if "narrow" not in needs_of("openvino"):
        pytest.skip("this CPU computes INT8 exactly")
    feeds = {"pixels": pixels_for(0)}
    wanted = run(simulated(qdq), feeds, optimized=False).astype(np.float64)
    errors = []
    for needs in (frozenset(), needs_of("openvino")):
        graph = prepared_bytes(qdq.SerializeToString(), needs)
        errors.append(float(np.square(float_runner(graph)(feeds)["logits"] - wanted).sum()))
    assert errors[1] < errors[0] / 10
