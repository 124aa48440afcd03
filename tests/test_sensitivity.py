"""What each layer costs, on a tiny network in an ONNX file whose ranges the tests know."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from edgeseg.datasets import open_dataset
from edgeseg.errors import InputFileError, OutputError, UsageError
from edgeseg.options import Options
from edgeseg.quantizer import Quantizer
from edgeseg.sensitivity import measured, sensitivity
from edgeseg.sensitivity_blocks import module_of, parts_of
from edgeseg.sensitivity_report import Sensitivity
from edgeseg.sensitivity_subject import Subject, subject_of
from edgeseg.sensitivity_trials import Forms, worst_first
from edgeseg.types import Precision, Size
from tests.networks import SIZE, pixels_of, small_graph
from tests.small import working_directory, write_network, write_pictures

pytestmark = pytest.mark.needs("onnx", "onnxsim", "openvino", "onnxruntime", "matplotlib", "PIL")

LAYERS = [
    "stem", "down", "project", "expand", "depthwise", "linear", "deep", "local", "pooled", "fuse",
    "detail", "refine", "classifier",
]  # fmt: skip
RUINED = "local"
PICTURES = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of the network's own size: nothing is resized."""
    folder = tmp_path_factory.mktemp("data")
    write_pictures(folder / "train", range(3), size=Size(*SIZE))
    write_pictures(folder / "val", range(100, 100 + PICTURES), size=Size(*SIZE))
    write_pictures(folder / "bare", range(2), size=Size(*SIZE), masks=False)
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("network") / "net.onnx")


@pytest.fixture(scope="module")
def subject(network: Path, data: Path) -> Subject:
    options = Options(
        precision=Precision.INT8,
        calibrate="folder:train",
        root=data,
        method="minmax",
        without=("equalize", "scales", "rounding", "bias", "spare"),
    )
    with working_directory(network.parent):
        return subject_of(network, options)


@pytest.fixture(scope="module")
def found(network: Path, data: Path) -> Sensitivity:
    with working_directory(network.parent):
        return sensitivity(
            network,
            "folder:val",
            root=data,
            calibrate="folder:train",
            top=3,
            out=network.parent / "report",
        )


def test_every_layer_and_residual_join_is_there_once(found: Sensitivity) -> None:
    assert sorted(layer.name for layer in found.layers) == sorted([*LAYERS, "residual"])
    assert sorted(name for part in found.blocks for name in part.layers) == sorted(
        layer.name for layer in found.layers
    )


def test_shares_of_the_macs_sum_to_all_of_them(found: Sensitivity) -> None:
    assert sum(layer.macs_percent for layer in found.layers) == pytest.approx(100)
    assert sum(block.macs for block in found.blocks) == sum(layer.macs for layer in found.layers)


def test_worst_layer_comes_first(found: Sensitivity) -> None:
    alone = [layer.sqnr_alone_db or np.inf for layer in found.layers]

    assert alone == sorted(alone)
    assert found.int8_sqnr_db is not None
    assert found.int8_sqnr_db < min(alone)


def test_only_the_short_list_is_evaluated(found: Sensitivity) -> None:
    evaluated = [layer for layer in found.layers if layer.alone]

    assert len(evaluated) >= 3
    assert found.pictures == PICTURES
    assert all((layer.alone is None) == (layer.left_float is None) for layer in found.layers)
    assert all(layer.alone.interval[0] <= layer.alone.interval[1] for layer in evaluated)


def test_json_is_the_result(found: Sensitivity) -> None:
    held = json.loads((found.folder / "sensitivity.json").read_text())
    wanted = json.loads(json.dumps(asdict(replace(found, folder=str(found.folder)))))

    assert held == {"schema": 1, **wanted}


def test_chart_is_written_in_both_forms_and_names_every_layer(found: Sensitivity) -> None:
    text = (found.folder / "sensitivity.svg").read_text()

    assert (found.folder / "sensitivity.png").read_bytes().startswith(b"\x89PNG")
    assert [name for name in LAYERS if f">{name}<" not in text] == []


