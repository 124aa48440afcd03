"""A small engine, the small pictures that it is built and scored with, and a sink that remembers.

Its network input is 128x96, its frames are 120x90: large enough for every layer, small enough
for seconds. The weights are the ones that ship.
"""

import contextlib
import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgeseg
from edgeseg.datasets import open_dataset
from edgeseg.errors import OutputError
from edgeseg.scene import Street
from edgeseg.types import Pixels, Size
from edgeseg.video.sinks import FrameView, SinkOptions

NETWORK = "deeplabv3plus-mobilenetv2"
SIZE = Size(96, 128)
FRAME = Size(90, 120)
ANY_DROP = 100.0
"""In mIoU points: no build misses such a gate, whatever the weights."""


def street(seed: int, size: Size = FRAME) -> tuple[Pixels, Pixels]:
    """One picture of the synthetic street and its mask."""
    image, mask = _drawn(seed, size)
    return image.copy(), mask.copy()


@functools.lru_cache(maxsize=128)
def _drawn(seed: int, size: Size) -> tuple[Pixels, Pixels]:
    return Street(seed, size).frame(float(seed % 7))


def write_pictures(folder: Path, seeds: range, *, masks: bool = True, size: Size = FRAME) -> Path:
    """A data set of the layout `folder`: images/, and masks/ with labels.txt."""
    (folder / "images").mkdir(parents=True)
    for seed in seeds:
        image, mask = street(seed, size)
        Image.fromarray(image).save(folder / "images" / f"{seed}.png")
        if masks:
            (folder / "masks").mkdir(exist_ok=True)
            Image.fromarray(mask).save(folder / "masks" / f"{seed}.png")
    if masks:
        write_class_names(folder)
    return folder


@contextlib.contextmanager
def remembered_streets() -> Iterator[None]:
    """What a `synthetic://` of few frames showed before is not drawn again: that takes 0.1 s each.

    Not for tests of the drawing itself.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Street, "frame", _remembered)
        yield


_draw = Street.frame
_SHOWN: dict[tuple[int, Size, float], tuple[Pixels, Pixels]] = {}
_MOST_SHOWN = 256


def _remembered(street: Street, t_s: float) -> tuple[Pixels, Pixels]:
    key = (street._seed, street.size, t_s)
    if key not in _SHOWN and len(_SHOWN) < _MOST_SHOWN:
        _SHOWN[key] = _draw(street, t_s)
    image, mask = _SHOWN[key] if key in _SHOWN else _draw(street, t_s)
    return image.copy(), mask.copy()


def write_class_names(folder: Path) -> None:
    names = open_dataset("synthetic:val").labels.names
    (folder / "labels.txt").write_text("\n".join(names) + "\n")


def write_network(path: Path, model: object = None) -> Path:
    """A small network with random weights and its description, for the classes of the street."""
    import onnx

    from tests.networks import tiny_core

    names = open_dataset("synthetic:val").labels.names
    onnx.save(model or tiny_core(classes=len(names)), path)
    path.with_suffix(".toml").write_text(
        f"mean = [2, 2, 2]\nstd = [1, 1, 1]\nscale = 0.015625\nlabels = {json.dumps(names)}\n"
    )
    return path


PLAIN = ("equalize", "scales", "rounding", "bias", "spare")
"""Steps that have tests of their own, and would take most of the time of the others."""


QUICKLY = tuple(word for step in PLAIN for word in ("--without", step))
"""The same on the command line."""


def build_small(out: Path, pictures: Path, **options: object) -> edgeseg.Engine:
    """The small INT8 engine, of plain quantisation; `pictures` holds the splits train and val.

    Of another network with `source`, which is a file.
    """
    values = {
        "precision": "int8",
        "calibrate": "folder:train",
        "val": "folder:val",
        "root": pictures,
        "size": SIZE,
        "max_drop": ANY_DROP,
        "out": out,
        "backend": "openvino",
        "without": PLAIN if options.get("precision", "int8") == "int8" else None,
    }
    values.update(options)
    return edgeseg.build(**{"source": NETWORK, **values})  # type: ignore[arg-type]


@contextlib.contextmanager
def working_directory(folder: Path) -> Iterator[Path]:
    """calibration/ and engines/ are relative to the working directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)


class RecordingSink:
    """Notes where the labels lay that it was given, and a copy of them."""

    takes_pictures = True

    opened: "list[RecordingSink]" = []  # noqa: RUF012 - tests empty it

    def __init__(self) -> None:
        self.addresses: list[int] = []
        self.labels: list[Pixels] = []
        self.closed = False
        RecordingSink.opened.append(self)

    def write(self, frame: FrameView) -> None:
        self.addresses.append(frame.labels.ctypes.data)
        self.labels.append(frame.labels.copy())

    def close(self) -> None:
        self.closed = True


class CopyingSink:
    """Copies every picture, which no sink should need to."""

    takes_pictures = True

    def write(self, frame: FrameView) -> None:
        self.last = np.array(frame.picture)

    def close(self) -> None:
        self.last = None


class BreakingSink:
    """Takes three frames."""

    takes_pictures = True

    def __init__(self) -> None:
        self.left = 3

    def write(self, frame: FrameView) -> None:
        del frame
        self.left -= 1
        if self.left < 0:
            raise OutputError("the disk is full", fix="free space there")

    def close(self) -> None:
        pass


def open_recording(rest: str, wanted: SinkOptions) -> RecordingSink:
    del rest, wanted
    return RecordingSink()


def open_copying(rest: str, wanted: SinkOptions) -> CopyingSink:
    del rest, wanted
    return CopyingSink()


def open_breaking(rest: str, wanted: SinkOptions) -> BreakingSink:
    del rest, wanted
    return BreakingSink()


def confusion(truth: Pixels, labels: Pixels, classes: int) -> np.ndarray:
    """By hand: rows are the truth; 255 does not count."""
    counts = np.zeros((classes, classes), np.int64)
    keep = truth != 255
    np.add.at(counts, (truth[keep], labels[keep]), 1)
    return counts


def miou(counts: np.ndarray) -> float:
    """In points, over the classes that occur."""
    hits = np.diag(counts).astype(float)
    union = counts.sum(0) + counts.sum(1) - np.diag(counts)
    return float(100 * np.mean(hits[union > 0] / union[union > 0]))
