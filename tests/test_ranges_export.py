"""Ranges leave an engine folder as a table and as TensorRT's calibration cache."""

import shutil
import struct
from pathlib import Path

import pytest

from edgeseg.errors import EngineMismatch, InputFileError, OutputError, UsageError
from edgeseg.manifest import file_hash, read_manifest, write_manifest
from edgeseg.ranges import read_ranges, write_ranges
from edgeseg.ranges_export import export_ranges, version_number

pytestmark = pytest.mark.needs("onnx", "onnxsim", "openvino")

CACHE = "tensorrt-cache"


def parsed(text: str) -> tuple[str, dict[str, float]]:
    """Header and scales, as TensorRT reads a calibration cache."""
    header, *lines = text.splitlines()
    pairs = (line.rsplit(": ", 1) for line in lines)
    return header, {name: struct.unpack(">f", bytes.fromhex(digits))[0] for name, digits in pairs}


def changed(engine: Path, copy: Path, **tensors: dict[str, float] | None) -> Path:
    """A copy of the engine folder in which ranges are other ones, or gone; sealed anew."""
    shutil.copytree(engine, copy)
    ranges = read_ranges(copy / "ranges.json")
    kept = {
        name: item for name, item in ranges.tensors.items() if tensors.get(name, {}) is not None
    }
    for name, values in tensors.items():
        if values is not None:
            kept[name] = kept[name].model_copy(update=values)
    write_ranges(ranges.model_copy(update={"tensors": kept}), copy / "ranges.json")
    sealed(copy)
    return copy


def sealed(folder: Path) -> None:
    manifest = read_manifest(folder)
    files = {name: file_hash(folder / name) for name in manifest.files if (folder / name).is_file()}
    write_manifest(manifest.model_copy(update={"files": files}), folder)


@pytest.mark.parametrize(
    ("version", "number"),
    [("8.6.2", 8602), ("8.5.2", 8502), ("8.6.2.3", 8602), ("10.3.0", 100300), ("10.16.2", 101602)],
)
def test_the_header_carries_the_version_as_tensorrt_writes_it(version: str, number: int) -> None:
    assert version_number(version) == number


@pytest.mark.parametrize("version", ["", "8.6", "8", "x", "8.6.x", "-8.6.2", "8.6.2-1", "v8.6.2"])
def test_a_version_that_is_none_is_refused(version: str) -> None:
    with pytest.raises(UsageError, match="is no version of TensorRT") as refused:
        version_number(version)

    assert "8.6.2 or 10.3.0" in refused.value.fix


def test_tensorrt_11_is_sent_to_the_quantised_graph() -> None:
    with pytest.raises(UsageError, match="removed in 11") as refused:
        version_number("11.4.1")

    assert "graph.onnx" in refused.value.fix


@pytest.mark.parametrize("version", ["7.1.3", "9.3.0"])
def test_versions_of_no_board_are_refused(version: str) -> None:
    with pytest.raises(UsageError, match=f"TensorRT {version}"):
        version_number(version)


def test_the_cache_holds_the_scale_of_every_tensor(small_int8: Path) -> None:
    ranges = read_ranges(small_int8 / "ranges.json").tensors

    text = export_ranges(small_int8, form=CACHE, tensorrt_version="8.6.2").text

    assert text is not None
    header, scales = parsed(text)
    assert header == "TRT-8602-EntropyCalibration2"
    assert {"pixels", "logits"} <= scales.keys()
    for name, scale in scales.items():
        assert scale == pytest.approx(ranges[name].amax / 127, rel=1e-6)


def test_a_line_is_the_name_and_eight_hex_digits(small_int8: Path, tmp_path: Path) -> None:
    engine = changed(
        small_int8, tmp_path / "engine", pixels={"amax": 127.0}, logits={"amax": 254.0}
    )

    text = export_ranges(engine, form=CACHE, tensorrt_version="10.3.0").text

    assert text is not None
    lines = text.split("\n")
    assert lines[0] == "TRT-100300-EntropyCalibration2"
    assert lines[1] == "pixels: 3f800000"  # 1.0
    assert lines[-2:] == ["logits: 40000000", ""]  # 2.0


