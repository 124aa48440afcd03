"""What is written is read back equal, and a mistake in a file is named with its place."""

import json
import sys
from pathlib import Path

import pytest

from edgeseg.documents import read_toml, toml_text
from edgeseg.errors import EngineMismatch, InputFileError
from edgeseg.manifest import FILE, Manifest, Measured, Plan, read_manifest, write_manifest
from edgeseg.ranges import Range, Ranges, read_ranges, write_ranges
from edgeseg.recipe import Calibration, Description, Gate, Recipe, read_recipe, write_recipe
from edgeseg.types import PixelFormat, Precision, Size

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ODD_STRINGS = [
    "",
    " ",
    'quote " and \\ backslash',
    "tab\tline\nreturn\r",
    "bell\x07 delete\x7f nul\x00",
    "Straße, 道路, 🚗",
    "\u2028\u2029\ufeff",
    "# no comment",
    "'''",
    '"""',
    "C:\\new\\road.png",
]


def full_recipe(**changes: object) -> Recipe:
    values: dict[str, object] = {
        "onnx": Path("models/my net.onnx"),
        "weights": Path("w.safetensors"),
        "description": Description(
            order="bgr",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            scale=1 / 255,
            layout="nhwc",
            output="sigmoid",
            labels=["road", "Straße"],
            colors=[(0, 0, 0), (255, 128, 1)],
        ),
        "precision": Precision.INT8,
        "backend": "openvino",
        "size": "512x256",
        "frame": "1920x1080",
        "frame_format": PixelFormat.NV12,
        "mask_size": "network",
        "keep_fp16": ["*classifier*", "Conv_[01]"],
        "calibration": Calibration(data="folder:train", root=Path("/data"), count=7, method="mse"),
        "gate": Gate(
            val="folder:val",
            root=Path("/data"),
            count=3,
            map={"drive able": ["road"], "ä": ["Straße", "road"]},
            max_drop=0.1,
            min_agreement=98.25,
        ),
    }
    return Recipe.model_validate({**values, **changes})


def full_ranges() -> Ranges:
    return Ranges(
        method="mse",
        graph="a" * 64,
        preprocessing="b" * 64,
        images="c" * 64,
        count=3,
        tensors={
            "pixels": Range(min=-2.1179, max=1 / 3, amax=2.1179),
            "/layer.0/Clip output": Range(min=0.0, max=1e-9, amax=1e-9),
        },
    )


def full_manifest() -> Manifest:
    measured = Measured(
        data="camvid:val",
        frames=2,
        skipped=["bad.png"],
        held_out=True,
        agreement=99.1,
        reference_miou=70.0,
        miou=69.5,
        drop=0.5,
        drop_interval=(-0.25, 1.0),
        iou={"road": (90.0, 89.5), "bicyclist": (None, None)},
        worst="0001.png",
        worst_agreement=97.0,
    )
    plan = Plan(
        file="plan.openvino",
        fingerprint={"backend": "openvino", "version": "1"},
        note="a note",
        measured=measured,
    )
    return Manifest(
        edgeseg="0.1.0",
        name="net",
        network="net.onnx",
        precision=Precision.INT8,
        size="512x256",
        frame="640x480",
        frame_format=PixelFormat.BGR8,
        mask_size="frame",
        order="rgb",
        gain=(1 / 255, 0.1, 1e-7),
        bias=(-2.0, 0.0, 3.5),
        labels=["road", "Straße"],
        colors=[(0, 0, 0), (255, 255, 255)],
        macs=2_780_000_000,
        parameters=2_700_000,
        quantization="d" * 64,
        files={"graph.onnx": "e" * 64},
        plans={"openvino": plan},
    )


