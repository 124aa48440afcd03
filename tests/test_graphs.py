"""The graphs and documents that an engine folder starts with, of the tiny network."""

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto
from PIL import Image

from edgeseg.errors import BuildError, UsageError
from edgeseg.graph.nodes import constants
from edgeseg.graph.quantize import activation_tensors, quantization_hash, quantized
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.tap import tapped
from edgeseg.graph.typed import fp32_nodes_of
from edgeseg.graphs import TYPED, Parts, draft, patterns_as_layers, write_graphs
from edgeseg.manifest import file_hash, read_manifest
from edgeseg.quantizer import Quantizer
from edgeseg.ranges import Range, Ranges, read_ranges
from edgeseg.recipe import Calibration, Description, Recipe
from edgeseg.types import PixelFormat, Precision, Size
from tests.networks import CLASSES, SIZE, picture, pixels_of, tiny_core
from tests.oracle import labels_and_decided, run, run_all

pytestmark = pytest.mark.needs("onnx", "onnxsim", "onnxruntime", "openvino", "PIL")

NAMES = [f"class {index}" for index in range(CLASSES)]


@pytest.fixture(scope="module")
def core() -> ModelProto:
    return fixed_core(tiny_core(), Size(*SIZE))


@pytest.fixture(scope="module")
def amax(core: ModelProto) -> dict[str, float]:
    names = activation_tensors(core)
    seen = run_all(tapped(core, names), {"pixels": pixels_of(picture())})
    return {name: float(np.abs(x).max()) for name, x in zip(names, seen, strict=True)}


@pytest.fixture(scope="module")
def quantizer(core: ModelProto, amax: dict[str, float]) -> Quantizer:
    return Quantizer(core, amax)


def _recipe(precision: Precision = Precision.INT8, **changes: object) -> Recipe:
    description = {"order": "bgr", "mean": (2, 3, 4), "std": (1, 2, 4), "scale": 1 / 64}
    values: dict[str, object] = {
        "onnx": Path("folder/net.onnx"),
        "description": Description(**description, labels=NAMES),  # type: ignore[arg-type]
        "precision": precision,
        "size": "64x48",
        "frame": "96x80",
    }
    return Recipe(**{**values, **changes})  # type: ignore[arg-type]


def _ranges(amax: dict[str, float]) -> Ranges:
    tensors = {name: Range(min=0, max=value, amax=value) for name, value in amax.items()}
    return Ranges(
        method="minmax", graph="g", preprocessing="p", images="i", count=1, tensors=tensors
    )


def _float_layers(graph: ModelProto) -> list[str]:
    made = {n.output[0] for n in graph.graph.node if n.op_type == "DequantizeLinear"}
    layers = [node for node in graph.graph.node if node.op_type == "Conv"]
    return [node.name for node in layers if not made & {*node.input}]


def test_frame_graph_takes_bytes_of_the_camera_and_gives_its_labels(
    core: ModelProto, tmp_path: Path
) -> None:
    """At the network's own size nothing is resized before it: numpy knows the pixels."""
    parts = Parts(recipe=_recipe(Precision.FP32, frame="64x48"), core=core)
    frame = picture()

    write_graphs(parts, tmp_path, typed=False)

    labels = run((tmp_path / "graph.onnx").read_bytes(), {"frame": frame[None]})[0]
    pixels = (frame[..., ::-1] / 64 - (2, 3, 4)) / (1, 2, 4)
    logits = run(core, {"pixels": pixels.transpose(2, 0, 1)[None].astype(np.float32)})[0]
    expected, decided = labels_and_decided(logits, SIZE)
    assert (labels.dtype, labels.shape) == (np.uint8, SIZE)
    assert np.mean(labels == expected) > 0.999
    assert decided.mean() > 0.99


def test_float_engine_has_its_core_and_one_graph(core: ModelProto, tmp_path: Path) -> None:
    parts = Parts(recipe=_recipe(Precision.FP32), core=core)

    manifest = write_graphs(parts, tmp_path, typed=True)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "float.onnx",
        "graph.onnx",
        "manifest.json",
    ]
    assert (tmp_path / "float.onnx").read_bytes() == core.SerializeToString()
    assert (manifest.quantization, manifest.int8_percent) == (None, None)


def test_manifest_says_what_was_made_and_the_hash_of_every_file(
    core: ModelProto, quantizer: Quantizer, amax: dict[str, float], tmp_path: Path
) -> None:
    keep = ("refine", "stem")
    parts = Parts(recipe=_recipe(), core=core, quantizer=quantizer, ranges=_ranges(amax), keep=keep)

    manifest = write_graphs(parts, tmp_path, typed=False)

    graph = onnx.load(tmp_path / "graph.onnx")
    assert read_manifest(tmp_path) == manifest
    assert manifest.files == {
        name: file_hash(tmp_path / name) for name in ("float.onnx", "graph.onnx", "ranges.json")
    }
    assert manifest.quantization == quantization_hash(quantizer.graph(keep))
    assert manifest.float_layers == list(keep)
    assert manifest.int8_percent == pytest.approx(quantizer.int8_share(keep))
    assert sorted(_float_layers(graph)) == sorted(keep)
    assert read_ranges(tmp_path / "ranges.json") == parts.ranges
    assert manifest.plans == {}


