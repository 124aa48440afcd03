"""The benchmark of quantisers: the peers run, and its scores are what numpy says they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeseg.datasets import open_dataset
from edgeseg.recipe import Description, Recipe
from edgeseg.types import Array, Floats
from tests.small import FRAME

pytestmark = pytest.mark.needs("cv2", "onnx", "openvino", "onnxruntime")

CLASSES = 11
MEAN, STD = (100.0, 110.0, 120.0), (60.0, 50.0, 55.0)
WEIGHTS = np.random.default_rng(1).normal(0, 1, (CLASSES, 3)).astype(np.float32)
SCALES = np.random.default_rng(2).uniform(0.2, 0.3, CLASSES).astype(np.float32)
COARSE = np.rint(WEIGHTS / SCALES[:, None]).astype(np.int8)
"""The weights in a few steps: what the Q/DQ graph of these tests computes with."""


def test_folded_constants_are_those_of_the_definition() -> None:
    from onnx import TensorProto, helper, numpy_helper

    from benchmarks.quantizer_exact import exact

    rng = np.random.default_rng(0)
    stored = rng.integers(-128, 128, (4, 6), np.int8)
    scale, zero = rng.uniform(0.01, 0.1, 6).astype(np.float32), np.arange(6, dtype=np.int8)
    whole = rng.normal(0, 5, 4).astype(np.float32)
    step, middle = np.float32(0.05), np.uint8(128)
    given = {"stored": stored, "scale": scale, "zero": zero, "whole": whole, "step": step,
             "middle": middle}  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["stored", "scale", "zero"], ["weight"], axis=1),
        helper.make_node("QuantizeLinear", ["whole", "step", "middle"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "step", "middle"], ["clipped"]),
        helper.make_node("MatMul", ["x", "weight"], ["product"]),
        helper.make_node("Add", ["clipped", "weightless"], ["sum"]),
    ]
    given["weightless"] = np.zeros(4, np.float32)
    floats = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "product")]
    total = helper.make_tensor_value_info("sum", TensorProto.FLOAT, [4])
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in given.items()]
    graph = helper.make_graph(nodes, "g", floats[:1], [floats[1], total], held)

    folded = exact(helper.make_model(graph))

    assert [node.op_type for node in folded.graph.node] == ["MatMul", "Add"]
    values = {item.name: numpy_helper.to_array(item) for item in folded.graph.initializer}
    np.testing.assert_allclose(values["weight"], (stored - zero.astype(int)) * scale, rtol=1e-6)
    expected = (np.clip(np.rint(whole / step) + 128, 0, 255) - 128) * step
    np.testing.assert_allclose(values["clipped"], expected, rtol=1e-6)


def test_scores_are_those_of_the_definitions(pictures: Path) -> None:
    from benchmarks.quantizer_scores import scored

    data = open_dataset("folder:test", root=pictures)
    graphs = {"edgeseg": _qdq(), "peer": _core(WEIGHTS)}

    found = scored(_recipe(), _core(WEIGHTS), graphs, data)

    frames = [data.frame(index) for index in range(len(data))]
    pixels = [(frame.image - np.array(MEAN)) / STD for frame in frames]
    whole, coarse = ([x @ w.T for x in pixels] for w in (WEIGHTS, COARSE * SCALES[:, None]))
    noise = sum(np.square(a - b).sum() for a, b in zip(whole, coarse, strict=True))
    power = sum(np.square(a).sum() for a in whole)
    equal = [a.argmax(-1) == b.argmax(-1) for a, b in zip(whole, coarse, strict=True)]
    masks = [frame.mask for frame in frames]
    ours = found["graphs"]["edgeseg"]
    assert ours["sqnr_db"] == pytest.approx(10 * np.log10(power / noise), abs=0.01)
    assert ours["agreement"] == pytest.approx(100 * np.mean(equal), abs=0.01)
    assert ours["miou"] == pytest.approx(_miou(masks, coarse), abs=0.01)
    assert found["miou"] == pytest.approx(_miou(masks, whole), abs=0.01)
    assert ours["drop"] == pytest.approx(found["miou"] - ours["miou"])
    assert ours["int8_macs_percent"] == 0  # its pixels are float
    assert found["graphs"]["peer"]["sqnr_db"] is None
    beside = found["against"]["edgeseg"]
    assert beside["best_peers"]["tensorrt"] == {"by_miou": "peer", "by_sqnr": "peer"}
    assert beside["peers"]["peer"]["miou_below_it"] == pytest.approx(ours["drop"])


def test_graph_that_one_runtime_computes_otherwise_runs_in_the_exact_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from benchmarks import quantizer_scores

    pixels = [np.random.default_rng(2).normal(0, 1, (1, 3, *FRAME)).astype(np.float32)]
    reference = quantizer_scores.float_runner(_core(WEIGHTS).SerializeToString())
    _, trusted = quantizer_scores.exact_runner(_qdq(), reference, pixels)
    monkeypatch.setattr(quantizer_scores, "exact", lambda _: _core(WEIGHTS * 1.5))

    _, caught = quantizer_scores.exact_runner(_qdq(), reference, pixels)

    assert (trusted, caught) == ("openvino", "onnxruntime")


@pytest.mark.parametrize(
    ("peer", "environment", "taken"),
    [
        ("onnxruntime-s8-percentile", None, True),
        ("onnxruntime-u8-minmax", None, False),
        ("nncf-mixed", "EDGESEG_NNCF", False),
        ("modelopt-max", "EDGESEG_MODELOPT", True),
    ],
)
def test_peer_quantises_and_tensorrt_takes_what_it_can(
    peer: str, environment: str | None, taken: bool, root: Path, tmp_path: Path
) -> None:
    import onnx

    from benchmarks.quantizer_scores import verdict

    python = os.environ.get(environment, "") if environment else sys.executable
    if not python:
        pytest.skip(f"{environment} names no Python with the peer")
    onnx.save(_two_layers(), tmp_path / "float.onnx")
    pixels = np.random.default_rng(3).normal(0, 1, (4, 3, *FRAME)).astype(np.float32)
    np.savez(tmp_path / "pixels.npz", pixels=pixels)

    command = [
        python,
        str(root / "benchmarks/peers.py"),
        peer,
        "float.onnx",
        "pixels.npz",
        "q.onnx",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["pictures"] == 4
    found = verdict(onnx.load(tmp_path / "q.onnx"))
    assert found["int8_macs_percent"] > 50
    assert (found["refused_by_tensorrt"] == []) is taken


def test_peer_without_its_environment_is_left_out_with_the_reason() -> None:
    from benchmarks.quantizers import pythons

    found = pythons(nncf=None, modelopt=Path("no/such/python"))

    assert set(found.found) == {"onnxruntime"}
    assert found.missing["nncf"] == "--nncf was not given"
    assert "no/such/python" in found.missing["modelopt"]


def test_tables_show_the_best_peer_of_each_family() -> None:
    from benchmarks.quantizer_tables import quantizers, quantizers_speed

    reached = {"edgeseg": 50.0, "modelopt-max": 49.0, "modelopt-entropy": 49.5}
    graphs = {name: _kept(miou) for name, miou in reached.items()}
    beside = {"miou_below_it": -0.5, "miou_below_it_interval": [-0.7, 0.1]}
    against = {"edgeseg": {"peers": {"modelopt-entropy": beside}}}
    networks = {"net": {"miou": 50.1, "graphs": graphs, "against": against}}
    ratio = {"median": 1.25, "quartiles": [1.2, 1.3]}
    speeds = {name: {"latency_ms": {"p50": ms, "p99": ms}, "over": {"edgeseg": ratio}}
              for name, ms in (("modelopt-max", 5.0), ("edgeseg", 4.0))}  # fmt: skip

    heads, rows = quantizers({"networks": networks})
    speed_heads, speed = quantizers_speed({"networks": {"net": {"graphs": speeds}}})

    assert all(len(row) == len(heads) for row in rows)
    assert [row[1] for row in rows] == ["float", "edgeseg", "ModelOpt, entropy"]
    assert rows[2][-1] == "-0.50 (-0.70 to 0.10)"
    assert all(len(row) == len(speed_heads) for row in speed)
    assert [row[1] for row in speed] == ["edgeseg", "ModelOpt, max"]


def _kept(miou: float) -> dict[str, object]:
    return {"miou": miou, "drop": 0.1, "drop_interval": [0.0, 0.2], "agreement": 99.0,
            "sqnr_db": 30.0, "refused_by_tensorrt": [], "int8_macs_percent": 100.0}  # fmt: skip


def _miou(masks: list[Array | None], logits: list[Array]) -> float:
    truth = np.concatenate([np.asarray(mask).ravel() for mask in masks])
    found = np.concatenate([x.argmax(-1).ravel() for x in logits])[truth != 255]
    truth = truth[truth != 255]
    shared = [((truth == k) & (found == k)).sum() for k in range(CLASSES)]
    either = [((truth == k) | (found == k)).sum() for k in range(CLASSES)]
    return 100 * float(np.mean([s / e for s, e in zip(shared, either, strict=True) if e]))


def _recipe() -> Recipe:
    labels = list(open_dataset("synthetic:val").labels.names)
    description = Description(mean=MEAN, std=STD, labels=labels)
    return Recipe(network="own", description=description, size=str(FRAME), frame=str(FRAME))


def _core(weights: Floats):  # type: ignore[no-untyped-def]
    """A network of one 1x1 convolution."""
    return _model({"weight": weights[..., None, None].astype(np.float32)}, [])


def _qdq():  # type: ignore[no-untyped-def]
    """The same with COARSE weights behind a DequantizeLinear."""
    from onnx import helper

    node = helper.make_node("DequantizeLinear", ["stored", "scale", "zero"], ["weight"], axis=0)
    zero = np.zeros(CLASSES, np.int8)
    return _model({"stored": COARSE[..., None, None], "scale": SCALES, "zero": zero}, [node])


def _two_layers():  # type: ignore[no-untyped-def]
    """A network that is large enough for every peer to quantise it."""
    from onnx import helper

    weights = np.random.default_rng(4).normal(0, 0.1, (32, 32, 3, 3)).astype(np.float32)
    first = helper.make_node("Conv", ["pixels", "first"], ["a"], name="first", pads=[1] * 4)
    values = {"first": weights[:, :3], "second": weights, "weight": weights[:CLASSES, :, :1, :1]}
    second = helper.make_node("Conv", ["b", "second"], ["c"], name="second", pads=[1] * 4)
    acts = [helper.make_node("Relu", [x], [y], name=f"relu_{x}") for x, y in ("ab", "cd")]
    return _model(values, [first, acts[0], second, acts[1]], source="d")


def _model(values, before, source="pixels"):  # type: ignore[no-untyped-def]
    from onnx import TensorProto, helper, numpy_helper

    nodes = [*before, helper.make_node("Conv", [source, "weight"], ["logits"], name="conv")]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, *FRAME])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES, *FRAME])
    held = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "own", [pixels], [logits], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
