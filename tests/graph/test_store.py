"""The small form of a float core: half the file, the same function to FP16 rounding."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from edgeseg.graph.nodes import constants
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.store import SMALLEST, half_stored
from edgeseg.types import Size
from tests.networks import SIZE, picture, pixels_of, tiny_core
from tests.oracle import run


@pytest.fixture
def model() -> ModelProto:
    return tiny_core(symbolic=True, opset=18)


def test_it_computes_exactly_what_weights_rounded_to_fp16_give(model: ModelProto) -> None:
    feeds = {"pixels": pixels_of(picture())}
    rounded = ModelProto()
    rounded.CopyFrom(model)
    for item in rounded.graph.initializer:
        value = numpy_helper.to_array(item)
        if value.dtype == np.float32 and value.size >= SMALLEST:
            value = value.astype(np.float16).astype(np.float32)
            item.CopyFrom(numpy_helper.from_array(value, item.name))
    found = run(half_stored(model), feeds)
    np.testing.assert_array_equal(found, run(rounded, feeds))
    wanted = run(model, feeds)
    assert 0 < np.abs(found - wanted).max() < 1e-2 * np.abs(wanted).max()


def test_larger_weights_take_half_the_bytes_and_small_ones_stay(model: ModelProto) -> None:
    before = {item.name: item for item in model.graph.initializer}
    after = {item.name: item for item in half_stored(model).graph.initializer}
    large = [
        name
        for name, item in before.items()
        if item.data_type == TensorProto.FLOAT and np.prod(item.dims, dtype=int) >= SMALLEST
    ]
    assert len(large) == 13  # the weight of each convolution; biases are smaller
    for name in large:
        assert name not in after
        half = after[f"{name}_fp16"]
        assert half.data_type == TensorProto.FLOAT16
        assert 2 * len(half.raw_data) == len(before[name].raw_data)
    for name in before.keys() - set(large):
        assert after[name] == before[name]


def test_the_file_is_about_half_as_large() -> None:
    model = tiny_core(classes=2000)  # so that weights, not names, fill the file
    assert half_stored(model).ByteSize() < 0.62 * model.ByteSize()


def test_simplifying_gives_a_plain_float_core(model: ModelProto) -> None:
    core = fixed_core(half_stored(model), Size(*SIZE))
    assert {value.dtype for value in constants(core).values()} <= {
        np.dtype(np.float32),
        np.dtype(np.int64),
    }
    assert "Cast" not in {node.op_type for node in core.graph.node}


def test_notes_of_the_exporter_are_dropped_and_the_model_is_sound(model: ModelProto) -> None:
    model.graph.node[0].doc_string = "file.py line 3"
    model.graph.node[0].metadata_props.add(key="source", value="/home/me")
    model.metadata_props.add(key="source", value="/home/me")
    small = half_stored(model)
    onnx.checker.check_model(small, full_check=True)
    assert b"/home/me" not in small.SerializeToString()
    assert b"file.py" not in small.SerializeToString()
    assert model.graph.node[0].doc_string  # the given one stays as it is
