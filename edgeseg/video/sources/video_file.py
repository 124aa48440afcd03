"""A video file, decoded by PyAV straight into the caller's frame."""

import logging
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgeseg.errors import VideoError
from edgeseg.frames import FrameTime, Source, SourceCounts, VideoInfo, YuvKind
from edgeseg.types import Buffer, PixelFormat, Size
from edgeseg.video.av_frames import FrameWriter, upright_size
from edgeseg.video.pixels import checked
from edgeseg.video.sources import SourceOptions
from edgeseg.video.sources.paced import played_camera

log = logging.getLogger(__name__)

# A demuxer that fails this often in a row will not recover.
_DEMUX_ATTEMPTS = 8


class VideoFile:
    """The frames of the first video stream of a file, as a Source and as a Camera.

    RGB is made with the stream's own matrix and range; where it does not say, it is what is usual
    for its size. I420 and NV12 are in the matrix and range `yuv`. Frames are turned as the file's
    display matrix says, and scaled to the first one's size; `info.size` is the size after that.
    """

    def __init__(
        self,
        path: Path,
        *,
        pixel_format: PixelFormat = PixelFormat.RGB8,
        yuv: YuvKind = "bt601-limited",
        scale_to: Size | None = None,
        counts: SourceCounts | None = None,
        threads: int = 1,
    ) -> None:
        self.counts = counts if counts is not None else SourceCounts()
        """`damaged` are frames that are missing because the file is corrupt or cut off: packets
        that failed, where the container does not say how many frames there should be."""
        self.ended = False
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
            self._first_size = self._last_size = upright_size(self._pending)
            self.info = _info(path, self._stream, self._pending, pixel_format, scale_to)
            pixel_format.frame_shape(self.info.size)  # refuses an odd size in 4:2:0
        except BaseException:
            self._container.close()
            raise
        self._writer = FrameWriter(pixel_format, self.info.size, yuv=yuv, counts=self.counts)
        self._start = self._pending.pts
        self._index = self._epoch = 0

    def read_into(self, pixels: Buffer) -> FrameTime | None:
        """Fill `pixels` with the next frame; None at the end, also where the file is cut off.

        The only copy after decoding and colour conversion is the one into `pixels`.
        """
        checked(pixels, self.info.pixel_format, self.info.size)
        frame = self._next()
        if frame is None:
            return None
        self._note_size(upright_size(frame))
        read = FrameTime(self._index, time.monotonic(), self._pts_s(frame), self._epoch)
        self._index += 1
        self._writer.write(frame, pixels)
        return read

    def grab(self, timeout_s: float) -> "_Decoded | None":
        """The next frame, as soon as it is decoded; None at the end."""
        del timeout_s
        frame = self._next()
        return None if frame is None else _Decoded(frame, self._writer)

    def close(self) -> None:
        """Close the file; reading on gives None."""
        self._pending, self.ended = None, True
        self._frames = iter(())
        self._container.close()

    def _next(self) -> VideoFrame | None:
        frame, self._pending = self._pending, None
        if frame is None:
            frame = next(self._frames, None)
        self.ended = frame is None
        return frame

    def _note_size(self, size: Size) -> None:
        self.counts.resized += size != self._first_size
        self._epoch += size != self._last_size
        self._last_size = size

    def _pts_s(self, frame: VideoFrame) -> float:
        if frame.pts is not None and self._start is not None and frame.time_base:
            return float((frame.pts - self._start) * frame.time_base)
        return float(self._index / self.info.fps) if self.info.fps else 0.0

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
        if self.counts.damaged and self._stream.frames:
            self.counts.damaged = max(self.counts.damaged, self._stream.frames - delivered)

    def _count_damage(self, error: Exception) -> None:
        self.counts.damaged += 1
        log.debug("a damaged part of the video is left out: %s", error)


class _Decoded:
    """A frame in the memory of the decoder."""

    def __init__(self, frame: VideoFrame, writer: FrameWriter) -> None:
        self.captured_s = time.monotonic()
        self.size = upright_size(frame)
        self._frame: VideoFrame | None = frame
        self._writer = writer

    def write_into(self, pixels: Buffer) -> None:
        """Fill `pixels` with the frame."""
        if self._frame is None:
            raise VideoError("the frame was given back already")
        self._writer.write(self._frame, pixels)

    def release(self) -> None:
        """Let go of the frame."""
        self._frame = None


def open_video_file(rest: str, wanted: SourceOptions) -> Source:
    """The video file at `rest`; with a rate it is played like a camera.

    Raises:
        VideoError: it is missing, is no video, has no video stream, or no frame decodes.
    """
    video = VideoFile(
        Path(rest),
        pixel_format=wanted.pixel_format,
        yuv=wanted.yuv,
        scale_to=wanted.scale_to,
        counts=wanted.counts,
    )
    return video if wanted.rate is None else played_camera(video, wanted.rate, wanted)


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
    stored = upright_size(first)
    size = scale_to or stored
    return VideoInfo(
        size=size,
        fps=stream.average_rate or stream.guessed_rate,
        pixel_format=pixel_format,
        frames=stream.frames or None,
        name=path.stem,
        pixel_aspect=_pixel_aspect(stream, first, stored, size),
    )


def _pixel_aspect(stream: VideoStream, first: VideoFrame, stored: Size, size: Size) -> Fraction:
    """Width over height of a pixel; pixels are square where a call gives them other proportions."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    if aspect == 1 or stored.width * size.height != stored.height * size.width:
        return Fraction(1)
    log.info(
        "the pixels of the video are not square (%s): its frames are taken as they are stored",
        aspect,
    )
    return 1 / aspect if stored != Size(first.height, first.width) else aspect
