"""The weights that ship: their cards and float cores, read without PyTorch."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "weights"


def shipped_core(name: str) -> Path | None:
    """The ONNX core of network `name` that ships with edgeseg, if one does."""
    path = FOLDER / f"{name}.onnx"
    return path if path.is_file() else None


def card(name: str) -> dict[str, Any] | None:
    """What is known of the shipped weights of `name`: labels, training, IoU, licence, cost."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        return None
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def shipped_weights(name: str) -> Path | None:
    """The weights of network `name` that ship with edgeseg, as safetensors, if any do."""
    path = FOLDER / f"{name}.safetensors"
    return path if path.is_file() else None
