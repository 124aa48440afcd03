"""Clips and pictures that the tests of edgeseg.video share."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edgeseg.frames import Source
from edgeseg.types import Labels, Pixels

ROOT = Path(__file__).parents[2]

ReadAll = Callable[[Source], list[Pixels]]
WriteClip = Callable[..., Path]


@pytest.fixture(scope="session")
def shared_video() -> Path:
    folder = (ROOT / os.environ.get("EDGESEG_SHARED", "../shared") / "video").resolve()
    if not folder.is_dir():
        if "shared" in os.environ.get("EDGESEG_REQUIRE", "").split(","):
            pytest.fail(f"{folder} is required and missing")
        pytest.skip(f"{folder} is missing; EDGESEG_SHARED names the folder of shared files")
    return folder


@pytest.fixture(scope="session")
def three_labels() -> Labels:
    return Labels(
        names=("Road", "Car", "Tree"), colors=((128, 64, 128), (64, 0, 200), (10, 240, 30))
    )


@pytest.fixture(scope="session")
def read_all() -> ReadAll:
    """Every frame of a source, each in memory of its own."""

    def read(source: Source) -> list[Pixels]:
        frames: list[Pixels] = []
        while True:
            pixels = np.empty(source.info.pixel_format.frame_shape(source.info.size), np.uint8)
            if source.read_into(pixels) is None:
                source.close()
                return frames
            frames.append(pixels)

    return read


@pytest.fixture
def write_clip(tmp_path: Path) -> WriteClip:
    """Writes planar YUV frames losslessly, with the colour tags a test asks for."""

    def write(
        frames: list[Pixels],
        *,
        name: str = "clip.mkv",
        width: int,
        height: int,
        colorspace: int = 2,
        color_range: int = 0,
        rotation: int = 0,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(25), options={"qp": "0"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.thread_count = 1
            stream.colorspace, stream.color_range = colorspace, color_range
            if rotation:
                stream.set_display_rotation(rotation)
            for index, planes in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
                frame.colorspace, frame.color_range = colorspace, color_range
                frame.pts = index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write
