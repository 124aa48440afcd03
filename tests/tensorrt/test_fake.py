"""The fake has the names of a recorded version and no others, and parses as strictly."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.device.fakes import fake_gpu
from tests.tensorrt.fake_plan import HostMemory
from tests.tensorrt.fake_state import Board
from tests.tensorrt.fake_use import (
    FLOATS,
    TAIL,
    Use,
    model,
    node,
    quantized,
)
from tests.tensorrt.fakes import MADE, fake_tensorrt, made_module
from tests.tensorrt.surface import VERSIONS, parameters, surface

Make = Callable[..., Use]

pytestmark = pytest.mark.needs("onnx", "onnxruntime")


@pytest.mark.parametrize("version", VERSIONS)
def test_fake_has_the_names_of_the_surface_and_no_others(version: str) -> None:
    module, known = made_module(version, Board()), surface(version)
    top = {name for name in vars(module) if name[0] != "_"} - {"fake"}
    nested = {"ILogger.Severity"}
    assert top == {*known.classes, *known.enums, *known.functions, *known.constants} - nested
    for name, item in known.classes.items():
        made = getattr(module, name)
        given = HostMemory(b"") if made is HostMemory else made
        public = {n for n in dir(made) if n[0] != "_" and hasattr(given, n) and not _is_severity(n)}
        wanted = {n for n in (*item.methods, *item.properties) if n[0] != "_"}
        inherited = {n for base in item.bases for n in known.classes[base].methods if n[0] != "_"}
        assert public - {"Severity"} == wanted | inherited, name


@pytest.mark.parametrize("version", VERSIONS)
def test_enums_of_the_fake_have_the_values_of_the_surface(version: str) -> None:
    module = made_module(version, Board())
    for name, members in surface(version).enums.items():
        owner: Any = module
        for part in name.split("."):
            owner = getattr(owner, part)
        assert {key: int(value) for key, value in owner.__members__.items()} == members


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.__name__)
def test_what_the_fake_does_has_the_parameters_of_the_surface(made: type) -> None:
    known = [
        found
        for version in VERSIONS
        if (found := surface(version).classes.get(made.__name__)) is not None
    ]
    for name, value in vars(made).items():
        if name[0] == "_" and name != "__init__":
            continue
        if isinstance(value, property):
            kinds = [item.properties[name] for item in known if name in item.properties]
            assert kinds, f"{made.__name__}.{name} is in no version"
            assert value.fset is None or any(kind.endswith("rw") for kind in kinds)
            continue
        calls = [text for item in known for text in item.methods.get(name, ())]
        assert calls or name == "__init__", f"{made.__name__}.{name} is in no version"
        given = list(inspect.signature(value).parameters.values())[1:]
        taken = {item.name for text in calls for item in parameters(text)}
        loose = {
            item.name for item in given if item.kind in {item.VAR_POSITIONAL, item.VAR_KEYWORD}
        }
        assert {item.name for item in given} - loose <= taken, f"{made.__name__}.{name}"


def test_name_that_a_version_lacks_is_an_attribute_error(use: Make) -> None:
    trt = use("11.4.0.106").trt
    with pytest.raises(AttributeError, match="FP16"):
        _ = trt.BuilderFlag.FP16
    with pytest.raises(AttributeError, match="progress_monitor"):
        use("8.6.1").config.progress_monitor = None


def test_what_the_fake_does_not_do_is_said_and_not_skipped(use: Make) -> None:
    with pytest.raises(NotImplementedError, match="does not do"):
        use().config.reset()


def test_wrong_types_are_refused(use: Make) -> None:
    case = use()
    for call in (
        lambda: case.config.set_flag(1),
        lambda: case.builder.create_network(None),
        lambda: case.config.set_memory_pool_limit(case.trt.MemoryPoolType.WORKSPACE, 1.5),
        lambda: case.parser.parse("text"),
        lambda: setattr(case.config, "DLA_core", None),
    ):
        with pytest.raises(TypeError):
            call()


def test_without_a_gpu_nothing_starts() -> None:
    with fake_tensorrt("10.3.0") as trt, pytest.raises(TypeError, match="nullptr"):
        trt.Builder(trt.Logger())
    with fake_gpu(init_result=35), fake_tensorrt("10.3.0") as trt:
        logger = trt.Logger()
        with pytest.raises(TypeError, match="nullptr"):
            trt.Runtime(logger)


# The parser.


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0"])
def test_parser_names_the_operator_that_it_lacks(use: Make, version: str) -> None:
    case = use(version)
    odd = node("Cast", "frame", "pixels", to=FLOATS), node("Unique", "pixels", "scaled"), *TAIL
    assert case.parser.parse(model(*odd)) is False
    error = case.parser.get_error(0)
    assert "Unique" in error.desc()
    assert error.node() == 1
    assert error.code() == case.trt.ErrorCode.UNSUPPORTED_NODE
    if version == "8.6.1":
        assert not hasattr(error, "node_name")
    else:
        assert (error.node_name(), error.node_operator()) == ("scaled", "Unique")


def test_8_6_reads_up_to_opset_17(use: Make) -> None:
    assert use("8.6.1").parser.parse(model(opset=18)) is False
    assert use("10.3.0").parser.parse(model(opset=19)) is True


def test_8_6_needs_an_explicit_batch(use: Make) -> None:
    case = use("8.6.1")
    parser = case.trt.OnnxParser(case.builder.create_network(), case.log)
    assert parser.parse(model()) is False
    assert "explicit batch" in parser.get_error(0).desc()


def test_garbage_is_no_model(use: Make) -> None:
    case = use()
    assert case.parser.parse(b"no model") is False
    assert case.parser.num_errors == 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (quantized(zero=np.array(3, np.int8)), "y_zero_point must be 0"),
        (quantized(zero=np.array(0, np.uint8)), "UINT8"),
        (quantized(scale=0.0), "positive"),
        (
            model(
                node("DequantizeLinear", "whole scale", "bias"),
                node("Cast", "frame", "pixels", to=FLOATS),
                node("Add", "pixels bias", "scaled"),
                *TAIL,
                whole=np.zeros(3, np.int32),
                scale=np.array(0.5, np.float32),
            ),
            "INT32",
        ),
    ],
    ids=["zero point", "uint8", "scale", "bias"],
)
def test_quantisation_that_tensorrt_does_not_know_is_refused(
    use: Make, data: bytes, why: str
) -> None:
    case = use()
    assert case.parser.parse(data) is False
    assert why in case.parser.get_error(0).desc()


def _is_severity(name: str) -> bool:
    return name in surface(VERSIONS[0]).enums["ILogger.Severity"]