def test_every_float_activation_of_the_core_is_in_it_and_no_weight(small_int8: Path) -> None:
    import onnx

    core = onnx.load(small_int8 / "float.onnx")
    computed = {name for node in core.graph.node for name in node.output}
    weights = {item.name for item in core.graph.initializer}

    tensors = export_ranges(small_int8).tensors

    convolved = {node.output[0] for node in core.graph.node if node.op_type == "Conv"}
    assert convolved | {"pixels"} <= tensors.keys() <= computed | {"pixels"}
    assert weights.isdisjoint(tensors)


def test_a_tensor_that_is_zero_throughout_has_a_scale_above_zero(
    small_int8: Path, tmp_path: Path
) -> None:
    engine = changed(small_int8, tmp_path / "engine", pixels={"amax": 0.0})

    text = export_ranges(engine, form=CACHE, tensorrt_version="8.6.2").text

    assert text is not None
    assert 0 < parsed(text)[1]["pixels"] < 1e-6


def test_the_file_is_the_text(small_int8: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "street.cache"

    found = export_ranges(small_int8, form=CACHE, tensorrt_version="8.6.2", out=out)

    assert found.file == out
    assert out.read_text() == found.text


def test_the_ranges_say_which_method_gave_them(small_int8: Path) -> None:
    found = export_ranges(small_int8)

    assert found.text is None
    assert {item.method for item in found.tensors.values()} == {found.method}
    pixels = found.tensors["pixels"]
    assert pixels.min < pixels.max
    assert pixels.scale == pytest.approx(pixels.amax / 127)


def test_a_tensor_without_a_range_is_named(small_int8: Path, tmp_path: Path) -> None:
    engine = changed(small_int8, tmp_path / "engine", logits=None)

    with pytest.raises(InputFileError, match=r"it lacks logits\n") as refused:
        export_ranges(engine)

    assert "recipe.toml" in refused.value.fix


def test_a_range_that_is_no_number_is_refused(small_int8: Path, tmp_path: Path) -> None:
    engine = changed(small_int8, tmp_path / "engine", logits={"amax": -1.0})

    with pytest.raises(InputFileError, match="range of logits"):
        export_ranges(engine, form=CACHE, tensorrt_version="8.6.2")


def test_a_float_engine_has_no_ranges(small_fp32: Path) -> None:
    with pytest.raises(EngineMismatch, match="built in fp32") as refused:
        export_ranges(small_fp32)

    assert "--calibrate" in refused.value.fix


def test_an_engine_whose_network_came_quantised_has_none_of_its_own(
    small_int8: Path, tmp_path: Path
) -> None:
    shutil.copytree(small_int8, tmp_path / "engine")
    (tmp_path / "engine" / "ranges.json").unlink()
    sealed(tmp_path / "engine")

    with pytest.raises(EngineMismatch, match="came quantised"):
        export_ranges(tmp_path / "engine")


def test_altered_ranges_are_refused(small_int8: Path, tmp_path: Path) -> None:
    shutil.copytree(small_int8, tmp_path / "engine")
    (tmp_path / "engine" / "ranges.json").write_text("{}")

    with pytest.raises(EngineMismatch, match="altered"):
        export_ranges(tmp_path / "engine")


def test_a_cache_needs_the_version_that_reads_it(small_int8: Path) -> None:
    with pytest.raises(UsageError, match="none was given") as refused:
        export_ranges(small_int8, form=CACHE)

    assert "--tensorrt-version X.Y.Z" in refused.value.fix


def test_an_unknown_format_is_answered_with_the_nearest(small_int8: Path) -> None:
    with pytest.raises(UsageError, match="no format 'tensorrt'") as refused:
        export_ranges(small_int8, form="tensorrt", tensorrt_version="8.6.2")

    assert CACHE in refused.value.fix


@pytest.mark.parametrize("options", [{"out": "x.cache"}, {"tensorrt_version": "8.6.2"}])
def test_a_file_or_version_without_a_format_is_refused(
    small_int8: Path, options: dict[str, str]
) -> None:
    with pytest.raises(UsageError, match="no format"):
        export_ranges(small_int8, **options)


def test_a_target_that_cannot_be_written_is_said(small_int8: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError):
        export_ranges(
            small_int8, form=CACHE, tensorrt_version="8.6.2", out=tmp_path / "file" / "x.cache"
        )