def test_sqnr_of_a_layer_alone_is_that_of_a_numpy_quantiser(subject: Subject, data: Path) -> None:
    from edgeseg.graph.nodes import constants
    from edgeseg.graph.tap import tapped
    from tests.oracle import run_all

    node = next(node for node in subject.core.graph.node if node.name == "classifier")
    weight = constants(subject.core)[node.input[1]][..., 0, 0]  # (classes, channels)
    amax = subject.ranges.tensors[node.input[0]].amax
    opened = open_dataset("folder:val", root=data)
    power = noise = 0.0
    for index in range(PICTURES):
        feeds = {"pixels": pixels_of(opened.frame(index).image)}
        inner, logits = run_all(tapped(subject.core, [node.input[0], "logits"]), feeds)
        steps = np.abs(weight).max(1, keepdims=True) / 127
        rounded = np.rint(weight / steps) * steps
        seen = np.clip(np.rint(inner / (amax / 127)), -128, 127) * (amax / 127)
        error = np.einsum("oc,nchw->nohw", rounded, seen) - np.einsum(
            "oc,nchw->nohw", weight, inner
        )
        power, noise = power + np.square(logits).sum(), noise + np.square(error).sum()

    forms = _forms(subject, data)

    assert forms.sqnr(forms.others(["classifier"])) == pytest.approx(
        10 * np.log10(power / noise), abs=0.05
    )


def test_ruined_layer_is_the_worst_in_both_orders(subject: Subject, data: Path) -> None:
    node = next(node for node in subject.core.graph.node if node.name == RUINED)
    ruined = _with_amax(subject, node.input[0], factor=0.1)

    result = measured(ruined, open_dataset("folder:val", root=data), data, top=2)

    gains = {layer.name: layer.sqnr_gain_db or 0 for layer in result.layers}
    losses = {layer.name: layer.alone.change for layer in result.layers if layer.alone}
    # The same tensor feeds the pooled branch through ReduceMean, in float: only one layer suffers.
    assert result.layers[0].name == RUINED
    assert max(gains, key=gains.__getitem__) == RUINED
    assert max(losses, key=losses.__getitem__) == RUINED


def test_what_is_lost_is_won_back_where_everything_is_left_in_float(
    subject: Subject, data: Path
) -> None:
    forms = _forms(subject, data)

    assert forms.loss(forms.sites).change == 0
    assert forms.loss(forms.sites).agreement == 100
    assert forms.gain(forms.sites).change == pytest.approx(forms.loss().change)
    assert forms.sqnr(forms.sites) > forms.sqnr() + 40


def test_agreement_is_measured_where_there_are_no_masks(subject: Subject, data: Path) -> None:
    opened = open_dataset("folder:bare", root=data)
    result = measured(subject, opened, data, only=["fuse"], top=1)

    (layer,) = result.layers
    assert layer.alone is not None
    assert result.measure == "agreement"
    assert result.int8.change == pytest.approx(100 - result.int8.agreement)
    assert layer.alone.change == pytest.approx(100 - layer.alone.agreement)


def test_layers_that_the_recipe_keeps_are_not_reported(subject: Subject, data: Path) -> None:
    recipe = subject.recipe.model_copy(update={"keep_fp16": ["*d*", "residual", "refine"]})
    result = measured(
        replace(subject, recipe=recipe), open_dataset("folder:val", root=data), data, top=0
    )

    kept = [name for name in LAYERS if "d" in name] + ["refine"]
    assert {layer.name for layer in result.layers} == set(LAYERS) - set(kept)


def test_only_tries_what_it_names(subject: Subject, data: Path) -> None:
    opened = open_dataset("folder:val", root=data)

    result = measured(subject, opened, data, only=["classifier", "*wise"], top=1)

    assert {layer.name for layer in result.layers} == {"classifier", "depthwise"}


def test_pattern_that_matches_nothing_is_refused(subject: Subject, data: Path) -> None:
    with pytest.raises(UsageError, match="head"):
        measured(subject, open_dataset("folder:val", root=data), data, only=["head"])


