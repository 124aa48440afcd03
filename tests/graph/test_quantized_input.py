"""A file that is quantised already keeps its integers, and has a float form."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from edgeseg.errors import BuildError, InputFileError, UsageError
from edgeseg.graph.lint import lint
from edgeseg.graph.quantize import quantized
from edgeseg.graph.quantized_input import (
    explicit_zero_points,
    float_form,
    is_quantized,
    refuse_second_quantization,
)
from edgeseg.graph.simplify import fixed_core, opset_of
from edgeseg.types import Size
from tests.networks import SIZE, picture, pixels_of, small_graph, tiny_core
from tests.oracle import run

pytestmark = pytest.mark.needs("onnx", "onnxsim", "onnxruntime")

Array = np.ndarray
QDQ = {"QuantizeLinear", "DequantizeLinear"}
SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}


def by_onnxruntime(
    folder: Path, kind: str = "QInt8", form: str = "QDQ", options: dict[str, bool] | None = None
) -> ModelProto:
    """The tiny network, quantised by ONNX Runtime's own tool on three pictures."""
    from onnxruntime import quantization as tool

    class Pictures(tool.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter([{"pixels": pixels_of(picture(seed=seed))} for seed in range(3)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    onnx.save(tiny_core(), folder / "float.onnx")
    tool.quantize_static(
        folder / "float.onnx",
        folder / "int8.onnx",
        Pictures(),
        quant_format=tool.QuantFormat[form],
        per_channel=True,
        activation_type=tool.QuantType[kind],
        weight_type=tool.QuantType.QInt8,
        extra_options=options or {},
    )
    return onnx.load(folder / "int8.onnx")


@pytest.fixture(scope="module", params=["ours", "symmetric", "unsigned"])
def stranger(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    core: ModelProto,
    amax: dict[str, float],
) -> ModelProto:
    """Ours, ONNX Runtime's as TensorRT takes it, and ONNX Runtime's as it comes (U8, no ReLU)."""
    if request.param == "ours":  # of ranges that saturate on many a picture
        return quantized(core, amax)
    folder = tmp_path_factory.mktemp("stranger")
    if request.param == "symmetric":
        return by_onnxruntime(folder, options=SYMMETRIC)
    return by_onnxruntime(folder, "QUInt8")


def one_conv(
    *,
    activation_zero: Array | None,
    other_scale: float = 0.5,
    weight: str = "stored",
    opset: int = 17,
    **attributes: int,
) -> ModelProto:
    """Q and DQ with scale 0.5 on the pixels, then a 1x1 convolution that is [2, 0, 0] / [0, 4, 0].

    Its weight is `stored` as INT8, `float` behind Q and DQ, or `plain`.
    """
    values = np.array([[2, 0, 0], [0, 4, 0]], np.float32).reshape(2, 3, 1, 1)
    weights = {"step": np.float32(0.5), "other_step": np.float32(other_scale)}
    weights |= {"w_step": np.array([0.5, 2], np.float32), "w_zero": np.zeros(2, np.int8)}
    zero = ["zero"] if activation_zero is not None else []
    if activation_zero is not None:
        weights["zero"] = activation_zero
    nodes = [
        helper.make_node("QuantizeLinear", ["pixels", "step", *zero], ["q"], **attributes),
        helper.make_node("DequantizeLinear", ["q", "other_step", *zero], ["x"]),
    ]
    if weight == "stored":
        weights["w_s8"] = (values / np.array([0.5, 2]).reshape(2, 1, 1, 1)).astype(np.int8)
    elif weight == "float":
        weights["w"] = values
        nodes.append(
            helper.make_node("QuantizeLinear", ["w", "w_step", "w_zero"], ["w_s8"], axis=0)
        )
    if weight == "plain":
        weights["w_dq"] = values
    else:
        nodes.append(
            helper.make_node("DequantizeLinear", ["w_s8", "w_step", "w_zero"], ["w_dq"], axis=0)
        )
    nodes.append(helper.make_node("Conv", ["x", "w_dq"], ["logits"]))
    return small_graph(nodes, weights, shape=(1, 3, 16, 16), out=(1, 2, 16, 16), opset=opset)


def integers(model: ModelProto) -> list[tuple[str, bytes]]:
    """The stored INT8 weights, by shape and content."""
    tensors = [numpy_helper.to_array(item) for item in model.graph.initializer]
    return sorted((str(t.shape), t.tobytes()) for t in tensors if t.dtype == np.int8 and t.ndim > 1)


def test_a_quantised_file_is_told_from_a_float_one(stranger: ModelProto) -> None:
    assert is_quantized(stranger)
    assert not is_quantized(tiny_core())
    assert not is_quantized(float_form(stranger))


def test_simplifying_keeps_the_integers_and_every_bit_of_the_scores(stranger: ModelProto) -> None:
    pixels = {"pixels": pixels_of(picture(seed=5))}

    core = fixed_core(stranger, Size(*SIZE))

    assert integers(core) == integers(stranger)
    assert len(integers(core)) == 13  # one a convolution
    wanted = run(stranger, pixels, optimized=False)
    np.testing.assert_array_equal(run(core, pixels, optimized=False), wanted)


def test_the_float_form_has_no_integers_and_computes_nearly_the_same(stranger: ModelProto) -> None:
    pixels = {"pixels": pixels_of(picture(seed=5))}
    quantised = run(stranger, pixels, optimized=False)

    form = float_form(stranger)

    onnx.checker.check_model(form, full_check=True)
    assert QDQ.isdisjoint(node.op_type for node in form.graph.node)
    assert not integers(form)
    assert [value.name for value in form.graph.output] == ["logits"]
    error = run(form, pixels) - quantised
    assert np.sqrt((error**2).mean()) < 0.1 * quantised.std()
    assert np.any(error != 0)  # it does not round


def test_the_float_form_becomes_a_core(stranger: ModelProto) -> None:
    core = fixed_core(float_form(stranger), Size(*SIZE))

    pixels = {"pixels": pixels_of(picture(seed=5))}
    wanted = run(float_form(stranger), pixels)
    np.testing.assert_allclose(run(core, pixels), wanted, atol=1e-4 * np.abs(wanted).max())


def test_weights_of_the_float_form_are_those_of_the_integers(
    core: ModelProto, amax: dict[str, float]
) -> None:
    form = float_form(quantized(core, amax))

    stem, rounded = (
        next(numpy_helper.to_array(i) for i in model.graph.initializer if i.name == name)
        for model, name in ((core, "stem_weight"), (form, "stem_weight_dq"))
    )
    largest_error = np.abs(rounded - stem).max((1, 2, 3))
    step = np.abs(stem).max((1, 2, 3)) / 127
    assert np.all(largest_error <= 0.5001 * step)
    assert np.all(largest_error > 0)


@pytest.mark.parametrize("weight", ["stored", "float"])
def test_weights_stored_or_still_float_become_constants(weight: str) -> None:
    form = float_form(one_conv(activation_zero=np.int8(0), weight=weight))

    pixels = np.random.default_rng(0).uniform(-64, 63.5, (1, 3, 16, 16)).astype(np.float32)
    wanted = pixels[:, :2] * np.float32([2, 4]).reshape(1, 2, 1, 1)
    np.testing.assert_allclose(run(form, {"pixels": pixels}), wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("zero", "low", "high"), [(np.uint8(10), -5, 122.5), (np.int8(0), -64, 63.5)]
)
def test_values_still_end_where_the_integers_end(zero: Array, low: float, high: float) -> None:
    """Exporters leave a ReLU6 out whose range is that of the integers."""
    form = float_form(one_conv(activation_zero=zero))

    pixels = np.linspace(-200, 200, 768, dtype=np.float32).reshape(1, 3, 16, 16)
    ended = np.clip(pixels[:, :2], low, high)
    wanted = ended * np.float32([2, 4]).reshape(1, 2, 1, 1)
    np.testing.assert_allclose(run(form, {"pixels": pixels}), wanted, rtol=1e-6)


def test_a_zero_point_that_is_not_named_is_an_unsigned_zero() -> None:
    model = one_conv(activation_zero=None)

    named = explicit_zero_points(model)

    pixels = np.linspace(-200, 200, 768, dtype=np.float32).reshape(1, 3, 16, 16)
    wanted = run(model, {"pixels": pixels}, optimized=False)
    np.testing.assert_array_equal(run(named, {"pixels": pixels}, optimized=False), wanted)
    assert any("uint8" in found.rule for found in lint(named))
    assert run(float_form(model), {"pixels": pixels}).min() == 0


def test_the_integer_type_that_opset_21_says_in_an_attribute_is_kept_in_opset_17() -> None:
    model = one_conv(activation_zero=None, opset=21, output_dtype=onnx.TensorProto.INT8)
    model.ir_version = 10

    core = fixed_core(model, Size(16, 16))

    assert opset_of(core) == 17
    pixels = np.linspace(-200, 200, 768, dtype=np.float32).reshape(1, 3, 16, 16)
    wanted = np.clip(np.rint(pixels[:, :2] / 0.5), -128, 127) * 0.5
    wanted *= np.float32([2, 4]).reshape(1, 2, 1, 1)
    np.testing.assert_allclose(run(core, {"pixels": pixels}, optimized=False), wanted, rtol=1e-6)


def test_a_scale_for_each_block_is_refused() -> None:
    model = one_conv(activation_zero=np.int8(0), opset=21, block_size=4)

    with pytest.raises(BuildError, match="scale for each block"):
        fixed_core(model, Size(16, 16))


def test_weights_that_are_only_stored_as_integers_do_not_make_a_file_quantised() -> None:
    model = one_conv(activation_zero=np.int8(0))
    kept = [node for node in model.graph.node if node.output[0] not in {"q", "x"}]
    kept[-1].input[0] = "pixels"
    del model.graph.node[:]
    model.graph.node.extend(kept)

    assert not is_quantized(model)
    assert {node.op_type for node in float_form(model).graph.node} == {"Conv"}


def test_a_float_file_is_its_own_float_form() -> None:
    model = tiny_core()

    assert float_form(model) is model


def test_the_given_model_stays_as_it_is(stranger: ModelProto) -> None:
    before = stranger.SerializeToString(deterministic=True)

    float_form(stranger)

    assert stranger.SerializeToString(deterministic=True) == before


def test_integer_operators_are_recognised_and_have_no_float_form(tmp_path: Path) -> None:
    model = by_onnxruntime(tmp_path, form="QOperator", options=SYMMETRIC)

    assert is_quantized(model)
    with pytest.raises(InputFileError, match="QLinear") as refused:
        float_form(model)
    assert "QuantFormat.QDQ" in refused.value.fix


def test_a_scale_that_changes_between_q_and_dq_is_refused() -> None:
    with pytest.raises(InputFileError, match="another scale than its QuantizeLinear"):
        float_form(one_conv(activation_zero=np.int8(0), other_scale=0.25))


def test_integers_computed_with_between_q_and_dq_are_refused() -> None:
    model = one_conv(activation_zero=np.int8(0))
    doubled = helper.make_node("Add", ["q", "q"], ["twice"], name="in_integers")
    model.graph.node[1].input[0] = "twice"
    model.graph.node.insert(1, doubled)

    with pytest.raises(InputFileError, match="what no QuantizeLinear wrote"):
        float_form(model)


def test_integers_may_be_moved_about_between_q_and_dq() -> None:
    model = one_conv(activation_zero=np.int8(0))
    pool = helper.make_node(
        "MaxPool", ["q"], ["largest"], kernel_shape=[3, 3], pads=[1] * 4, name="pool"
    )
    model.graph.node[1].input[0] = "largest"
    model.graph.node.insert(1, pool)
    pixels = np.random.default_rng(0).normal(0, 20, (1, 3, 16, 16)).astype(np.float32)

    found = run(float_form(model), {"pixels": pixels})

    padded = np.pad(pixels[0], ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    wanted = windows.max((3, 4))[:2] * np.float32([2, 4]).reshape(2, 1, 1)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-6)


def test_a_scale_that_is_computed_is_refused() -> None:
    model = one_conv(activation_zero=np.int8(0))
    model.graph.node[0].input[1] = "sum"
    model.graph.node.insert(0, helper.make_node("ReduceSum", ["pixels"], ["sum"], keepdims=0))

    with pytest.raises(InputFileError, match="a scale that is no constant"):
        float_form(model)


def test_a_quantised_file_is_built_as_int8_only() -> None:
    with pytest.raises(UsageError, match=r"net\.onnx is INT8 already") as refused:
        refuse_second_quantization("net.onnx", int8=False, given=[])

    assert "--int8" in refused.value.fix


def test_a_quantised_file_is_not_calibrated() -> None:
    with pytest.raises(UsageError, match="--calibrate has no use"):
        refuse_second_quantization("net.onnx", int8=True, given=["calibrate", "method"])


def test_a_quantised_file_as_it_is_raises_nothing() -> None:
    refuse_second_quantization("net.onnx", int8=True, given=[])