def test_input_and_output_are_bytes_in_the_format_of_the_camera(
    core: ModelProto, quantizer: Quantizer, tmp_path: Path
) -> None:
    recipe = _recipe(frame_format=PixelFormat.NV12, frame="96x80")

    write_graphs(Parts(recipe=recipe, core=core, quantizer=quantizer), tmp_path, typed=False)

    graph = onnx.load(tmp_path / "graph.onnx").graph
    for value, name, dims in (
        (graph.input[0], "frame", [1, 120, 96]),
        (graph.output[0], "labels", [1, 80, 96]),
    ):
        assert value.name == name
        assert value.type.tensor_type.elem_type == TensorProto.UINT8
        assert [dim.dim_value for dim in value.type.tensor_type.shape.dim] == dims


def test_typed_graph_is_the_same_quantisation_in_fp16(
    core: ModelProto, quantizer: Quantizer, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    Image.fromarray(picture()).save(data / "0.png")
    recipe = _recipe(calibration=Calibration(data="folder", root=data))
    stage = tmp_path / "stage"

    parts = Parts(recipe=recipe, core=core, quantizer=quantizer)
    manifest = write_graphs(parts, stage, typed=True)

    typed = onnx.load(stage / TYPED)
    halves = [item for item in typed.graph.initializer if item.data_type == TensorProto.FLOAT16]
    assert quantization_hash(typed) == manifest.quantization
    assert manifest.fp32_nodes == fp32_nodes_of(typed)
    assert len(manifest.fp32_nodes) > 0
    assert len(halves) > 10
    assert manifest.files[TYPED] == file_hash(stage / TYPED)


def test_typed_graph_without_pictures_is_made_with_a_warning(
    core: ModelProto, quantizer: Quantizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_graphs(Parts(recipe=_recipe(), core=core, quantizer=quantizer), tmp_path, typed=True)

    assert (tmp_path / TYPED).is_file()
    assert "overflows in FP16" in caplog.text


def test_own_graph_that_breaks_a_rule_is_refused_and_nothing_is_written(
    core: ModelProto, amax: dict[str, float], tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match=r"breaks TensorRT's rules in \d+ places"):
        write_graphs(
            Parts(recipe=_recipe(), core=_with_zero_point(core, amax)), tmp_path, typed=False
        )

    assert list(tmp_path.glob("*.onnx")) == []


def test_quantised_file_of_a_stranger_is_taken_as_it_is_with_a_warning(
    core: ModelProto, amax: dict[str, float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ready = _with_zero_point(core, amax)

    manifest = write_graphs(Parts(recipe=_recipe(), core=core, ready=ready), tmp_path, typed=False)

    assert "not as TensorRT wants them" in caplog.text
    assert manifest.quantization == quantization_hash(ready)
    assert (tmp_path / "float.onnx").read_bytes() == core.SerializeToString()


def _with_zero_point(core: ModelProto, amax: dict[str, float]) -> ModelProto:
    """Its first activation is asymmetric."""
    graph = quantized(core, amax)
    (zero,) = [item for item in graph.graph.initializer if item.name == "pixels_zero"]
    zero.CopyFrom(onnx.numpy_helper.from_array(np.asarray(3, np.int8), zero.name))
    assert constants(graph)["pixels_zero"] == 3
    return graph


def test_draft_describes_the_pixels_and_the_cost_of_the_float_core(core: ModelProto) -> None:
    manifest = draft(Parts(recipe=_recipe(), core=core), core)

    assert manifest.gain == pytest.approx([1 / 64, 1 / 128, 1 / 256])
    assert manifest.bias == pytest.approx([-2, -1.5, -1])
    assert (manifest.order, manifest.size, manifest.frame) == ("bgr", "64x48", "96x80")
    assert manifest.labels == NAMES
    assert len(manifest.colors) == CLASSES
    weights = [constants(core)[n.input[1]] for n in core.graph.node if n.op_type == "Conv"]
    biases = sum(weight.shape[0] for weight in weights)
    assert manifest.parameters == sum(weight.size for weight in weights) + biases
    assert manifest.macs > manifest.parameters
    assert manifest.quantization is None


@pytest.mark.parametrize(
    ("changes", "network", "weights"),
    [
        ({}, "net.onnx", "net.onnx"),
        ({"network": "unet", "onnx": None}, "unet", "shipped"),
        ({"network": "unet", "onnx": None, "weights": Path("a/own.pt")}, "unet", "own.pt"),
        ({"network": "unet", "onnx": None, "random_weights": True}, "unet", "random"),
    ],
)
def test_draft_says_which_weights(
    core: ModelProto, changes: dict[str, object], network: str, weights: str
) -> None:
    manifest = draft(Parts(recipe=_recipe(**changes), core=core), core)  # type: ignore[arg-type]

    assert (manifest.network, manifest.weights) == (network, weights)


def test_patterns_become_layers_once_each_and_the_log_says_what_they_cost(
    quantizer: Quantizer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        layers = patterns_as_layers(quantizer, ["refine", "de*", "*p*th*", "stem"])

    assert layers == ["refine", "depthwise", "deep", "detail", "stem"]
    share = sum(each.macs for each in quantizer.layers if each.name.startswith("de"))
    said = f"--keep-fp16 de* keeps 3 layers, {100 * share / quantizer.macs:.2f} % of the MACs"
    assert said in caplog.text
    assert "depthwise, deep, detail" in caplog.text
    assert "keep-fp16 stem" not in caplog.text


def test_pattern_that_keeps_nothing_is_refused(quantizer: Quantizer) -> None:
    with pytest.raises(UsageError, match="matches none"):
        patterns_as_layers(quantizer, ["stem", "head.*"])
