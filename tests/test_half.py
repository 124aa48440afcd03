"""Which nodes stay FP32: those that overflow on the pictures, and those that cost labels."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, helper

from edgeseg.datasets import open_dataset
from edgeseg.errors import BuildError
from edgeseg.graph.frame import FrameSpec, frame_graph
from edgeseg.graph.quantize import activation_tensors, quantization_hash, quantized
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.tap import tapped
from edgeseg.graph.typed import fp32_nodes_of, typed
from edgeseg.graph.typed_rounded import rounded
from edgeseg.half import HalfReport, fp32_nodes
from edgeseg.recipe import Description
from edgeseg.types import PixelFormat, Size
from edgeseg.zoo.pixels import PIXELS
from edgeseg.zoo.shipped import shipped_core
from tests.networks import SIZE, picture, pixels_of, small_graph, tiny_core
from tests.oracle import run, run_all

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim")

Array = np.ndarray
Triple = tuple[float, float, float]
PICTURES = [picture(seed=seed)[None] for seed in range(4)]


@pytest.fixture(scope="module")
def core() -> ModelProto:
    return fixed_core(tiny_core(symbolic=True, opset=18), Size(*SIZE))


def test_small_network_needs_no_fp32_but_in_its_head_and_tail(core: ModelProto) -> None:
    report = _report(_framed(core), PICTURES, min_agreement=99.5)
    assert report.keep_fp32 == {}
    assert report.agreement >= 99.5
    assert report.frames == 4
    assert report.int8 is None
    assert {"Mul_scaled", "Add_pixels", "Cast_float_ids"} <= set(report.stays_fp32)


def test_energies_beyond_fp16_stay_fp32_with_what_reads_them() -> None:
    model, seen = _attention(), [_random((1, 4, 8, 8), seed, scale=60) for seed in range(3)]
    assert np.isnan(run(rounded(typed(model)), {"pixels": seen[0]})).any()
    report = _report(model, seen)
    assert {"energy", "softmax"} <= set(report.keep_fp32)
    assert "mix" not in report.stays_fp32
    assert "FP16 ends at 65504" in report.keep_fp32["energy"]
    assert "reads energies" in report.keep_fp32["softmax"]
    assert report.agreement >= 99.9
    result = rounded(typed(model, keep_fp32=report.keep_fp32))
    expected = run(model, {"pixels": seen[0]})
    assert np.allclose(run(result, {"pixels": seen[0]}), expected, rtol=0.01, atol=0.1)


def test_half_of_the_range_is_left_for_other_pictures() -> None:
    model = small_graph(
        [_node("Neg", ["pixels"], "near"), _node("Neg", ["near"], "logits")],
        {},
        shape=(1, 2, 4, 4),
        out=(1, 2, 4, 4),
    )
    near = _random((1, 2, 4, 4), 0)
    assert _report(model, [near * 32000 / np.abs(near).max()]).keep_fp32 == {}
    assert "near" in _report(model, [near * 33000 / np.abs(near).max()]).keep_fp32


def test_mean_is_judged_by_its_sum() -> None:
    nodes = [
        _node("GlobalAveragePool", ["pixels"], "mean"),
        _node("Add", ["mean", "pixels"], "logits"),
    ]
    model = small_graph(nodes, {}, shape=(1, 2, 40, 40), out=(1, 2, 40, 40))
    bright = 30 + _random((1, 2, 40, 40), 0)
    assert "adds up to 4.8" in _report(model, [bright]).keep_fp32["mean"]
    assert "mean" not in _report(model, [bright / 10], min_agreement=99).keep_fp32


def test_padding_with_infinity_is_no_overflow() -> None:
    ends = {"pads": np.array([0, 0, 0, 0, 0, 0, 1, 1]), "least": np.full((), -np.inf, np.float32)}
    nodes = [
        _node("Pad", ["pixels", "pads", "least"], "padded"),
        _node("MaxPool", ["padded"], "logits", kernel_shape=[2, 2]),
    ]
    model = small_graph(nodes, ends, shape=(1, 2, 4, 4), out=(1, 2, 4, 4))
    assert _report(model, [_random((1, 2, 4, 4), 0)]).keep_fp32 == {}


def test_number_that_is_zero_in_fp16_is_kept_from_a_division() -> None:
    tiny = {"small": np.full((), 1e-4, np.float32)}
    nodes = [
        _node("Mul", ["pixels", "small"], "part"),
        _node("Mul", ["part", "small"], "less"),
        _node("Mul", ["less", "small"], "least"),
        _node("Div", ["least", "less"], "share"),
        _node("Mul", ["share", "pixels"], "logits"),
    ]
    model = small_graph(nodes, tiny, shape=(1, 2, 4, 4), out=(1, 2, 4, 4))
    report = _report(model, [1 + np.abs(_random((1, 2, 4, 4), 0))])
    assert report.keep_fp32["share"] == "gives Inf or NaN in FP16"
    assert report.agreement >= 99.9


def test_node_that_costs_labels_without_overflow_stays_fp32() -> None:
    far = {"far": np.full((), 2048, np.float32)}
    nodes = [
        _node("Add", ["pixels", "far"], "up"),
        _node("Relu", ["up"], "kept"),
        _node("Sub", ["kept", "far"], "logits"),
    ]
    model = small_graph(nodes, far, shape=(1, 3, 32, 32), out=(1, 3, 32, 32))
    report = _report(model, [_random((1, 3, 32, 32), seed) for seed in range(2)])
    assert "up" in report.keep_fp32
    assert "of the pixels got other labels" in report.keep_fp32["up"]
    assert report.agreement >= 99.9


def test_network_that_fp16_ruins_is_refused() -> None:
    def scaled(source: str, output: str, bias: str) -> NodeProto:
        return _node("Conv", [source, "same", bias], output)

    weights = {
        "same": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
        "far": np.full(3, 2048, np.float32),
        "back": np.full(3, -2048, np.float32),
    }
    nodes = [
        scaled("pixels", "up", "far"),
        _node("Relu", ["up"], "kept"),
        scaled("kept", "logits", "back"),
    ]
    model = small_graph(nodes, weights, shape=(1, 3, 32, 32), out=(1, 3, 32, 32))
    with pytest.raises(BuildError, match=r"FP16 keeps \d+\.\d\d % of the labels") as caught:
        _report(model, [_random((1, 3, 32, 32), 0)])
    assert "--fp32" in caught.value.fix


def test_network_that_gives_nan_by_itself_is_refused() -> None:
    model = small_graph(
        [_node("Log", ["pixels"], "logits")], {}, shape=(1, 2, 2, 2), out=(1, 2, 2, 2)
    )
    with pytest.raises(BuildError, match="NaN or Inf in float32 already"):
        _report(model, [-np.ones((1, 2, 2, 2), np.float32)])


def test_pictures_are_needed(core: ModelProto) -> None:
    with pytest.raises(BuildError, match="no picture"):
        _report(core, [])


@pytest.mark.needs("PIL")
def test_shipped_network_agrees_on_real_pictures_with_nothing_kept(shared: Path) -> None:
    data = open_dataset("camvid:test", root=shared / "camvid", count=2)
    frames = [data.frame(index).image[None] for index in range(len(data))]
    path = shipped_core("deeplabv3plus-mobilenetv2")
    assert path is not None
    network = fixed_core(onnx.load(path), Size(180, 240))
    gain, bias = Description(labels=["one", "two"], **PIXELS["imagenet"]).gain_and_bias()
    wide = frame_graph(network, _spec(frame=Size(*frames[0].shape[1:3]), gain=gain, bias=bias))
    report = _report(wide, frames)
    assert report.keep_fp32 == {}
    assert report.agreement >= 99.9
    result = typed(wide)
    pairs = [(run(result, {"frame": f}), run(wide, {"frame": f})) for f in frames]
    assert np.mean([np.mean(a == b) for a, b in pairs]) >= 0.999


def test_int8_graph_keeps_its_quantisation_and_its_distance_from_float(core: ModelProto) -> None:
    names = activation_tensors(core)
    seen = run_all(tapped(core, names), {"pixels": pixels_of(picture())})
    amax = {name: float(np.abs(x).max()) for name, x in zip(names, seen, strict=True)}
    wide = _framed(quantized(core, amax))
    report = _report(wide, PICTURES, min_agreement=99.5)
    result = typed(wide, keep_fp32=report.keep_fp32)
    assert quantization_hash(result) == quantization_hash(wide)
    assert fp32_nodes_of(result) == report.stays_fp32
    assert report.agreement >= 99.5
    assert report.int8 is not None
    assert abs(report.int8.of_wide - report.int8.of_typed) < 0.5
    assert 95 < report.int8.between <= 100


def test_progress_is_told_for_each_pass(core: ModelProto) -> None:
    told: list[int] = []

    def tell(step: str, done: int, total: int | None) -> None:
        assert (step, total) == ("try FP16", None)
        told.append(done)

    fp32_nodes(core, lambda: [pixels_of(picture())], min_agreement=90, on_progress=tell)
    assert told == list(range(1, len(told) + 1))
    assert len(told) >= 3


def _framed(core: ModelProto) -> ModelProto:
    return frame_graph(core, _spec(frame=Size(*SIZE), gain=(1 / 64,) * 3, bias=(-2.0,) * 3))


def _spec(*, frame: Size, gain: Triple, bias: Triple) -> FrameSpec:
    return FrameSpec(
        size=frame,
        pixel_format=PixelFormat.RGB8,
        order="rgb",
        gain=gain,
        bias=bias,
        mask_size=frame,
    )


def _report(model: ModelProto, frames: list[Array], *, min_agreement: float = 99.9) -> HalfReport:
    return fp32_nodes(model, lambda: frames, min_agreement=min_agreement)


def _random(shape: tuple[int, ...], seed: int, *, scale: float = 1.0) -> Array:
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def _node(op: str, inputs: list[str], output: str, **attributes: object) -> NodeProto:
    return helper.make_node(op, inputs, [output], name=output, **attributes)


def _attention() -> ModelProto:
    """Channels attend to each other by products summed over 64 positions: some 230 000."""
    nodes = [
        _node("Reshape", ["pixels", "rows"], "flat"),
        _node("Transpose", ["flat"], "turned", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["flat", "turned"], ["energies"], name="energy"),
        helper.make_node("Softmax", ["energies"], ["shares"], name="softmax", axis=-1),
        helper.make_node("MatMul", ["shares", "flat"], ["mixed"], name="mix"),
        _node("Reshape", ["mixed", "planes"], "logits"),
    ]
    shapes = {"rows": np.array([1, 4, 64]), "planes": np.array([1, 4, 8, 8])}
    return small_graph(nodes, shapes, shape=(1, 4, 8, 8), out=(1, 4, 8, 8))
