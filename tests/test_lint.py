"""`edgeseg lint`: one file, its verdict, the exit code."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from edgeseg import cli
from edgeseg.errors import InputFileError, UsageError
from edgeseg.graph.lint_rules import RULES
from edgeseg.lint import LintReport, lint
from tests.graph.sketch import CHANNELS, Sketch

pytestmark = pytest.mark.needs("onnx", "onnxsim")

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Exit code, stdout and stderr of `edgeseg lint` with these arguments."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(cli, "VERBS", (*(set(cli.VERBS) - {"lint"}), "lint"))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgeseg", "lint", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    yield run
    signal.signal(signal.SIGTERM, handler)


def saved(model: ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    onnx.save(model, path)
    return path


def half_int8() -> Sketch:
    """A convolution in INT8 and one of the same size in float."""
    s = Sketch()
    weight = s.constant("w", np.ones((CHANNELS, CHANNELS, 1, 1), np.float32))
    s.add("Conv", [s.conv("x", "first"), weight], "second")
    return s


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return saved(half_int8().model("second_out"), tmp_path)


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """Its Q/DQ before the activation costs a kernel."""
    s = half_int8()
    out = s.add("Relu", [s.pair("second_out", "between")], "relu")
    return saved(s.model(out), tmp_path)


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    """The same, and a Softmax that reads INT8, and a zero point that is not 0."""
    s = half_int8()
    s.add("Softmax", [s.pair("second_out", "between")], "shares")
    out = s.add("Relu", ["between_dq_out"], "relu")
    s.weights["first_x_zero"] = np.int8(3)
    return saved(s.model(out, "shares_out"), tmp_path)


def test_a_clean_file(clean: Path, call: Call) -> None:
    found = lint(clean)

    work = 8 * 8 * CHANNELS * CHANNELS
    assert (found.macs, found.macs_int8) == (2 * work, work)
    assert (found.refused, found.accuracy, found.slower, found.findings) == (0, 0, 0, [])
    assert found.verdict == "50.0 % of the MACs are INT8; no rule of TensorRT 8.6 is broken"
    assert call(clean, "--strict") == (0, f"{clean}: {found.verdict}\n", "")


def test_what_is_slower_exits_5_only_where_asked(slow: Path, call: Call) -> None:
    code, out, err = call(slow)

    assert (code, err) == (0, "")
    assert "between_q" in out
    assert "the activation is not fused" in out
    assert out.endswith("TensorRT 8.6 takes it: 1 slower\n")
    assert call(slow, "--strict")[0] == 5


def test_what_is_refused_exits_5_and_stands_first(refused: Path, call: Call) -> None:
    code, out, err = call(refused, "--json")
    found = json.loads(out)

    assert (code, err, found["schema"]) == (5, "", 1)
    assert {field.name for field in fields(LintReport)} == set(found) - {"schema"}
    assert [(item["severity"], item["node"]) for item in found["findings"]] == [
        ("refused", "first_x_q"),
        ("refused", "first_x_dq"),
        ("accuracy", "shares"),
        ("slower", "between_q"),
    ]
    assert all(item["rule"] and item["cost"] and item["id"] in RULES for item in found["findings"])
    assert (found["refused"], found["accuracy"], found["slower"]) == (2, 1, 1)
    assert "refuses it: 2 refused, 1 at the cost of accuracy, 1 slower" in found["verdict"]


def test_the_version_decides(tmp_path: Path, call: Call) -> None:
    s = Sketch(opset=19)
    path = saved(s.model(s.add("Relu", ["x"], "relu")), tmp_path)
    assert lint(path).verdict == "not quantised; TensorRT 8.6 refuses it: 1 refused"
    assert lint(path, tensorrt="10.3").findings == []
    assert call(path)[0] == 5
    assert call(path, "--tensorrt", "10.3")[0] == 0


@pytest.mark.parametrize("text", ["", "8", "6.0", "ten"])
def test_a_version_that_cannot_be_checked_for(clean: Path, call: Call, text: str) -> None:
    with pytest.raises(UsageError):
        lint(clean, tensorrt=text)
    code, out, err = call(clean, "--tensorrt", text)
    assert (code, out) == (2, "")
    assert "fix: " in err


def test_integer_operators_are_recognised(tmp_path: Path) -> None:
    s = Sketch()
    weight = s.constant("w", np.ones((CHANNELS, CHANNELS, 1, 1), np.int8))
    integers = s.add("Cast", ["x"], "integers", to=onnx.TensorProto.INT8)
    out = s.add("ConvInteger", [integers, weight], "conv")
    found = lint(saved(s.model(out, kind=onnx.TensorProto.INT32), tmp_path))
    assert found.quantization == "operators"
    assert [item.id for item in found.findings] == ["integer-operator"]


def test_without_a_fixed_size_there_is_no_share(tmp_path: Path) -> None:
    s = half_int8()
    s.entry = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, CHANNELS, "h", "w"])
    found = lint(saved(s.model("second_out"), tmp_path))
    assert (found.macs, found.macs_int8) == (None, None)
    assert found.verdict == "quantised; no rule of TensorRT 8.6 is broken"


def test_a_file_of_functions_is_looked_into(tmp_path: Path) -> None:
    s = Sketch()
    s.add("Block", ["x"], "block", domain="own")
    model = s.model("block_out")
    nodes = [
        helper.make_node("Constant", [], ["scale"], value_float=0.1),
        helper.make_node("Constant", [], ["zero"], value=numpy_helper.from_array(np.int8([0])[0])),
        helper.make_node("QuantizeLinear", ["y", "scale", "zero"], ["y_q"]),
        helper.make_node("DequantizeLinear", ["y_q", "scale", "zero"], ["y_dq"]),
        helper.make_node("Softmax", ["y_dq"], ["z"]),
    ]
    imports = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Block", ["y"], ["z"], nodes, imports))
    found = lint(saved(model, tmp_path))
    assert [item.id for item in found.findings] == ["softmax"]


def test_a_file_that_is_missing_or_cut_or_no_onnx_or_a_folder(
    clean: Path, tmp_path: Path, call: Call
) -> None:
    cut, text = tmp_path / "cut.onnx", tmp_path / "text.onnx"
    cut.write_bytes(clean.read_bytes()[:200])
    text.write_text("not a network")
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "graph.onnx").write_bytes(clean.read_bytes())
    for path, said in (
        (tmp_path / "none.onnx", "does not exist"),
        (cut, "not a whole ONNX file"),
        (text, "not a whole ONNX file"),
        (tmp_path / "engine", "engine/graph.onnx"),
    ):
        code, out, err = call(path)
        assert (code, out) == (8, "")
        assert said in err
        assert "fix: " in err


def test_a_file_whose_weights_are_missing(clean: Path, tmp_path: Path) -> None:
    path = tmp_path / "outside.onnx"
    onnx.save(
        onnx.load(clean), path, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    assert lint(path).verdict == lint(clean).verdict
    (tmp_path / "w.bin").unlink()
    with pytest.raises(InputFileError, match="data file beside it") as found:
        lint(path)
    assert "w.bin" in str(found.value)


@pytest.mark.parametrize(
    "name",
    [
        "anilsathyan7-sinet",
        "kazuhito00-deeplab_v3_mnv2_voc",
        "kazuhito00-road_segmentation_adas_0001",
    ],
)
def test_networks_of_others_in_float_break_no_rule(shared: Path, name: str) -> None:
    found = lint(shared / "onnx" / f"{name}.onnx")
    assert found.verdict == "not quantised; no rule of TensorRT 8.6 is broken"
    assert found.macs_int8 in {0, None}


def test_the_manual_names_every_rule(root: Path) -> None:
    page = (root / "docs" / "lint.md").read_text()
    assert [rule for rule in RULES if f"| `{rule}` |" not in page] == []
