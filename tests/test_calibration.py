"""Ranges for a recipe: what they cover, when they are reused, and what is refused."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from PIL import Image

from edgeseg.calibration import check_fits, ranges_for
from edgeseg.errors import BuildError, InputFileError, UsageError
from edgeseg.graph.quantize import activation_tensors
from edgeseg.graph.simplify import fixed_core
from edgeseg.graph.tap import float_activations, tapped
from edgeseg.ranges import Ranges, read_ranges
from edgeseg.recipe import Recipe
from edgeseg.types import Size
from tests.networks import tiny_core
from tests.oracle import run_all
from tests.small import street, write_pictures

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim", "openvino", "cv2", "PIL")

SIZE = Size(48, 64)
Calibrate = Callable[..., Ranges]


@pytest.fixture(scope="module")
def core() -> ModelProto:
    return fixed_core(tiny_core(symbolic=True, opset=18), SIZE)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four pictures of the network's own size, in a folder of their own."""
    return write_pictures(tmp_path / "photos", range(4), masks=False, size=SIZE) / "images"


@pytest.fixture
def calibrate(
    photos: Path, core: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Calibrate:
    """Calibrates the tiny network; what differs from the usual is given by name."""
    monkeypatch.chdir(tmp_path)

    def run(graph: ModelProto = core, **changes: object) -> Ranges:
        return ranges_for(recipe(**{"data": str(photos), **changes}), graph)

    return run


def recipe(**changes: object) -> Recipe:
    values = {"method": "percentile", "count": 100, "std": (64.0, 64.0, 64.0), **changes}
    return Recipe.model_validate(
        {
            "network": "tiny",
            "precision": "int8",
            "size": str(SIZE),
            "frame": str(values.get("frame", SIZE)),
            "keep_fp16": values.get("keep_fp16", []),
            "description": {"mean": (128, 128, 128), "std": values["std"], "labels": ["a", "b"]},
            "calibration": {
                "data": values["data"],
                "count": values["count"],
                "method": values["method"],
            },
        }
    )


def by_hand(core: ModelProto, photos: Path) -> dict[str, np.ndarray]:
    """Every activation on all pictures, by ONNX Runtime."""
    names = float_activations(core)
    rows = []
    for path in sorted(photos.iterdir()):
        pixels = (np.array(Image.open(path), np.float32) - 128) / 64
        rows.append(run_all(tapped(core, names), {"pixels": pixels.transpose(2, 0, 1)[None]}))
    return {
        name: np.stack(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }


def test_every_float_activation_has_its_range(
    calibrate: Calibrate, core: ModelProto, photos: Path
) -> None:
    found = calibrate(method="minmax").tensors
    wanted = by_hand(core, photos)
    assert found.keys() == wanted.keys()
    assert len(found) > len(activation_tensors(core)) + 5
    for name, values in wanted.items():
        assert found[name].min == pytest.approx(values.min(), abs=1e-4)
        assert found[name].max == pytest.approx(values.max(), abs=1e-4)
        assert found[name].amax == pytest.approx(np.abs(values).max(), abs=1e-4)


@pytest.mark.parametrize("percent", [95, 99.9])
def test_a_percentile_is_numpys(
    calibrate: Calibrate, core: ModelProto, photos: Path, percent: float
) -> None:
    found = calibrate(method=f"percentile:{percent}")
    assert found.method == f"percentile:{percent}"
    for name, values in by_hand(core, photos).items():
        reach = 2 * np.abs(values).max() / 2048
        low, high = (
            np.percentile(np.abs(values), percent, method=side) for side in ("lower", "higher")
        )
        assert low - reach <= found.tensors[name].amax <= high + reach


def test_auto_writes_down_what_it_took(calibrate: Calibrate) -> None:
    found = calibrate(method="auto")
    assert found.method == "auto"
    taken = {item.method for item in found.tensors.values()}
    assert len(taken) > 1
    assert "auto" not in taken


def test_large_maps_have_the_extremes_of_all_their_values(
    calibrate: Calibrate, core: ModelProto, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeseg.observing.SAMPLES", 400)
    monkeypatch.setattr("edgeseg.observing.FEWER_SAMPLES", 100)
    found = calibrate(method="minmax").tensors
    for name, values in by_hand(core, photos).items():
        assert found[name].amax == pytest.approx(np.abs(values).max(), abs=1e-4)


def test_the_same_pictures_give_the_same_file_again(calibrate: Calibrate) -> None:
    path = Path("calibration", f"tiny-int8-{SIZE}", "ranges.json")
    calibrate(method="auto")
    first = path.read_bytes()
    path.unlink()
    calibrate(method="auto")
    assert path.read_bytes() == first


def test_ranges_are_reused_whatever_stays_in_float(
    calibrate: Calibrate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = calibrate()
    assert calibrate(keep_fp16=["*"]) == first
    assert "reusing" in caplog.text
    assert "4 pictures, percentile" in caplog.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "mse"}, r"method changed \(percentile -> mse\) since"),
        ({"count": 3}, r"images changed \(4 -> 3 pictures, 0 new, 1 gone\) since"),
        ({"std": (1.0, 2.0, 3.0)},
         r"preprocessing changed \(std \(64.0, 64.0, 64.0\) -> \(1.0, 2.0, 3.0\)\) since"),
        ({"method": "mse", "count": 2}, r"images changed \(.*\); method changed \(.*\) since"),
    ],
)  # fmt: skip
def test_the_log_says_what_changed_and_how(
    calibrate: Calibrate, caplog: pytest.LogCaptureFixture, changes: dict[str, object], said: str
) -> None:
    calibrate()
    calibrate(**changes)
    (line,) = [record.message for record in caplog.records if "again" in record.message]
    assert re.match(f"calibrating again: {said}", line)


