"""A stranger's file is read whole, or refused in a way that says what is wrong with it."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgeseg.errors import InputFileError
from edgeseg.graph.load import image_input, load_model
from edgeseg.types import Size
from tests.networks import tiny_core


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(tiny_core(), path)
    return path


def test_a_whole_file_is_read_unchanged(file: Path) -> None:
    assert load_model(file) == tiny_core()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputFileError, match=r"net\.onnx is not a whole ONNX file") as caught:
        load_model(file)
    assert caught.value.exit_code == 8


@pytest.mark.parametrize(
    "data", [b"", b"<html>not found</html>\n", bytes(4096), b"\x89PNG\r\n\x1a\n"]
)
def test_a_file_that_is_no_onnx_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(InputFileError, match=r"net\.onnx"):
        load_model(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="does not exist"):
        load_model(tmp_path / "none.onnx")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError):
        load_model(tmp_path)


def test_an_unsound_graph_is_refused(file: Path) -> None:
    model = tiny_core()
    model.graph.node[3].input[0] = "nobody_writes_this"
    onnx.save(model, file)
    with pytest.raises(InputFileError, match="not a whole ONNX file"):
        load_model(file)


def _saved_with_external_data(folder: Path) -> Path:
    path = folder / "net.onnx"
    onnx.save(tiny_core(), path, save_as_external_data=True, location="net.data", size_threshold=64)
    return path


def test_external_data_beside_the_file_is_read(tmp_path: Path) -> None:
    path = _saved_with_external_data(tmp_path)
    (weight,) = [w for w in load_model(path).graph.initializer if w.name == "stem_weight"]
    (wanted,) = [w for w in tiny_core().graph.initializer if w.name == "stem_weight"]
    assert weight.raw_data == wanted.raw_data


def test_missing_external_data_is_named_and_the_file_itself_is_not_called_missing(
    tmp_path: Path,
) -> None:
    path = _saved_with_external_data(tmp_path)
    (tmp_path / "net.data").unlink()
    with pytest.raises(InputFileError) as caught:
        load_model(path)
    assert "net.onnx does not exist" not in caught.value.problem
    assert "data file" in caught.value.fix


def test_short_external_data_is_refused(tmp_path: Path) -> None:
    path = _saved_with_external_data(tmp_path)
    data = (tmp_path / "net.data").read_bytes()
    (tmp_path / "net.data").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputFileError):
        load_model(path)


@pytest.mark.parametrize(
    ("layout", "symbolic", "size"),
    [
        ("nchw", False, Size(48, 64)),
        ("nhwc", False, Size(48, 64)),
        ("nchw", True, None),
        ("nhwc", True, None),
    ],
)
def test_layout_and_size_are_read_from_the_input(
    layout: str, symbolic: bool, size: Size | None
) -> None:
    model = tiny_core(layout=layout, symbolic=symbolic, names=("image", "scores"))
    found = image_input(model)
    assert (found.name, found.layout, found.size) == ("image", layout, size)


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        (TensorProto.UINT8, [1, 3, 48, 64]),
        (TensorProto.FLOAT, [1, 4, 48, 64]),
        (TensorProto.FLOAT, [1, 3072]),
        (TensorProto.FLOAT, [3, 48, 64]),
    ],
)
def test_an_input_that_is_no_picture_is_refused_and_described(dtype: int, shape: list[int]) -> None:
    value = helper.make_tensor_value_info("samples", dtype, shape)
    out = helper.make_tensor_value_info("logits", dtype, shape)
    node = helper.make_node("Identity", ["samples"], ["logits"])
    model = helper.make_model(helper.make_graph([node], "g", [value], [out]))
    with pytest.raises(InputFileError, match=rf"samples \w+ \({', '.join(map(str, shape))}\)"):
        image_input(model)


def test_a_second_input_is_refused() -> None:
    model = tiny_core()
    model.graph.input.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 8]))
    with pytest.raises(InputFileError, match="state float"):
        image_input(model)


def test_weights_that_are_listed_as_inputs_do_not_count() -> None:
    model = tiny_core()
    for weight in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims))
        )
    assert image_input(model).name == "pixels"
