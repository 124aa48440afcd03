"""From a written ONNX file and a folder of pictures to a Quantizer, with each step or without."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper
from PIL import Image

from edgeseg.graph.nodes import constants
from edgeseg.graph.quantize import activation_tensors, quantization_hash, quantized
from edgeseg.origin import core_for
from edgeseg.quantization import SPARE_LAYERS, quantizer_for
from edgeseg.quantizer import Quantizer
from edgeseg.ranges import Ranges
from edgeseg.recipe import Calibration, Description, Quantization, Recipe
from edgeseg.types import Array, Precision
from tests.networks import CLASSES, picture, pixels_of, small_graph, tiny_core
from tests.oracle import run
from tests.small import working_directory

pytestmark = pytest.mark.needs("onnx", "onnxsim", "onnxruntime", "openvino", "PIL")

SIZE = (96, 128)
LEARNT, OTHERS = range(6), range(100, 102)
NONE = Quantization(equalize=False, scales=False, rounding=False, bias=False, spare=0)
ALL = Quantization(spare=0)
"""But for layers left in float, so that forms can be compared."""

Made = tuple[Quantizer, Ranges]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.onnx and its calibration pictures; what is calibrated stays in it."""
    here = tmp_path_factory.mktemp("quantization")
    (here / "pictures").mkdir()
    for seed in LEARNT:
        Image.fromarray(picture(SIZE, seed=seed)).save(here / "pictures" / f"{seed}.png")
    onnx.save(_uneven(tiny_core(SIZE)), here / "net.onnx")
    return here


def _uneven(core: ModelProto) -> ModelProto:
    """The same network with depthwise channels of very different ranges, as real ones have."""
    values = constants(core)
    factors = np.geomspace(0.05, 1, 32).astype(np.float32)
    for item in core.graph.initializer:
        if item.name in {"expand_weight", "expand_bias"}:
            value = values[item.name] * factors.reshape(-1, *[1] * (values[item.name].ndim - 1))
            item.CopyFrom(onnx.numpy_helper.from_array(value, item.name))
    return core


def _recipe(
    folder: Path, steps: Quantization, *, net: str = "net.onnx", **pixels: object
) -> Recipe:
    values: dict[str, object] = {"mean": (2,) * 3, "std": (1,) * 3, "scale": 1 / 64}
    values["labels"] = [str(index) for index in range(CLASSES)]
    return Recipe(
        onnx=folder / net,
        description=Description(**{**values, **pixels}),  # type: ignore[arg-type]
        precision=Precision.INT8,
        size="128x96",
        frame="128x96",
        calibration=Calibration(data="folder", root=folder / "pictures", method="minmax"),
        quantization=steps,
    )


def _made(folder: Path, steps: Quantization, **options: object) -> Made:
    recipe = _recipe(folder, steps, **options)  # type: ignore[arg-type]
    with working_directory(folder):
        return quantizer_for(recipe, core_for(recipe))


@pytest.fixture(scope="module")
def core(folder: Path) -> ModelProto:
    return core_for(_recipe(folder, NONE))


@pytest.fixture(scope="module")
def plain(folder: Path) -> Made:
    return _made(folder, NONE)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Made:
    return _made(folder, ALL)


def _sqnr(core: ModelProto, quantizer: Quantizer, seeds: Iterable[int] = OTHERS) -> float:
    """Of the logits in dB."""
    power = noise = 0.0
    for seed in seeds:
        pixels = {"pixels": pixels_of(picture(SIZE, seed=seed))}
        expected, found = (run(each, pixels, optimized=False) for each in (core, quantizer.graph()))
        power, noise = power + np.square(expected).sum(), noise + np.square(found - expected).sum()
    return float(10 * np.log10(power / noise))


def test_all_steps_left_out_are_plain_quantisation(core: ModelProto, plain: Made) -> None:
    quantizer, ranges = plain
    amax = {name: ranges.tensors[name].amax for name in activation_tensors(core)}

    assert quantization_hash(quantizer.graph()) == quantization_hash(quantized(core, amax))
    assert quantizer.spared == ()


def test_all_steps_together_are_nearer_to_float_than_none(
    core: ModelProto, plain: Made, whole: Made
) -> None:
    for seeds in (LEARNT[:2], OTHERS):
        assert _sqnr(core, whole[0], seeds) > _sqnr(core, plain[0], seeds) + 1


@pytest.mark.parametrize("step", ["equalize", "scales", "rounding", "bias"])
def test_each_step_can_be_left_out_and_changes_the_graph(
    folder: Path, core: ModelProto, plain: Made, whole: Made, step: str
) -> None:
    quantizer, _ = _made(folder, ALL.model_copy(update={step: False}))

    made = quantizer.graph().SerializeToString()
    assert made not in {each[0].graph().SerializeToString() for each in (plain, whole)}
    assert _sqnr(core, quantizer) > _sqnr(core, plain[0])


