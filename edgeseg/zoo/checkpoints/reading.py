"""Reading a file of weights without running anything that it says: its tensors by name."""

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from edgeseg.errors import InputFileError

WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model", "net")
"""Under which training scripts keep the weights beside their epoch and their optimizer."""
PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""
COUNTER = "num_batches_tracked"
"""Of batch normalisation; training alone reads it, and older files lack it."""


class _Dropped:
    """What a value of NumPy becomes: any arguments, any state, and nothing made of them.

    So no code of NumPy runs on what a stranger's file says.
    """

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def _stand_in(path: str) -> type[_Dropped]:
    module, _, name = path.rpartition(".")
    # PyTorch compares the module and the name of what is allowed with those in the file.
    return type(name, (_Dropped,), {"__module__": module})


SHARED_ALLOWED = tuple(
    _stand_in(path)
    for path in (
        "numpy.core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
        "numpy.ndarray",
        "numpy.dtype",
        "_codecs.encode",
    )
)
"""Stand-ins for the only names that a file may call besides PyTorch's own.

Scripts that keep their best score as a NumPy number write these (VainF's and jfzhang95's do): the
names of NumPy 1 and NumPy 2, and what the bytes of a number are encoded by. The numbers are not
weights, so nothing is made of them.
"""

BROKEN = (
    OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError,
    AssertionError, OverflowError, MemoryError, struct.error, pickle.UnpicklingError,
    zipfile.BadZipFile, safetensors.SafetensorError,
)  # fmt: skip
"""What a broken file makes the readers raise."""
_UNTOLD: Mapping[type[BaseException], str] = {EOFError: "it ends too early"}
"""What errors without a text mean."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or PyTorch file, in float32, by name without wrappers.

    They may be mapped from the file, so it must stay as it is while they are in use.

    Raises:
        InputFileError: missing, unreadable, no weights, or more than weights, which never runs.
    """
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise InputFileError(f"{path} {problem}", fix="give the path of a file of weights")
    held = _unprefixed(_unwrapped(_loaded(path)))
    kept = {key: value for key, value in held.items() if key.rpartition(".")[2] != COUNTER}
    if not kept:
        raise InputFileError(
            f"{path} holds no tensors by name", fix="save network.state_dict() alone"
        )
    return {key: _plain(path, key, value) for key, value in kept.items()}


def _loaded(path: Path) -> Any:
    try:
        if _is_safetensors(path):
            return safetensors.torch.load_file(path)
        mapped = _can_be_mapped(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(SHARED_ALLOWED)):
            warnings.simplefilter("ignore")  # on old formats, which a user cannot mend
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        _refuse(path, error)
    except BROKEN as error:
        told = (str(error).strip() or _UNTOLD.get(type(error), type(error).__name__)).splitlines()
        raise InputFileError(
            f"{path} cannot be read as weights: {told[0]}",
            fix="copy the file again; safetensors and PyTorch's .pth, .pt, .pkl, .bin are read",
        ) from error


def _is_safetensors(path: Path) -> bool:
    """By the name, or by the header: eight bytes of its length, then JSON."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _can_be_mapped(path: Path) -> bool:
    """Whether PyTorch can read tensors where they lie, and leave an optimizer's on the disk.

    Its older format has no zip archive, and an archive that was packed again may be compressed.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return False
    with zipfile.ZipFile(path) as archive:
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def _refuse(path: Path, error: pickle.UnpicklingError) -> NoReturn:
    """Name what the file wants to call besides PyTorch's own functions for tensors."""
    if wanted := re.search(r"GLOBAL (\S+)", str(error)):
        raise InputFileError(
            f"{path} holds more than weights: it asks for {wanted[1]}, and is not loaded",
            fix="where you trust it, load it with PyTorch and save its state_dict alone, "
            "best as safetensors",
        ) from error
    raise InputFileError(
        f"{path} cannot be read as weights: it is broken, or no file of PyTorch's",
        fix="copy the file again, or save the state_dict alone, best as safetensors",
    ) from error


def _unwrapped(loaded: Any) -> dict[str, Tensor]:
    """The tensors with a name, from under two wrappers at most; what lies beside them is left."""
    for _ in range(2):
        if isinstance(loaded, Mapping):
            inner = (loaded[key] for key in WRAPPERS if isinstance(loaded.get(key), Mapping))
            loaded = next(inner, loaded)
    if not isinstance(loaded, Mapping):
        return {}
    return {
        key: value
        for key, value in loaded.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }


def _unprefixed(held: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES * 2:  # either may be the outer one
        if all(key.startswith(prefix) for key in held):
            held = {key.removeprefix(prefix): value for key, value in held.items()}
    return held


def _plain(path: Path, key: str, value: Tensor) -> Tensor:
    """`value` without gradient, floats in float32; not copied where it is that already."""
    if value.is_quantized or value.is_meta or value.is_nested or value.layout != torch.strided:
        kind = "quantised" if value.is_quantized else "sparse, nested or without values"
        raise InputFileError(
            f"{path}: {key} is {kind}",
            fix="save the float weights: edgeseg quantises by itself (--int8)",
        )
    value = value.detach()
    return value.float() if value.is_floating_point() else value