def test_another_picture_is_a_new_one(
    calibrate: Calibrate, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calibrate()
    Image.fromarray(street(77, SIZE)[0]).save(photos / "2.png")
    Image.fromarray(street(78, SIZE)[0]).save(photos / "9.png")
    calibrate()
    assert "images changed (4 -> 5 pictures, 2 new, 1 gone)" in caplog.text


def test_the_same_pictures_in_another_order_are_named_so(
    calibrate: Calibrate, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calibrate()
    (photos / "0.png").rename(photos / "z.png")
    calibrate()
    assert "images changed (the same pictures in another order)" in caplog.text


def test_the_same_pictures_elsewhere_are_the_same(
    calibrate: Calibrate, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    calibrate()
    shutil.copytree(photos, photos.parent / "moved")
    calibrate(data=str(photos.parent / "moved"))
    assert "reusing" in caplog.text


def with_other_weights(core: ModelProto) -> ModelProto:
    other = ModelProto()
    other.CopyFrom(core)
    weight = next(item for item in other.graph.initializer if len(item.dims) == 4)
    values = numpy_helper.to_array(weight) * 1.5
    weight.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weight.name))
    return other


def with_other_end(core: ModelProto) -> ModelProto:
    other = ModelProto()
    other.CopyFrom(core)
    last = next(node for node in other.graph.node if "logits" in node.output)
    last.output[0] = "scores"
    other.graph.node.append(helper.make_node("Relu", ["scores"], ["logits"], name="new"))
    return other


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_other_weights, "the activations have the same names, but other weights or nodes"),
        (with_other_end, "1 of its .* activations have no range, such as 'scores'"),
    ],
)
def test_ranges_of_another_graph_are_neither_reused_nor_taken(
    calibrate: Calibrate,
    core: ModelProto,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[ModelProto], ModelProto],
    said: str,
) -> None:
    ranges = calibrate()
    check_fits(ranges, core)
    with pytest.raises(InputFileError, match=f"measured on another graph: {said}"):
        check_fits(ranges, change(core))
    calibrate(change(core))
    assert "calibrating again: graph changed (" in caplog.text


