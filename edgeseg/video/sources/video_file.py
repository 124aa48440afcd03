"""A video file, decoded by PyAV straight into the caller's frame."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, VideoReformatter
from av.video.stream import VideoStream

from edgeseg.errors import UsageError, VideoError
from edgeseg.types import Buffer, FrameTime, PixelFormat, Pixels, Size, VideoInfo
from edgeseg.video.pixels import checked, planes_of
from edgeseg.video.sources import SourceOptions

log = logging.getLogger(__name__)

_AV_FORMATS = {
    PixelFormat.RGB8: "rgb24",
    PixelFormat.BGR8: "bgr24",
    PixelFormat.RGBA8: "rgba",
    PixelFormat.BGRX8: "bgr0",
    PixelFormat.NV12: "nv12",
    PixelFormat.I420: "yuv420p",
}

# By frame.rotation, which counts degrees counterclockwise, modulo 360.
_TURNS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}

# A demuxer that fails this often in a row will not recover.
_DEMUX_ATTEMPTS = 8

# AVColorSpace, where it is not one of those that mean BT.601 (or say nothing).
_MATRICES = {1: "bt709", 9: "bt2020", 10: "bt2020"}


class VideoFile:
    """The frames of the first video stream of a file.

    RGB is made with the stream's own matrix and range; a stream that names no matrix is BT.601, as
    FFmpeg and OpenCV take it. I420 and NV12 keep the matrix, but are always in limited range.
    Frames are turned as the file's display matrix says; `info.size` is the size after that.
    """

    def __init__(
        self,
        path: Path,
        *,
        pixel_format: PixelFormat = PixelFormat.RGB8,
        scale_to: Size | None = None,
        threads: int = 1,
    ) -> None:
        self.damaged = 0
        """How many frames are missing because the file is corrupt or cut off.

        Where the container does not say how many there should be, the packets that failed.
        """
        self._container = _opened(path)
        try:
            self._stream = _video_stream(self._container, path)
            self._stream.thread_count = threads
            self._stream.thread_type = "AUTO" if threads > 1 else "NONE"
            self._frames = self._decoded()
            self._pending = next(self._frames, None)
            if self._pending is None:
                raise VideoError(
                    f"not one frame of {path} can be decoded", fix="check that the file plays"
                )
            self._turn = _TURNS.get(round(self._pending.rotation / 90) * 90 % 360)
            self.info = _info(path, self._stream, self._pending, pixel_format, scale_to)
            pixel_format.frame_shape(self.info.size)  # refuses an odd size in 4:2:0
        except BaseException:
            self._container.close()
            raise
        self.matrix = _MATRICES.get(self._pending.colorspace, "bt601")
        """bt601, bt709 or bt2020: the matrix of the stream, which I420 and NV12 frames are in."""
        self._reformatter = VideoReformatter()
        self._start = self._pending.pts
        self._index = 0

    def read_into(self, pixels: Buffer) -> FrameTime | None:
        """Fill `pixels` with the next frame; None at the end, also where the file is cut off.

        The only copy after decoding and colour conversion is the one into `pixels`.
        """
        checked(pixels, self.info.pixel_format, self.info.size)
        frame, self._pending = self._pending, None
        if frame is None:
            frame = next(self._frames, None)
        if frame is None:
            return None
        read = FrameTime(self._index, time.monotonic(), self._pts_s(frame))
        self._index += 1
        for plane, target in zip(
            self._converted(frame).planes,
            planes_of(pixels, self.info.pixel_format),
            strict=True,
        ):
            self._copy(plane, target)
        return read

    def close(self) -> None:
        """Close the file; reading on gives None."""
        self._pending = None
        self._frames = iter(())
        self._container.close()

    def _pts_s(self, frame: VideoFrame) -> float:
        if frame.pts is not None and self._start is not None and frame.time_base:
            return float((frame.pts - self._start) * frame.time_base)
        return float(self._index / self.info.fps) if self.info.fps else 0.0

    def _converted(self, frame: VideoFrame) -> VideoFrame:
        """`frame` in the wanted format and in the size before it is turned."""
        height, width = self.info.size
        if self._turn in {cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_90_COUNTERCLOCKWISE}:
            height, width = width, height
        if frame.planes[0].line_size < 0:
            # Bottom-up memory, which PyAV's planes do not describe; swscale copies it upright.
            frame = self._reformatter.reformat(frame, format="gbrp", threads=1)
        yuv = self.info.pixel_format in {PixelFormat.I420, PixelFormat.NV12}
        return self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=_AV_FORMATS[self.info.pixel_format],
            dst_color_range=ColorRange.MPEG if yuv else ColorRange.JPEG,
            threads=1,
        )

    def _copy(self, plane: VideoPlane, target: Pixels) -> None:
        channels = target.shape[2] if target.ndim == 3 else 1
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        rows = rows[:, : plane.width * channels]
        view = rows.reshape(plane.height, plane.width, channels) if channels > 1 else rows
        if self._turn is None:
            np.copyto(target, view)
        else:
            cv2.rotate(view, self._turn, dst=target)

    def _decoded(self) -> Iterator[VideoFrame]:
        """Every frame that decodes; what does not is counted in `damaged` and left out."""
        failures = delivered = 0
        packets = self._container.demux(self._stream)
        while failures < _DEMUX_ATTEMPTS:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                failures = 0
            except (av.FFmpegError, OSError) as error:
                failures += 1
                self._count_damage(error)
                packets = self._container.demux(self._stream)
                continue
            try:
                frames = self._stream.decode(packet)
            except av.FFmpegError as error:
                self._count_damage(error)
                continue
            delivered += len(frames)
            yield from frames
        if self.damaged and self._stream.frames:
            self.damaged = max(self.damaged, self._stream.frames - delivered)

    def _count_damage(self, error: Exception) -> None:
        self.damaged += 1
        log.debug("a damaged part of the video is left out: %s", error)


def open_video_file(rest: str, wanted: SourceOptions) -> VideoFile:
    """The video file at `rest`.

    Raises:
        VideoError: it is missing, is no video, has no video stream, or no frame decodes.
        UsageError: a rate, which a video file has of its own.
    """
    if wanted.rate is not None:
        raise UsageError(
            f"{rest} has a frame rate of its own, got {wanted.rate}", fix="leave the rate out"
        )
    return VideoFile(Path(rest), pixel_format=wanted.pixel_format, scale_to=wanted.scale_to)


def _opened(path: Path) -> InputContainer:
    if not path.is_file():
        raise VideoError(f"{path} does not exist", fix="check the path")
    try:
        # Absolute, so that a colon in a name is not taken for a protocol.
        container = av.open(str(path.absolute()))
    except (av.FFmpegError, OSError) as error:
        raise _not_a_video(path, str(error.strerror or error)) from error
    if container.format.name == "tty":  # FFmpeg "plays" any text file as ANSI art
        container.close()
        raise _not_a_video(path, "it is a text file")
    return container


def _not_a_video(path: Path, reason: str) -> VideoError:
    return VideoError(f"{path} cannot be opened as a video: {reason}", fix="check that it plays")


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # the cover of a piece of music
            return stream
    kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
    raise VideoError(f"{path} has no video stream, only {kinds}", fix="name a video file")


def _info(
    path: Path,
    stream: VideoStream,
    first: VideoFrame,
    pixel_format: PixelFormat,
    scale_to: Size | None,
) -> VideoInfo:
    size = Size(first.height, first.width)
    if round(first.rotation / 90) % 2:
        size = Size(size.width, size.height)
    return VideoInfo(
        size=scale_to or size,
        fps=stream.average_rate or stream.guessed_rate,
        pixel_format=pixel_format,
        frames=stream.frames or None,
        name=path.stem,
    )
