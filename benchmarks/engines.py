"""The engines and the clip that are measured, and the temporary folder that they live in."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgeseg.backends import backend
from edgeseg.build import build
from edgeseg.datasets.camvid import CAMVID_LABELS
from edgeseg.frames import FrameTime
from edgeseg.graph.cut import core_of
from edgeseg.graph.load import load_model
from edgeseg.graph.prepare import prepared_bytes
from edgeseg.types import Pixels, Precision, Size
from edgeseg.video import FrameView, SinkOptions, open_sink, open_source

NETWORK = "deeplabv3plus-mobilenetv2"
SIZE = Size(256, 512)
ANY_DROP = 100.0
"""Mutes the gate, on which no speed depends; accuracy.py measures what is lost."""


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A temporary folder to work in: edgeseg keeps calibrations relative to the current one."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def int8_engine(folder: Path, *, frame: Size, size: Size = SIZE, pictures: int = 24) -> Path:
    """An INT8 engine for OpenVINO, calibrated on synthetic streets."""
    build(
        NETWORK,
        precision=Precision.INT8,
        calibrate="synthetic:train",
        count=pictures,
        val="synthetic:val",
        val_count=max(1, pictures // 3),
        max_drop=ANY_DROP,
        size=size,
        frame=frame,
        backend="openvino",
        out=folder,
    ).close()
    return folder


def as_compiled(graph: bytes, name: str) -> bytes:
    """A serialised Q/DQ graph as the backend `name` of edgeseg has it."""
    return prepared_bytes(graph, backend(name).NEEDS)


def float_engine(folder: Path, *, backend: str, frame: Size, size: Size = SIZE) -> Path:
    """A float32 engine for `backend`."""
    build(
        NETWORK, precision=Precision.FP32, size=size, frame=frame, backend=backend, out=folder
    ).close()
    return folder


def int8_core(engine: Path) -> bytes:
    """The quantised core of an engine, as OpenVINO compiles it."""
    return bytes(core_of(load_model(engine / "graph.onnx")).SerializeToString())


def write_clip(path: Path, *, frames: int, size: Size) -> Path:
    """A moving synthetic street of `frames` frames as H.264, written by edgeseg's own sink."""
    source = open_source(f"synthetic://?seconds={frames}/30&size={size}&seed=7")
    assert source.info.fps is not None
    sink = open_sink(
        str(path),
        SinkOptions(size=size, fps=source.info.fps, labels=CAMVID_LABELS, codec="libx264"),
    )
    picture, blank = np.empty((*size, 3), np.uint8), np.zeros(size, np.uint8)
    try:
        while (moment := source.read_into(picture)) is not None:
            sink.write(FrameView(index=moment.index, picture=picture, labels=blank))
    finally:
        sink.close()
        source.close()
    return path


class Repeated:
    """The frames of a video over and over, until there were `frames` of them: a source."""

    def __init__(self, clip: Path, frames: int) -> None:
        self._clip, self._left, self._index = clip, frames, 0
        self._source = open_source(str(clip))
        self.info = replace(self._source.info, frames=frames)

    def read_into(self, pixels: Pixels) -> FrameTime | None:
        """Fill `pixels` with the next frame; None at the end."""
        if self._left == 0:
            return None
        moment = self._source.read_into(pixels)
        if moment is None:
            self._source.close()
            self._source = open_source(str(self._clip))
            moment = self._source.read_into(pixels)
            assert moment is not None
        self._left -= 1
        self._index += 1
        return replace(moment, index=self._index - 1)

    def close(self) -> None:
        """Close the video."""
        self._source.close()