@pytest.mark.parametrize(
    "recipe",
    [
        full_recipe(),
        Recipe(network="deeplabv3plus-mobilenetv2", size="480x360", frame="480x360"),
        full_recipe(gate=Gate(max_drop=1e-7)),
        full_recipe(gate=Gate(val="synthetic:val", max_drop=1e21, min_agreement=0)),
    ],
    ids=["full", "least", "small number", "large number"],
)
def test_a_recipe_is_read_back_equal(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    write_recipe(recipe, path)
    assert read_recipe(path) == recipe


@pytest.mark.parametrize("text", ODD_STRINGS)
def test_odd_strings_and_keys_survive_a_recipe(text: str, tmp_path: Path) -> None:
    recipe = full_recipe(
        description=Description(mean=(0, 0, 0), std=(1, 1, 1), labels=[text, "road"]),
        gate=Gate(val="folder", map={text: [text, "road"]}),
    )
    path = tmp_path / "recipe.toml"
    write_recipe(recipe, path)
    assert read_recipe(path) == recipe


def test_toml_is_what_the_standard_parser_reads() -> None:
    values = {
        "bare_key-1": True,
        "": 1,
        "a.b": -0.5,
        'quote"': [1, 2],
        "ключ": [],
        "table": {"plain": "x", "in ner": {"deep.er": 1e-300}, "after": False},
        "last": [["nested", "lists"], [1.5]],
    }
    assert tomllib.loads(toml_text(values)) == values


def test_nothing_is_written_for_none() -> None:
    assert tomllib.loads(toml_text({"a": None, "b": {"c": None, "d": 1}})) == {"b": {"d": 1}}


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_gate_that_is_no_finite_number_is_refused_or_survives(
    value: float, tmp_path: Path
) -> None:
    """It must not be written in a form that cannot be read: the recipe rebuilds the engine."""
    try:
        recipe = full_recipe(gate=Gate(val="folder", max_drop=value))
    except ValueError:
        return
    path = tmp_path / "recipe.toml"
    write_recipe(recipe, path)
    assert str(read_recipe(path).gate.max_drop) == str(value)


def test_ranges_are_read_back_equal(tmp_path: Path) -> None:
    write_ranges(full_ranges(), tmp_path / "ranges.json")
    assert read_ranges(tmp_path / "ranges.json") == full_ranges()


def test_a_manifest_is_read_back_equal(tmp_path: Path) -> None:
    write_manifest(full_manifest(), tmp_path)
    found = read_manifest(tmp_path)
    assert found == full_manifest()
    assert (found.frame_size, found.network_size) == (Size(480, 640), Size(256, 512))
    assert found.to_labels().names == ("road", "Straße")


def test_json_says_its_schema_and_is_sorted(tmp_path: Path) -> None:
    write_manifest(full_manifest(), tmp_path)
    write_ranges(full_ranges(), tmp_path / "ranges.json")
    for name in (FILE, "ranges.json"):
        values = json.loads((tmp_path / name).read_text())
        assert values["schema"] == 1
        assert list(values) == sorted(values)


def test_an_unknown_key_is_named_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    write_recipe(full_recipe(), path)
    path.write_text(path.read_text().replace("min_agreement", "min_agreemnt"))
    with pytest.raises(InputFileError, match=r"recipe\.toml: gate\.min_agreemnt: ") as caught:
        read_recipe(path)
    assert caught.value.exit_code == 8


def test_every_wrong_place_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    write_recipe(full_recipe(), path)
    text = path.read_text().replace('"int8"', '"int4"').replace("count = 7", "count = 0")
    path.write_text(text.replace('order = "bgr"', 'order = "gbr"'))
    with pytest.raises(InputFileError) as caught:
        read_recipe(path)
    for place in ("precision: ", "calibration.count: ", "description.order: "):
        assert place in caught.value.problem


def test_an_unknown_key_deep_in_a_manifest_is_named(tmp_path: Path) -> None:
    write_manifest(full_manifest(), tmp_path)
    values = json.loads((tmp_path / FILE).read_text())
    values["plans"]["openvino"]["measured"]["miuo"] = 1
    (tmp_path / FILE).write_text(json.dumps(values))
    with pytest.raises(InputFileError, match=r"plans\.openvino\.measured\.miuo: "):
        read_manifest(tmp_path)


def test_a_document_of_another_schema_is_refused(tmp_path: Path) -> None:
    write_ranges(full_ranges(), tmp_path / "ranges.json")
    text = (tmp_path / "ranges.json").read_text().replace('"schema": 1', '"schema": 2')
    (tmp_path / "ranges.json").write_text(text)
    with pytest.raises(InputFileError, match="schema"):
        read_ranges(tmp_path / "ranges.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema": 1}'])
def test_a_broken_manifest_is_refused_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(InputFileError, match=r"manifest\.json"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_that_is_no_engine_is_told_from_one_that_is_missing(
    tmp_path: Path, exists: bool
) -> None:
    folder = tmp_path if exists else tmp_path / "none"
    what = "holds no manifest.json" if exists else "does not exist"
    with pytest.raises(EngineMismatch, match=what):
        read_manifest(folder)


@pytest.mark.parametrize("content", [b"a = ", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_a_broken_toml_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(InputFileError, match=r"recipe\.toml is not TOML"):
        read_toml(tmp_path / "recipe.toml")


def test_a_missing_recipe_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="does not exist"):
        read_recipe(tmp_path / "recipe.toml")


@pytest.mark.parametrize("size", ["0x0", "640", "640x", "15x64", "axb", "640x480x3", "99999x480"])
def test_a_size_that_is_none_is_named_with_its_place(tmp_path: Path, size: str) -> None:
    path = tmp_path / "recipe.toml"
    write_recipe(full_recipe(), path)
    path.write_text(path.read_text().replace("1920x1080", size))
    with pytest.raises(InputFileError, match="frame: "):
        read_recipe(path)


@pytest.mark.parametrize("std", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0)])
def test_a_std_that_is_not_positive_is_refused(std: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="std must be positive"):
        Description(mean=(0, 0, 0), std=std, labels=["road"])


def test_gain_and_bias_are_scale_mean_and_std_in_one_step() -> None:
    description = full_recipe().description
    assert description is not None
    gain, bias = description.gain_and_bias()
    for byte in (0, 77, 255):
        for channel in range(3):
            wanted = (byte / 255 - description.mean[channel]) / description.std[channel]
            assert byte * gain[channel] + bias[channel] == pytest.approx(wanted)


@pytest.mark.parametrize("count", [1, 2, 3, 19, 255])
def test_labels_without_colours_get_one_each(count: int) -> None:
    names = [str(index) for index in range(count)]
    labels = Description(mean=(0, 0, 0), std=(1, 1, 1), labels=names).to_labels()
    assert len(labels) == count
    assert all(0 <= value <= 255 for color in labels.colors for value in color)
    if count <= 19:
        assert len(set(labels.colors)) == count


@pytest.mark.parametrize("changed", ["graph", "preprocessing", "images", "method"])
def test_ranges_say_what_they_no_longer_hold_for(changed: str) -> None:
    other = full_ranges().model_copy(update={changed: "other", "tensors": {}, "count": 99})
    (said,) = full_ranges().differences(other)
    assert said.startswith(f"{changed} changed")
    assert full_ranges().differences(full_ranges()) == []