def test_ranges_for_int8_alone_do_not_cover_the_graph(
    calibrate: Calibrate, core: ModelProto
) -> None:
    ranges = calibrate()
    few = {name: ranges.tensors[name] for name in activation_tensors(core)}
    with pytest.raises(InputFileError, match="activations have no range"):
        check_fits(ranges.model_copy(update={"tensors": few}), core)


def test_coverage_is_kept_and_logged(
    calibrate: Calibrate, core: ModelProto, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for index in range(10, 30):
        shutil.copy(photos / "0.png", photos / f"again-{index}.png")
    found = calibrate(method="minmax")
    kept = read_ranges(Path("calibration", f"tiny-int8-{SIZE}", "ranges.json"))
    assert kept == found
    assert found.settled_after is not None
    assert found.settled_after <= 24
    assert f"the ranges settled after {found.settled_after} of 24 pictures" in caplog.text
    settled = {n: found.tensors[n].settled_after for n in found.tensors}
    assert {name for name, after in settled.items() if after} == set(activation_tensors(core))


def test_one_picture_works_and_warns(
    calibrate: Calibrate, caplog: pytest.LogCaptureFixture
) -> None:
    found = calibrate(count=1)
    assert found.count == 1
    assert found.settled_after is None
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert any("one picture alone" in line for line in warned)


def test_ranges_that_have_not_settled_are_warned_about(
    calibrate: Calibrate, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for index, level in enumerate((130, 140, 160, 255)):
        Image.fromarray(np.full((*SIZE, 3), level, np.uint8)).save(photos / f"{index}.png")
    assert calibrate().settled_after is None
    assert "the ranges have not settled after 4 pictures; still moving: pixels" in caplog.text


def test_unreadable_pictures_are_skipped_and_counted(
    calibrate: Calibrate, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (photos / "1.png").write_bytes(b"no picture")
    assert calibrate().count == 3
    assert "1 calibration pictures could not be read" in caplog.text
    listed = Path("calibration", f"tiny-int8-{SIZE}", "images.txt").read_text().splitlines()
    assert listed[1:] == ["0", "2", "3"]


def test_not_one_readable_picture_is_refused(calibrate: Calibrate, photos: Path) -> None:
    for path in photos.iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(InputFileError, match="no picture that can be read"):
        calibrate()
    assert not Path("calibration", f"tiny-int8-{SIZE}", "ranges.json").exists()


@pytest.mark.parametrize(
    ("size", "warned"), [(Size(90, 120), 0), (Size(48, 66), 0), (Size(40, 80), 1)]
)
def test_pictures_of_another_shape_are_resized_and_that_is_said_once(
    calibrate: Calibrate, photos: Path, caplog: pytest.LogCaptureFixture, size: Size, warned: int
) -> None:
    for index in range(4):
        Image.fromarray(street(index, size)[0]).save(photos / f"{index}.png")
    assert calibrate().count == 4
    said = [line for line in caplog.messages if "another shape" in line]
    assert len(said) == warned
    assert all(f"of {size} have another shape than frames of {SIZE}" in line for line in said)


def test_an_unknown_method_is_refused_before_anything_is_read(calibrate: Calibrate) -> None:
    with pytest.raises(UsageError, match="no calibration method 'minmx'"):
        calibrate(method="minmx", data="no/such/folder")


def small_graph(*nodes: tuple[str, list[str], str]) -> ModelProto:
    """Nodes between `pixels` and `logits`, with a convolution at the end."""
    made = [helper.make_node(op, inputs, [out], name=f"node_{out}") for op, inputs, out in nodes]
    made.append(helper.make_node("Conv", [nodes[-1][2], "w"], ["logits"], name="last"))
    shape = [1, 3, *SIZE]
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 2, *SIZE])],
        [
            numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w"),
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(np.float32(1.9), "bright"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("samples", [1 << 18, 500])
@pytest.mark.parametrize(
    "nodes",
    [
        (("Sub", ["bright", "pixels"], "room"), ("Sqrt", ["room"], "root")),
        (("Max", ["pixels", "zero"], "room"), ("Log", ["room"], "root")),
    ],
    ids=["nan", "inf"],
)  # fmt: skip
def test_a_tensor_that_is_no_number_is_refused_by_tensor_node_and_picture(
    calibrate: Calibrate,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    nodes: tuple[tuple[str, list[str], str], ...],
    samples: int,
) -> None:
    """Only one pixel of the third picture is at fault; the ones before are in order."""
    monkeypatch.setattr("edgeseg.observing.FEWER_SAMPLES", samples)
    for index in range(4):
        Image.fromarray(np.full((*SIZE, 3), 200, np.uint8)).save(photos / f"{index}.png")
    wrong = np.full((*SIZE, 3), 200, np.uint8)
    wrong[17, 20] = 255 if nodes[1][0] == "Sqrt" else 10
    Image.fromarray(wrong).save(photos / "2.png")

    with pytest.raises(BuildError, match=r"'root' \(\w+ 'node_root'\) .* on the picture 2"):
        calibrate(small_graph(*nodes, ("Relu", ["root"], "out")))

    assert not Path("calibration", f"tiny-int8-{SIZE}", "ranges.json").exists()


def test_a_dead_tensor_has_a_tiny_range_and_is_named(
    calibrate: Calibrate, caplog: pytest.LogCaptureFixture
) -> None:
    found = calibrate(small_graph(("Mul", ["pixels", "zero"], "dead"), ("Relu", ["dead"], "out")))
    assert 0 < found.tensors["dead"].amax < 1e-3
    assert (found.tensors["dead"].min, found.tensors["dead"].max) == (0, 0)
    assert "3 tensors are zero on every picture, such as dead" in caplog.text


def test_a_constant_picture_is_calibrated_on(calibrate: Calibrate, photos: Path) -> None:
    for index in range(4):
        Image.fromarray(np.full((*SIZE, 3), 192, np.uint8)).save(photos / f"{index}.png")
    assert calibrate(method="auto").tensors["pixels"].amax == 1.0


PEAK = """
import resource, sys
from multiprocessing import get_context
from pathlib import Path
import onnx
from edgeseg.calibration import ranges_for
from edgeseg.options import Options
from edgeseg.origin import core_for, recipe_for
from edgeseg.types import Precision, Size
options = Options(precision=Precision.INT8, calibrate=sys.argv[1], size=Size(1024, 2048),
                  random_weights=True)
recipe = recipe_for("unet", options)
def export():
    onnx.save(core_for(recipe), "core.onnx")
exporting = get_context("fork").Process(target=export)  # whose memory is not the calibration's
exporting.start()
exporting.join()
print(len(ranges_for(recipe, onnx.load("core.onnx")).tensors))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.torch
def test_unet_at_2048x1024_takes_less_than_4_gib(photos: Path, root: Path) -> None:
    """Memory does not grow with the pictures, so two of them show it; the maps are 12 GiB."""
    for path in sorted(photos.iterdir())[2:]:
        path.unlink()
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, str(photos)],
        cwd=photos.parent,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    tensors, peak_kib = map(int, ran.stdout.split())
    assert tensors > 50
    assert peak_kib < 4 << 20


def test_ranges_without_the_newer_fields_are_read(calibrate: Calibrate, tmp_path: Path) -> None:
    calibrate()
    path = Path("calibration", f"tiny-int8-{SIZE}", "ranges.json")
    values = json.loads(path.read_text())
    for key in ("pixels", "pictures", "settled_after", "moving"):
        del values[key]
    for item in values["tensors"].values():
        del item["method"], item["settled_after"]
    (tmp_path / "older.json").write_text(json.dumps(values))
    older = read_ranges(tmp_path / "older.json")
    assert older.tensors.keys() == read_ranges(path).tensors.keys()
    assert older.moving == []
