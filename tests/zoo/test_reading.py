"""Reading files of weights: every wrapper that scripts make, and nothing that a file could run."""

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402

from edgeseg.errors import InputFileError  # noqa: E402
from edgeseg.zoo.checkpoints.reading import SHARED_ALLOWED, read_tensors  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.needs("safetensors")]

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1.5, -2.0])}


class Rogue:
    """Would create a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def _save_zip(content: object, path: Path) -> None:
    torch.save(content, path)


def _save_legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


WRITERS = pytest.mark.parametrize("save", [_save_zip, _save_legacy])


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.pkl", "w.pth.tar", "w.bin"])
@WRITERS
def test_pytorch_files_are_read_under_any_name(
    tmp_path: Path, name: str, save: Callable[[object, Path], None]
) -> None:
    save(STATE, tmp_path / name)

    _assert_state(read_tensors(tmp_path / name))


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin"])
def test_safetensors_are_read_under_any_name(tmp_path: Path, name: str) -> None:
    safetensors.torch.save_file(STATE, tmp_path / name)

    _assert_state(read_tensors(tmp_path / name))


@pytest.mark.parametrize(
    "wrapped",
    [
        {"state_dict": STATE, "epoch": 3},
        {"model_state": STATE, "cur_itrs": 3},
        {"model_state_dict": STATE},
        {"model": STATE},
        {"net": STATE},
        {"model": {"state_dict": STATE}, "epoch": 3},
        {"state_dict": {f"module.{key}": value for key, value in STATE.items()}},
        {f"_orig_mod.module.{key}": value for key, value in STATE.items()},
        {f"module._orig_mod.{key}": value for key, value in STATE.items()},
        OrderedDict(STATE, mask_values=[0, 1]),
        {**STATE, "a.num_batches_tracked": torch.tensor(7), "num_batches_tracked": torch.tensor(7)},
        {"state_dict": {key: torch.nn.Parameter(value) for key, value in STATE.items()}},
    ],
)
def test_wrappers_and_prefixes_are_taken_off(tmp_path: Path, wrapped: object) -> None:
    torch.save(wrapped, tmp_path / "w.pth")

    _assert_state(read_tensors(tmp_path / "w.pth"))


def test_prefix_that_some_keys_lack_is_part_of_the_names(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pth")

    assert read_tensors(tmp_path / "w.pth").keys() == {"module.a", "b"}


@WRITERS
def test_numpy_values_beside_the_weights_are_left(
    tmp_path: Path, save: Callable[[object, Path], None]
) -> None:
    beside = {"best_score": np.float64(0.7), "epoch": np.int64(3), "history": np.ones((2, 2))}
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(9)}}, "param_groups": [{"lr": 0.1}]}
    save({"model_state": STATE, "optimizer": optimizer, **beside}, tmp_path / "w.pth")

    _assert_state(read_tensors(tmp_path / "w.pth"))


@pytest.mark.parametrize("folder", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_names_of_numpy_1_and_2_are_both_known(tmp_path: Path, folder: bytes) -> None:
    _save_legacy({"state_dict": STATE, "best_score": np.float64(0.7)}, tmp_path / "w.pth")
    content = (tmp_path / "w.pth").read_bytes()
    for written in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        content = content.replace(b"c" + written + b"\n", b"c" + folder + b"\n")
    (tmp_path / "w.pth").write_bytes(content)

    assert folder + b"\n" in content
    _assert_state(read_tensors(tmp_path / "w.pth"))


def test_what_is_allowed_besides_tensors_is_allowed_while_reading_only(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "w.pth")

    read_tensors(tmp_path / "w.pth")

    assert not set(SHARED_ALLOWED) & set(torch.serialization.get_safe_globals())


@WRITERS
@pytest.mark.parametrize("place", ["beside", "inside", "alone"])
def test_file_that_asks_for_other_code_is_refused_by_name_and_runs_nothing(
    tmp_path: Path, save: Callable[[object, Path], None], place: str
) -> None:
    rogue = Rogue(tmp_path / "owned")
    content = {
        "beside": {"state_dict": STATE, "args": rogue},
        "inside": {"state_dict": {**STATE, "x": rogue}},
        "alone": rogue,
    }
    save(content[place], tmp_path / "w.pth")

    with pytest.raises(InputFileError, match=r"posix\.mkdir|nt\.mkdir") as refused:
        read_tensors(tmp_path / "w.pth")

    assert "save its state_dict alone" in refused.value.fix
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(Rogue(tmp_path / "owned"), protocol))

    with pytest.raises(InputFileError):
        read_tensors(tmp_path / "w.pkl")

    assert not (tmp_path / "owned").exists()


def test_whole_module_is_refused_and_the_way_out_is_named(tmp_path: Path) -> None:
    torch.save(torch.nn.Conv2d(1, 1, 1), tmp_path / "w.pth")

    with pytest.raises(InputFileError, match=r"it asks for torch\.nn\.modules\.conv\.Conv2d"):
        read_tensors(tmp_path / "w.pth")


def test_missing_file_and_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"w\.pth does not exist"):
        read_tensors(tmp_path / "w.pth")
    with pytest.raises(InputFileError, match="is a folder"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("part", [0.0, 0.001, 0.02, 0.1, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated_file_is_refused(tmp_path: Path, kind: str, part: float) -> None:
    state = {f"layer{index}.weight": torch.ones(64, 64) for index in range(4)}
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])

    with pytest.raises(InputFileError, match="cannot be read as weights"):
        read_tensors(path)


@pytest.mark.parametrize(
    "content", [b"<html>404</html>", b"{}", b"\x89PNG\r\n\x1a\n", b"\x08\n\x12"]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content * 50)

    with pytest.raises(InputFileError, match="cannot be read as weights"):
        read_tensors(tmp_path / "w.pth")


def test_zip_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("photo.txt", "a photo")

    with pytest.raises(InputFileError, match="cannot be read as weights"):
        read_tensors(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [{}, [], {"epoch": 3}, [torch.ones(2)], {0: torch.ones(2)}, 3])
def test_file_without_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")

    with pytest.raises(InputFileError, match="holds no tensors by name"):
        read_tensors(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore")  # of PyTorch, that these kinds of tensor are to go
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.eye(3).to_sparse(),
        lambda: torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8),
        lambda: torch.ones(3, device="meta"),
    ],
)
def test_tensors_without_plain_values_are_refused_by_name(
    tmp_path: Path, make: Callable[[], Any]
) -> None:
    torch.save({**STATE, "odd.weight": make()}, tmp_path / "w.pth")

    with pytest.raises(InputFileError, match=r"odd\.weight is (sparse|quantised)"):
        read_tensors(tmp_path / "w.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_other_widths_become_float32(tmp_path: Path, dtype: Any) -> None:
    torch.save({key: value.to(dtype) for key, value in STATE.items()}, tmp_path / "w.pth")

    _assert_state(read_tensors(tmp_path / "w.pth"))


def test_archive_that_was_packed_again_with_compression_is_read(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))

    _assert_state(read_tensors(tmp_path / "w.pth"))


def _assert_state(found: dict[str, Any]) -> None:
    assert found.keys() == STATE.keys()
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert all(torch.equal(found[key], value) for key, value in STATE.items())
    assert not any(value.requires_grad for value in found.values())
