"""What `edgeseg inspect` prints of a plan."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call

pytestmark = pytest.mark.needs("onnx", "openvino", "onnxruntime", "polygraphy", "cv2")


def test_layers_and_comparison_are_tables(edgeseg_cli: Call, small_int8: Path) -> None:
    done = edgeseg_cli("inspect", small_int8, "--layers", "--compare", "onnxruntime")

    assert done.code == 0, done.err
    for words in ("layers of the openvino plan", "only reformat", "same pixels", "graph.onnx"):
        assert words in done.out
    assert "graph.onnx is the graph in the arithmetic that it spells out" in done.out
    assert done.err == ""


def test_json_has_every_layer_and_every_plan(edgeseg_cli: Call, small_int8: Path) -> None:
    done = edgeseg_cli("inspect", small_int8, "--layers", "--compare", "onnxruntime", "--json")

    found = json.loads(done.out)
    assert found["plan"]["layers"][0].keys() == {
        "name", "kind", "precision", "output", "nodes", "reformats"
    }  # fmt: skip
    (only,) = found["comparison"]["against"]
    assert 90 < only["agreement"] <= 100


def test_a_backend_without_a_question_exits_2(edgeseg_cli: Call, small_int8: Path) -> None:
    done = edgeseg_cli("inspect", small_int8, "--backend", "openvino")

    assert done.code == 2
    assert "--layers" in done.err