def test_ranges_are_those_of_the_network_itself_whatever_the_steps(
    plain: Made, whole: Made
) -> None:
    """A build writes them down: they have to be of the core that the folder holds."""
    assert whole[1] == plain[1]


def test_equalised_core_computes_the_same_and_has_the_same_layers(
    core: ModelProto, whole: Made
) -> None:
    quantizer = whole[0]
    pixels = {"pixels": pixels_of(picture(SIZE, seed=100))}
    expected = run(core, pixels)

    np.testing.assert_allclose(
        run(quantizer.core, pixels), expected, atol=1e-5 * np.abs(expected).max()
    )
    assert quantizer.core.SerializeToString() != core.SerializeToString()
    convolutions = [node.name for node in core.graph.node if node.op_type == "Conv"]
    assert [layer.name for layer in quantizer.layers] == convolutions


def test_weights_change_only_by_the_steps_for_them(folder: Path, plain: Made) -> None:
    """The bias alone leaves every integer and every scale as they were."""
    quantizer, _ = _made(folder, NONE.model_copy(update={"bias": True}))

    before, after = (_weights(each.graph()) for each in (plain[0], quantizer))
    for name, weight in before.items():
        np.testing.assert_allclose(after[name], weight, atol=1e-6, err_msg=name)


def _weights(graph: ModelProto) -> dict[str, Array]:
    values, found = constants(graph), {}
    for node in graph.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            (reader,) = [each.name for each in graph.graph.node if node.output[0] in each.input]
            scale = values[node.input[1]].reshape(-1, 1, 1, 1)
            found[reader] = values[node.input[0]] * scale
    return found


def test_second_time_is_the_same_graph(folder: Path, whole: Made) -> None:
    again, _ = _made(folder, ALL)

    assert again.graph().SerializeToString() == whole[0].graph().SerializeToString()


@pytest.mark.parametrize("spare", [2.5, 100])
def test_spared_layers_are_the_first_and_stay_within_their_share(
    folder: Path, spare: float
) -> None:
    """A colour that hardly varies, beside one that is a hundred times louder and hardly read."""
    model = tiny_core(SIZE)
    values = constants(model)
    for item in model.graph.initializer:
        if item.name == "stem_weight":
            value = values[item.name] * np.array([0.01, 1, 1], np.float32).reshape(1, 3, 1, 1)
            item.CopyFrom(onnx.numpy_helper.from_array(value, item.name))
    onnx.save(model, folder / "loud.onnx")

    steps = NONE.model_copy(update={"spare": spare})
    quantizer, _ = _made(folder, steps, net="loud.onnx", std=(0.01, 1, 1), mean=(2, 2, 2))

    first = [layer.name for layer in quantizer.layers[:SPARE_LAYERS]]
    assert 100 - quantizer.int8_share(quantizer.spared) <= spare
    assert list(quantizer.spared) == first[: len(quantizer.spared)]
    assert ("stem" in quantizer.spared) == (spare == 100)  # it has a fifth of the MACs


@pytest.mark.parametrize("tie", [False, True])
def test_tie_gives_equal_scales_to_what_meets_in_a_concat(folder: Path, tie: bool) -> None:
    onnx.save(_joined(), folder / "joined.onnx")

    quantizer, _ = _made(folder, NONE.model_copy(update={"tie_concat": tie}), net="joined.onnx")

    values = constants(quantizer.graph())
    scales = {float(values[f"{name}_scale"]) for name in ("a", "b", "both")}
    assert len(scales) == (1 if tie else 3)


def _joined() -> ModelProto:
    """Two convolutions of different ranges that meet in a Concat; both are read by another one."""
    rng = np.random.default_rng(0)

    def weight(outputs: int, inputs: int, gain: float) -> Array:
        return (gain * rng.normal(0, 1, (outputs, inputs, 1, 1))).astype(np.float32)

    weights = {"wa": weight(4, 3, 1), "wb": weight(4, 4, 5), "wc": weight(4, 4, 1)}
    weights["wd"] = weight(CLASSES, 12, 1)
    nodes = [
        helper.make_node("Conv", [source, weight], [output], name=f"conv_{output}")
        for source, weight, output in (
            ("pixels", "wa", "a"), ("a", "wb", "b"), ("b", "wc", "c"), ("both", "wd", "logits")
        )
    ]  # fmt: skip
    nodes.insert(3, helper.make_node("Concat", ["a", "b", "c"], ["both"], axis=1))
    return small_graph(nodes, weights, shape=(1, 3, *SIZE), out=(1, CLASSES, *SIZE))


def test_progress_is_told_of_every_step(folder: Path, tmp_path: Path) -> None:
    told: dict[str, None] = {}
    recipe = _recipe(folder, ALL)
    few = recipe.model_copy(
        update={"calibration": recipe.calibration.model_copy(update={"count": 2})}  # type: ignore[union-attr]
    )

    with working_directory(tmp_path):
        quantizer_for(few, core_for(few), on_progress=lambda step, *_: told.update({step: None}))

    assert list(told) == ["calibrate", "equalise", "round weights"]
