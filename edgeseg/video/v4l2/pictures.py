"""A camera's bytes, brought into a slot: the one conversion between the driver and the engine."""

import logging
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from edgeseg.errors import VideoError
from edgeseg.frames import SourceCounts, YuvKind
from edgeseg.types import Buffer, PixelFormat, Pixels, Size
from edgeseg.video.av_frames import FrameWriter, colours_in
from edgeseg.video.pixels import checked
from edgeseg.video.planes import planes_of
from edgeseg.video.v4l2.card import Taken
from edgeseg.video.v4l2.colours import Tags, tags_of
from edgeseg.video.v4l2.formats import LAYOUTS, Part
from edgeseg.yuv import colours_of

BROKEN_IN_A_ROW = 10
"""Of a camera whose first pictures are all broken the JPEGs are odd rather than damaged."""

# OpenCV's are BT.601 in limited range, which is what nearly all cameras send, and three to six
# times as fast as swscale: 0.6 and 4.3 ms for YUYV to RGB of 1280x720 on one core of a server.
_DIRECT = {
    ("yuyv422", PixelFormat.RGB8): cv2.COLOR_YUV2RGB_YUY2,
    ("yuyv422", PixelFormat.BGR8): cv2.COLOR_YUV2BGR_YUY2,
    ("yuyv422", PixelFormat.RGBA8): cv2.COLOR_YUV2RGBA_YUY2,
    ("yuyv422", PixelFormat.BGRX8): cv2.COLOR_YUV2BGRA_YUY2,
    ("uyvy422", PixelFormat.RGB8): cv2.COLOR_YUV2RGB_UYVY,
    ("uyvy422", PixelFormat.BGR8): cv2.COLOR_YUV2BGR_UYVY,
    ("uyvy422", PixelFormat.RGBA8): cv2.COLOR_YUV2RGBA_UYVY,
    ("uyvy422", PixelFormat.BGRX8): cv2.COLOR_YUV2BGRA_UYVY,
    ("nv12", PixelFormat.RGB8): cv2.COLOR_YUV2RGB_NV12,
    ("nv12", PixelFormat.BGR8): cv2.COLOR_YUV2BGR_NV12,
    ("nv12", PixelFormat.RGBA8): cv2.COLOR_YUV2RGBA_NV12,
    ("nv12", PixelFormat.BGRX8): cv2.COLOR_YUV2BGRA_NV12,
}

log = logging.getLogger(__name__)


class _Place(NamedTuple):
    """Where one plane lies."""

    memory: int
    begin: int
    rows: int
    stride: int
    row_bytes: int

    @property
    def end(self) -> int:
        return self.begin + self.stride * (self.rows - 1) + self.row_bytes

    def view(self, memories: tuple[Pixels, ...]) -> Pixels:
        """(rows, row_bytes), without what lies between the rows."""
        shape, strides = (self.rows, self.row_bytes), (self.stride, 1)
        return np.ndarray(shape, np.uint8, memories[self.memory], self.begin, strides)


