"""Looking into engines: the layers of a plan, and plans against each other."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeseg.backends.layers import Layer
from edgeseg.engine import Engine
from edgeseg.errors import EngineMismatch, UsageError
from edgeseg.inspect import inspect
from edgeseg.inspect_layers import table_of
from edgeseg.manifest import read_manifest, write_manifest

pytestmark = pytest.mark.needs("onnx", "openvino", "onnxruntime", "polygraphy", "cv2")


def convolutions(folder: Path) -> dict[str, bool]:
    """The convolutions of the graph, and whether it dequantises both of their inputs."""
    nodes = onnx.load(folder / "graph.onnx").graph.node
    integer = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    return {
        node.name: {*node.input[:2]} <= integer
        for node in nodes
        if node.op_type in {"Conv", "ConvTranspose"}
    }


def layer(name: str, precision: str, *, reformats: bool = False) -> Layer:
    return Layer(
        name=name, kind="", precision=precision, output="", nodes=(name,), reformats=reformats
    )


def test_convolutions_that_the_graph_quantises_run_in_int8(small_int8: Path) -> None:
    planned = convolutions(small_int8)

    table = inspect(small_int8, layers=True).plan

    assert table is not None
    assert table.backend == "openvino"
    where = table.stayed_float
    assert sum(table.convolutions.values()) == len(planned)
    assert table.convolutions["int8"] == len(planned) - len(where) >= 0.9 * sum(planned.values())
    assert {name for name, why in where.items() if why == "in the graph"} == {
        name for name, integer in planned.items() if not integer
    }


def test_each_node_is_in_the_layer_that_it_became(small_int8: Path) -> None:
    table = inspect(small_int8, layers=True).plan

    assert table is not None
    of_node = {node: item for item in table.layers for node in item.nodes}
    for name in convolutions(small_int8):
        assert of_node[name].kind in {"Convolution", "Deconvolution"}
    assert table.reformats == sum(item.kind in {"Reorder", "Convert"} for item in table.layers)
    assert table.reformat_percent == pytest.approx(100 * table.reformats / len(table.layers))


def test_a_float_engine_has_nothing_that_stayed_float(small_fp32: Path) -> None:
    table = inspect(small_fp32, layers=True).plan

    assert table is not None
    assert set(table.convolutions) == {"fp32"}
    assert table.stayed_float == {}


def test_what_the_backend_left_in_float_is_told_from_what_the_graph_did(small_int8: Path) -> None:
    planned = convolutions(small_int8)
    first, second, third = [name for name, integer in planned.items() if integer][:3]
    layers = [
        layer(first, "fp16"),
        layer(second, "int8"),
        layer("copy", "int8", reformats=True),
        layer(third, "fp32"),
    ]

    table = table_of("tensorrt", layers, small_int8 / "graph.onnx")

    assert table.stayed_float == {first: "in the plan", third: "in the plan"}
    assert table.precisions == {"fp16": 1, "int8": 1, "fp32": 1}
    assert (table.reformats, table.reformat_percent) == (1, 25.0)


def test_the_plan_against_the_graph_is_what_numpy_counts(small_int8: Path) -> None:
    found = inspect(small_int8, compare=["onnxruntime"]).comparison

    assert found is not None
    assert (found.backend, found.data) == ("openvino", "verify.npz")
    (only,) = found.against
    with np.load(small_int8 / "verify.npz") as held:
        images = held["images"]
    graph = _exact(small_int8)
    with Engine.open(small_int8) as engine:
        pairs = [(engine(image), graph(image)) for image in images]
    different = [int((a != b).sum()) for a, b in pairs]
    assert found.frames == len(images)
    assert only.output == "labels"
    assert only.different == sum(different)
    assert only.agreement == pytest.approx(100 - 100 * np.mean(different) / pairs[0][0].size)
    assert only.worst == f"verify-{int(np.argmax(different))}"


def _exact(folder: Path):  # type: ignore[no-untyped-def]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(folder / "graph.onnx", options)
    return lambda image: session.run(None, {"frame": image[None]})[0][0]


def test_without_pictures_the_street_is_looked_at(small_null: Path) -> None:
    assert not (small_null / "verify.npz").exists()

    found = inspect(small_null, compare=["onnxruntime"], backend="null").comparison

    assert found is not None
    assert found.data == "synthetic"
    (only,) = found.against
    assert only.other == "graph.onnx"
    assert only.different > 0  # the null plan says 0 everywhere


def test_a_plan_of_another_machine_is_refused(small_int8: Path, tmp_path: Path) -> None:
    folder = tmp_path / "engine"
    shutil.copytree(small_int8, folder)
    manifest = read_manifest(folder)
    plan = manifest.plans["openvino"]
    plan = plan.model_copy(update={"fingerprint": {**plan.fingerprint, "version": "2019.1"}})
    write_manifest(manifest.model_copy(update={"plans": {"openvino": plan}}), folder)

    for asked in ({"layers": True}, {"compare": ["onnxruntime"]}):
        with pytest.raises(EngineMismatch, match=r"2019\.1"):
            inspect(folder, **asked)  # type: ignore[arg-type]


def test_a_plan_that_does_not_say_what_is_in_it_is_refused(small_null: Path) -> None:
    with pytest.raises(UsageError, match="null does not say") as refused:
        inspect(small_null, layers=True, backend="null")

    assert "tensorrt" in refused.value.fix


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"compare": ["openvino"]}, "is the one that is compared"),
        ({"compare": ["openvin"]}, "no backend 'openvin'"),
        ({"backend": "openvino"}, "nothing of a plan was asked for"),
    ],
)
def test_contradictions_are_refused(small_int8: Path, asked: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        inspect(small_int8, **asked)  # type: ignore[arg-type]


def test_a_graph_has_no_layers(small_int8: Path) -> None:
    with pytest.raises(UsageError, match="layers are those of a plan"):
        inspect(small_int8 / "graph.onnx", layers=True)


def test_a_plan_that_the_folder_lacks_is_named(small_int8: Path) -> None:
    with pytest.raises(EngineMismatch, match="no tensorrt plan"):
        inspect(small_int8, compare=["tensorrt"])
