"""What TensorRT's engine inspector says becomes layers, in the forms of all versions."""

import json

import pytest

from edgeseg.backends.layers import layers_from_inspector
from edgeseg.errors import EngineMismatch

FORM_8 = {
    "Name": "/stem/Conv + /stem/Relu",
    "LayerType": "CaskConvolution",
    "Inputs": [
        {
            "Name": "pixels",
            "Dimensions": [1, 3, 96, 128],
            "Format/Datatype": "Four wide channel vectorized row major Int8 format.",
        }
    ],
    "Outputs": [
        {
            "Name": "stem",
            "Dimensions": [1, 16, 48, 64],
            "Format/Datatype": "Channel major FP16 format where channel % 8 == 0",
        }
    ],
    "ParameterType": "Convolution",
    "Weights": {"Type": "Int8", "Count": 432},
    "TacticName": "sm87_xmma_fprop_i8i8_i8i32",
    "Metadata": "[ONNX Layer: /stem/Conv]\x1e[ONNX Layer: /stem/Relu]",
}
FORM_10 = {
    "Name": "__myl_MulAddResh_myl0_3",
    "LayerType": "kgen",
    "Inputs": [{"Name": "a", "Format/Datatype": "Half"}, {"Name": "b", "Format/Datatype": "Int8"}],
    "Outputs": [{"Name": "c", "Format/Datatype": "Float"}],
    "Metadata": "[ONNX Layer: m[0]/Mul]\x1f[ONNX Layer: m[0]/Add]",
}


def written(*rows: object) -> str:
    """As TensorRT writes it: control characters in names are not escaped."""
    text = json.dumps({"Layers": rows, "Bindings": ["frame", "labels"]})
    return text.replace("\\u001e", "\x1e").replace("\\u001f", "\x1f")


def test_a_layer_of_version_8() -> None:
    (found,) = layers_from_inspector(written(FORM_8))

    assert (found.name, found.kind) == ("/stem/Conv + /stem/Relu", "CaskConvolution")
    assert (found.precision, found.reformats) == ("int8", False)
    assert found.output == "Channel major FP16 format where channel % 8 == 0"
    assert found.nodes == ("/stem/Conv", "/stem/Relu")


def test_a_fused_layer_of_version_10() -> None:
    (found,) = layers_from_inspector(written(FORM_10))

    assert (found.kind, found.precision, found.output) == ("kgen", "fp16", "Float")
    assert found.nodes == ("m[0]/Mul", "m[0]/Add")


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("Row major linear FP32", "fp32"),
        ("Row major linear FP16 format", "fp16"),
        ("Row major linear BFloat16 format", "bf16"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("Channel major INT8 format where channel % 16 == 0", "int8"),
        ("Row major linear UInt8 format", "uint8"),
        ("Row major linear INT32", "int32"),
        ("Half", "fp16"),
        ("Float", "fp32"),
        ("Unknown format", None),
        ("", None),
    ],
)
def test_every_way_to_write_a_type(text: str, precision: str | None) -> None:
    row = {"Name": "x", "LayerType": "Resize", "Inputs": [{"Format/Datatype": text}]}

    (found,) = layers_from_inspector(written(row))

    assert found.precision == precision


def test_type_and_format_may_have_keys_of_their_own() -> None:
    row = {"Name": "x", "Outputs": [{"Name": "y", "Format": "NHWC8", "Datatype": "Half"}]}

    (found,) = layers_from_inspector(written(row))

    assert (found.precision, found.output) == ("fp16", "NHWC8 Half")


@pytest.mark.parametrize(
    ("row", "reformats"),
    [
        ({"Name": "Reformatting CopyNode for Input Tensor 0 to a", "LayerType": "Reformat"}, True),
        ({"Name": "x copy", "LayerType": "Reformat", "Origin": "QDQ"}, True),
        ({"Name": "x", "LayerType": "gather", "ParameterType": "Reformat"}, True),
        ({"Name": "Reformatting CopyNode for Network Input frame", "LayerType": "NoOp"}, False),
        ({"Name": "Resize_resized", "LayerType": "Resize"}, False),
        ("Reformatting CopyNode for Output Tensor 0 to b", True),
    ],
)
def test_what_only_reformats_is_known_by_type_or_name(row: object, reformats: bool) -> None:
    (found,) = layers_from_inspector(written(row))

    assert found.reformats is reformats


def test_a_plan_without_details_gives_names() -> None:
    (found,) = layers_from_inspector(written("a + b"))

    assert (found.name, found.kind, found.precision) == ("a + b", "", None)
    assert found.nodes == ("a", "b")


def test_streams_that_wait_are_no_layers() -> None:
    rows = [{"Name": "entry^bb^signal", "LayerType": "signal"}, FORM_10, {"LayerType": "wait"}]

    assert [found.kind for found in layers_from_inspector(written(*rows))] == ["kgen"]


@pytest.mark.parametrize("text", ["", "{", '{"Layers": [{]}'])
def test_a_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(EngineMismatch, match="cannot be read"):
        layers_from_inspector(text)


@pytest.mark.parametrize("text", ["{}", "[]", '{"Layers": null}', '{"Layers": [{}]}', "3"])
def test_less_than_expected_is_no_error(text: str) -> None:
    assert len(layers_from_inspector(text)) <= 1