class PictureWriter:
    """Writes the frames of one camera; belongs to the thread that calls `write`."""

    def __init__(
        self,
        frames: Taken,
        pixel_format: PixelFormat,
        size: Size,
        *,
        yuv: YuvKind,
        counts: SourceCounts,
    ) -> None:
        layout = LAYOUTS[frames.format]
        self._format, self._size = pixel_format, size
        self._writer = FrameWriter(pixel_format, size, yuv=yuv, counts=counts)
        self._places = _places(layout.parts, frames)
        self._jpeg = _JpegDecoder() if layout.family == "jpeg" else None
        self._staged: VideoFrame | None = None
        self._is_same = False
        self._code: int | None = None
        if self._jpeg is not None:
            return
        self._staged = _staged(layout.av_format, frames.size, tags_of(frames))
        colours = colours_in(self._staged)
        if frames.size == size:
            same_colours = colours in {None, colours_of(yuv)}
            self._is_same = layout.like is pixel_format and same_colours
        if frames.size == size and colours == colours_of("bt601-limited"):
            self._code = _DIRECT.get((layout.av_format, pixel_format))

    def is_whole(self, memories: tuple[Pixels, ...]) -> bool:
        """Whether as many bytes came as a frame has; of a JPEG, any."""
        if self._jpeg is not None:
            return memories[0].size > 0
        return all(place.end <= memories[place.memory].size for place in self._places)

    def write(self, memories: tuple[Pixels, ...], pixels: Buffer) -> None:
        """Fill `pixels` with the frame in `memories`, which is whole.

        Raises:
            VideoError: a JPEG that does not decode.
        """
        checked(pixels, self._format, self._size)
        if self._jpeg is not None:
            self._writer.write(self._jpeg.decoded(memories[0]), pixels)
            return
        parts = [place.view(memories) for place in self._places]
        if self._is_same:
            for part, target in zip(parts, planes_of(pixels, self._format), strict=True):
                np.copyto(target, part.reshape(target.shape))
        elif self._code is not None:
            self._convert(parts, self._code, pixels)
        elif self._staged is not None:
            # A copy, since swscale may read a little beyond the end of what it is given.
            for part, plane in zip(parts, self._staged.planes, strict=True):
                rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
                np.copyto(rows[: part.shape[0], : part.shape[1]], part)
            self._writer.write(self._staged, pixels)

    def _convert(self, parts: list[Pixels], code: int, pixels: Buffer) -> None:
        height, width = self._size
        if len(parts) == 1:
            cv2.cvtColor(parts[0].reshape(height, width, 2), code, dst=pixels)
        else:
            chroma = parts[1].reshape(height // 2, width // 2, 2)
            cv2.cvtColorTwoPlane(parts[0], chroma, code, dst=pixels)


def _places(parts: tuple[Part, ...], frames: Taken) -> list[_Place]:
    """Planes have a memory each, or follow each other in one, their rows in proportion."""
    found: list[_Place] = []
    apart = len(frames.strides) > 1
    for index, part in enumerate(parts):
        row_bytes = -(-frames.size.width // part.across) * part.bytes
        stride = frames.strides[index if apart else 0]
        if not apart and index:
            stride = stride * part.bytes // (part.across * parts[0].bytes)
        last = found[-1] if found and not apart else None
        found.append(
            _Place(
                memory=index if apart else 0,
                begin=last.begin + last.stride * last.rows if last else 0,
                rows=-(-frames.size.height // part.down),
                stride=max(stride, row_bytes),
                row_bytes=row_bytes,
            )
        )
    return found


def _staged(av_format: str, size: Size, tags: Tags) -> VideoFrame:
    """The memory that odd frames go through."""
    frame = VideoFrame(size.width, size.height, av_format)
    frame.colorspace, frame.color_range = tags.matrix, tags.range
    return frame


class _JpegDecoder:
    """Decodes the JPEGs of one camera."""

    def __init__(self) -> None:
        self._broken = 0
        """In a row since the start; None of them was good."""
        self._strict = True
        self._context = _jpeg_context({"err_detect": "explode"})

    def decoded(self, data: Pixels) -> VideoFrame:
        """The picture in `data`.

        Raises:
            VideoError: it is cut off or damaged.
        """
        try:
            frames = self._context.decode(av.Packet(data.tobytes()))
        except av.FFmpegError as error:
            frames, reason = [], str(error.strerror or error)
        else:
            reason = "nothing is in it"
        if not frames:
            self._count_broken()
            raise VideoError(
                f"a JPEG of {data.size} bytes is broken: {reason}",
                fix="a shorter cable, a port of its own, or fewer cameras on one hub",
            )
        self._broken = -1
        return frames[0]

    def _count_broken(self) -> None:
        if self._broken < 0:
            return
        self._broken += 1
        if self._strict and self._broken == BROKEN_IN_A_ROW:
            log.warning("every JPEG of this camera is odd; they are shown as far as they decode")
            self._strict, self._context = False, _jpeg_context({})


def _jpeg_context(options: dict[str, str]) -> VideoCodecContext:
    context = av.CodecContext.create("mjpeg", "r")
    context.thread_count = 1  # more would hold frames back
    context.options = options
    return context