def test_engine_folder_is_measured_with_its_own_ranges(small_int8: Path, pictures: Path) -> None:
    result = sensitivity(
        small_int8, "folder:val", root=pictures, only=["classifier"], top=1, out=pictures / "out"
    )

    assert [layer.module for layer in result.layers] == ["classifier"]
    assert result.layers[0].left_float is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [({"calibrate": "folder:train"}, "calibrate"), ({"size": Size(*SIZE)}, "size")],
)
def test_engine_folder_takes_no_build_options(
    small_int8: Path, pictures: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        sensitivity(small_int8, "folder:val", root=pictures, **options)  # type: ignore[arg-type]


def test_float_engine_is_refused(small_fp32: Path, pictures: Path) -> None:
    with pytest.raises(UsageError, match="fp32"):
        sensitivity(small_fp32, "folder:val", root=pictures)


def test_float_recipe_is_refused(small_fp32: Path, pictures: Path) -> None:
    with pytest.raises(UsageError, match="nothing in it is quantised"):
        sensitivity(small_fp32 / "recipe.toml", "folder:val", root=pictures)


def test_network_without_calibration_data_is_refused(network: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="calibrate"):
        sensitivity(network, "folder:val", root=data)


def test_network_without_convolutions_is_refused(tmp_path: Path, data: Path) -> None:
    from onnx import helper

    nodes = [helper.make_node("Relu", ["pixels"], ["logits"], name="relu")]
    shape = (1, 3, *SIZE)
    file = write_network(tmp_path / "relu.onnx", small_graph(nodes, {}, shape=shape, out=shape))

    with pytest.raises(UsageError, match="no layer that INT8 can compute"):
        sensitivity(file, "folder:val", root=data, calibrate="folder:train")


def test_recipe_that_keeps_everything_is_refused(subject: Subject, data: Path) -> None:
    recipe = subject.recipe.model_copy(update={"keep_fp16": ["*"]})

    with pytest.raises(UsageError, match="every layer in float"):
        measured(replace(subject, recipe=recipe), open_dataset("folder:val", root=data), data)


def test_folder_that_cannot_be_made_is_told_before_anything_is_measured(
    small_int8: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="file"):
        sensitivity(small_int8, "folder:val", root=pictures, out=tmp_path / "file" / "out")


def test_masks_without_a_scored_class_are_refused(subject: Subject, tmp_path: Path) -> None:
    from PIL import Image

    folder = write_pictures(tmp_path / "val", range(2), size=Size(*SIZE))
    for mask in (folder / "masks").iterdir():
        Image.fromarray(np.full(SIZE, 255, np.uint8)).save(mask)

    forms = _forms(subject, tmp_path)

    with pytest.raises(InputFileError, match="no class that is scored"):
        forms.loss()


def test_orders_take_turns() -> None:
    assert worst_first([1.0, 2.0, 3.0, 4.0], [0.0, 0.1, 0.2, 9.0], 3) == [0, 3, 1]


def test_modules_come_from_the_names_that_exporters_leave() -> None:
    from onnx import helper

    legacy = helper.make_node("Conv", ["x", "onnx::Conv_1"], ["y"], name="/head/0/conv/Conv")
    dynamo = helper.make_node("Conv", ["x", "head.0.weight"], ["y"], name="node_Conv_7")
    nameless = helper.make_node("Conv", ["x", "w"], ["y"], name="Conv_7")

    assert [module_of(node) for node in (legacy, dynamo, nameless)] == [
        "head.0.conv",
        "head.0",
        None,
    ]


def test_blocks_are_modules_of_a_few_layers_and_what_has_no_name_joins_its_neighbour() -> None:
    core = _chain(
        "stem.weight", "body.0.a.weight", "body.0.b.weight", "body.1.a.weight", "fresh",
        "body.1.b.weight", "body.2.a.weight", "body.2.b.weight",
    )  # fmt: skip

    assert parts_of(core, [f"n{index}" for index in range(8)]) == {
        "stem": ("n0",),
        "body.0": ("n1", "n2"),
        "body.1": ("n3", "n4", "n5"),
        "body.2": ("n6", "n7"),
    }


def test_blocks_of_a_network_without_module_names_end_at_its_joins(subject: Subject) -> None:
    assert parts_of(subject.core, [*LAYERS, "residual"]) == {
        "stem ... linear": ("stem", "down", "project", "expand", "depthwise", "linear", "residual"),
        "deep ... pooled": ("deep", "local", "pooled"),
        "fuse": ("fuse",),
        "detail": ("detail",),
        "refine ... classifier": ("refine", "classifier"),
    }


def _forms(subject: Subject, data: Path) -> Forms:
    return Forms(subject.quantizer, subject.manifest(), open_dataset("folder:val", root=data))


def _with_amax(subject: Subject, tensor: str, *, factor: float) -> Subject:
    amax = {name: item.amax for name, item in subject.ranges.tensors.items()}
    amax[tensor] *= factor
    return replace(subject, quantizer=Quantizer(subject.core, amax))


def _chain(*weights: str) -> object:
    """1x1 convolutions n0, n1, ... with weights of these names."""
    from onnx import helper

    nodes, seen, values = [], "pixels", {}
    for index, name in enumerate(weights):
        out = "logits" if index == len(weights) - 1 else f"t{index}"
        nodes.append(helper.make_node("Conv", [seen, name], [out], name=f"n{index}"))
        values[name] = np.ones((3, 3, 1, 1), np.float32)
        seen = out
    return small_graph(nodes, values, shape=(1, 3, 8, 8), out=(1, 3, 8, 8))
