"""Reading weights: safetensors, or PyTorch files with `weights_only=True` and nothing else."""

from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from edgeseg.errors import InputFileError


def load_weights(network: nn.Module, path: Path) -> None:
    """Load `path` into `network`, every tensor and none left over.

    Raises:
        InputFileError: unreadable, or not the weights of this network with this class count.
    """
    loaded = {name: value.float() for name, value in _tensors(path).items()}
    wanted = {
        name: value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    wrong = [
        f"{name} is {tuple(loaded[name].shape)}, wanted {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in loaded and loaded[name].shape != value.shape
    ]
    missing, extra = wanted.keys() - loaded.keys(), loaded.keys() - wanted.keys()
    if wrong or missing or extra:
        told = [*wrong[:2], *(f"no {name}" for name in sorted(missing)[:2]),
                *(f"unknown {name}" for name in sorted(extra)[:2])]  # fmt: skip
        raise InputFileError(
            f"{path} does not hold the weights of this network: {'; '.join(told)}",
            fix="name the right network, or say how many classes the file has with --classes",
        )
    network.load_state_dict(loaded, strict=False)


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        loaded = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError as error:
        raise InputFileError(f"{path} does not exist", fix="check the path") from error
    except (OSError, RuntimeError, ValueError, EOFError, safetensors.SafetensorError) as error:
        raise InputFileError(
            f"{path} cannot be read as weights: {error}", fix="copy the file again"
        ) from error
    except Exception as error:  # pickle's own, for what weights_only refuses
        raise InputFileError(
            f"{path} holds more than weights, and is not loaded: {type(error).__name__}",
            fix="save the state_dict alone, best as safetensors",
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise InputFileError(
            f"{path} holds no plain state_dict", fix="save network.state_dict() alone"
        )
    return loaded
