"""Several cameras as tiles of one picture, for a sink that knows one."""

from dataclasses import fields, replace
from math import ceil, isqrt
from typing import NamedTuple

import cv2
import numpy as np

from edgeseg.errors import UsageError
from edgeseg.frames import FrameTime, SourceCounts
from edgeseg.types import IGNORE, PixelFormat, Pixels, Size
from edgeseg.video.legend import BACKGROUND, FONT, INK, text_scale
from edgeseg.video.sinks import FrameView, Sink, SinkOptions

PATIENCE = 2
"""Pictures without news from a camera, after which no picture waits for it."""


class Grid(NamedTuple):
    """How many tiles there are, as near to a square as possible."""

    rows: int
    columns: int

    def of(self, tile: Size) -> Size:
        """The size of that many tiles."""
        return Size(self.rows * tile.height, self.columns * tile.width)

    def tile(self, camera: int, tile: Size) -> tuple[slice, slice]:
        """The rows and columns of a tile in the whole; they are filled from the top left."""
        row, column = divmod(camera, self.columns)
        return (
            slice(row * tile.height, (row + 1) * tile.height),
            slice(column * tile.width, (column + 1) * tile.width),
        )


def grid_of(cameras: int) -> Grid:
    """The Grid for so many tiles."""
    columns = isqrt(cameras - 1) + 1
    return Grid(ceil(cameras / columns), columns)


def mosaic_options(wanted: SinkOptions, cameras: tuple[str, ...]) -> SinkOptions:
    """The options of a sink that shows a mosaic, from those that it would have for one camera."""
    grid, tiles = grid_of(len(cameras)), _mask_size(wanted)
    return replace(
        wanted,
        size=grid.of(wanted.size),
        frame_size=None,
        mask_size=grid.of(tiles),
        pixel_format=PixelFormat.RGB8,
        cameras=(", ".join(cameras),),
    )


