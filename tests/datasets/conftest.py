"""Pictures and masks made for one test."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL", reason="Pillow is not installed here")

from PIL import Image

Save = Callable[..., Path]


@pytest.fixture
def picture() -> Save:
    """Save a picture that is all one brightness."""

    def save(path: Path, *, size: tuple[int, int] = (4, 6), value: int = 50) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
        return path

    return save


@pytest.fixture
def mask() -> Save:
    """Save a mask: the ids given, or class 0 all over."""

    def save(path: Path, ids: object = None, *, size: tuple[int, int] = (4, 6)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.zeros(size, np.uint8) if ids is None else np.asarray(ids, np.uint8)
        Image.fromarray(array).save(path)
        return path

    return save