class Mosaic:
    """A sink of many cameras that gives `sink`, opened with `mosaic_options`, one picture of them.

    A picture is written once all cameras have news, or before a camera's news that it does not yet
    show would be painted over; so nothing is left out of files that are played side by side, and a
    camera that is gone keeps nobody waiting. Tiles hold `wanted.size`; a frame of another size is
    fitted in. Where no camera is, the class is 255.
    """

    def __init__(self, sink: Sink, wanted: SinkOptions, cameras: tuple[str, ...]) -> None:
        if not cameras:
            raise UsageError("a mosaic of no camera", fix="name a source")
        self.takes_pictures = sink.takes_pictures
        self._sink, self._tile, self._mask_tile = sink, wanted.size, _mask_size(wanted)
        grid = self._grid = grid_of(len(cameras))
        self._picture = np.empty((*grid.of(wanted.size), 3), np.uint8)
        self._picture[:] = BACKGROUND
        self._labels = np.full(grid.of(self._mask_tile), IGNORE, np.uint8)
        self._names = [_name_box(name, wanted.size) for name in cameras]
        self._fresh: dict[int, FrameView] = {}
        self._silent = dict.fromkeys(range(len(cameras)), 0)
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._counts: dict[int, SourceCounts] = {}
        self._epochs: dict[int, int] = {}
        self._begun_s: float | None = None
        self._written = 0

    @property
    def wants_to_stop(self) -> bool:
        """Whether whoever looks at the sink has seen enough."""
        return bool(getattr(self._sink, "wants_to_stop", False))

    def write(self, frame: FrameView) -> None:
        """Put `frame` into its tile, and write the picture where it is complete."""
        if frame.camera in self._fresh:
            self._write_picture()
        self._paint(frame)
        self._silent[frame.camera] = 0
        nothing = np.empty((0, 0, 3), np.uint8)  # the frame's own arrays are lent for this call
        self._fresh[frame.camera] = replace(
            frame, picture=nothing, labels=nothing[..., 0], pixels=None
        )
        self._counts[frame.camera] = frame.counts
        self._epochs[frame.camera] = frame.time.epoch if frame.time else 0
        awaited = {camera for camera, missed in self._silent.items() if missed < PATIENCE}
        if awaited <= self._fresh.keys():
            self._write_picture()

    def close(self) -> None:
        """Write what was not shown yet, and close the sink; closing twice is fine."""
        try:
            if self._fresh:
                self._write_picture()
        finally:
            self._sink.close()

    def _write_picture(self) -> None:
        newest = max(self._fresh.values(), key=_captured_s)
        fresh, self._fresh = self._fresh, {}
        for camera in self._silent:
            self._silent[camera] += camera not in fresh
        index = self._written
        self._written += 1
        self._sink.write(
            FrameView(
                index=index,
                picture=self._picture,
                labels=self._labels,
                time=self._time(newest, index),
                age_ms=max(frame.age_ms for frame in fresh.values()),
                stages_ms=newest.stages_ms,
                counts=_sum(list(self._counts.values())),
                fps=max(frame.fps for frame in fresh.values()),
            )
        )

    def _time(self, newest: FrameView, index: int) -> FrameTime | None:
        """When the newest tile was captured; each camera's own presentation time begins at 0."""
        if newest.time is None:
            return None
        at_s = newest.time.captured_s
        if self._begun_s is None:
            self._begun_s = at_s
        return FrameTime(index, at_s, at_s - self._begun_s, sum(self._epochs.values()))

    def _paint(self, frame: FrameView) -> None:
        camera = frame.camera
        labels = self._labels[self._grid.tile(camera, self._mask_tile)]
        picture = self._picture[self._grid.tile(camera, self._tile)]
        shape = (*frame.labels.shape, *(frame.picture.shape if self.takes_pictures else ()))
        if self._shapes.get(camera) != shape:
            self._shapes[camera] = shape
            labels[:], picture[:] = IGNORE, BACKGROUND
        _fit(frame.labels, labels, cv2.INTER_NEAREST)
        if self.takes_pictures:
            _fit(frame.picture, picture, cv2.INTER_LINEAR)
            box = self._names[camera]
            if box is not None:
                picture[-box.shape[0] :, -box.shape[1] :] = box


def _fit(image: Pixels, tile: Pixels, how: int) -> None:
    """Draw `image` into the middle of `tile`, as large as it fits."""
    height, width = image.shape[:2]
    if image.shape == tile.shape:
        np.copyto(tile, image)
        return
    scale = min(tile.shape[0] / height, tile.shape[1] / width)
    fitted = Size(max(1, round(height * scale)), max(1, round(width * scale)))
    top, left = (tile.shape[0] - fitted.height) // 2, (tile.shape[1] - fitted.width) // 2
    target = tile[top : top + fitted.height, left : left + fitted.width]
    cv2.resize(image, fitted[::-1], dst=target, interpolation=how)


def _name_box(name: str, tile: Size) -> Pixels | None:
    """The name for the lower right corner; None where there is no name, or no room for it."""
    row = int(np.clip(tile.height / 16, 12, 44))
    (width, high), _ = cv2.getTextSize(name, FONT, text_scale(row), 1)
    if not name or row > tile.height or width + row > tile.width:
        return None
    box = np.empty((row, width + row, 3), np.uint8)
    box[:] = BACKGROUND
    place = (row // 2, (row + high) // 2)
    cv2.putText(box, name, place, FONT, text_scale(row), INK, 1, cv2.LINE_AA)
    return box


def _mask_size(wanted: SinkOptions) -> Size:
    return wanted.mask_size or wanted.frame_size or wanted.size


def _captured_s(frame: FrameView) -> float:
    return frame.time.captured_s if frame.time else float("-inf")


def _sum(counts: list[SourceCounts]) -> SourceCounts:
    names = [field.name for field in fields(SourceCounts)]
    return SourceCounts(**{name: sum(getattr(one, name) for one in counts) for name in names})
