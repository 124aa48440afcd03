"""A video file, encoded by PyAV; it appears whole when the sink is closed."""

import contextlib
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from edgeseg.errors import OutputError, UsageError
from edgeseg.files import whole
from edgeseg.tables import known
from edgeseg.types import Size
from edgeseg.video.sinks import FrameView, SinkOptions

# Best first. MPEG-4 has a fixed quantiser: left alone, its rate control blurs at 200 kbit/s.
CODECS = {
    "libx264": {"preset": "veryfast", "crf": "20"},
    "mpeg4": {"qmin": "3", "qmax": "3"},
}

# A field of the MPEG-4 header has 16 bits.
_MPEG4_TICKS = 65535


class VideoFileSink:
    """Encodes pictures into `path`, whose suffix names the container.

    An odd row or column at the bottom or right is left out, since 4:2:0 needs even sizes. Frames
    keep their distance in time: an index left out is a picture that is shown longer. `close`
    finishes and publishes the file however the run ended; a file that could not be written is
    removed instead.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: Size,
        fps: Fraction,
        codec: str | None = None,
        threads: int = 1,
    ) -> None:
        self._path, self._size = path, size
        self._even = Size(size.height // 2 * 2, size.width // 2 * 2)
        self._reformatter = VideoReformatter()
        self._first = 0
        self._pts = -1
        codec = chosen_codec(codec)
        if path.is_dir():
            raise OutputError(f"{path} is a folder", fix="choose another name, or end it with /")
        self._cleanup = contextlib.ExitStack()
        temporary = self._cleanup.enter_context(whole(path))
        self._container: OutputContainer | None = None
        try:
            self._container = av.open(str(temporary.absolute()), "w")
            self._stream = _stream(self._container, codec, self._even, fps, threads)
            self._container.start_encoding()
        except (av.FFmpegError, OSError) as error:
            raise self._given_up(error) from error
        except BaseException as error:
            self._given_up(error)
            raise

    def write(self, frame: FrameView) -> None:
        """Encode `frame.picture`, uint8 RGB of the size the sink was opened with.

        Raises:
            UsageError: another size.
            OutputError: the file cannot be written any more; what was written is removed.
        """
        if self._container is None:
            raise OutputError(f"{self._path} is closed already", fix="write before close()")
        if frame.picture.shape != (*self._size, 3):
            raise UsageError(
                f"the sink takes pictures of {self._size}, got the shape {frame.picture.shape}",
                fix="open the sink with Overlay.picture_size",
            )
        if self._pts < 0:
            self._first = frame.index
        self._pts = max(self._pts + 1, frame.index - self._first)
        try:
            self._container.mux(self._stream.encode(self._yuv(frame)))
        except (av.FFmpegError, OSError) as error:
            raise self._given_up(error) from error

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            OutputError: it cannot be finished, as on a full disk; never after `write` failed.
        """
        container = self._container
        if container is None:
            return
        try:
            container.mux(self._stream.encode(None))
            container.close()
        except (av.FFmpegError, OSError) as error:
            raise self._given_up(error) from error
        self._container = None
        self._cleanup.close()

    def _yuv(self, frame: FrameView) -> VideoFrame:
        height, width = self._even
        # Wraps the picture's memory; the conversion is the only copy that is made of it.
        rgb = VideoFrame.from_numpy_buffer(frame.picture[:height, :width], "rgb24")
        yuv = self._reformatter.reformat(
            rgb,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        yuv.pts = self._pts
        return yuv

    def _given_up(self, error: BaseException) -> OutputError:
        """Close and remove everything, and say why."""
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(av.FFmpegError, OSError):
                container.close()
        reason = getattr(error, "strerror", None) or str(error)
        failure = OutputError(
            f"{self._path} cannot be written: {reason}",
            fix="choose another target, or free space there",
        )
        with contextlib.suppress(OutputError):
            self._cleanup.__exit__(OutputError, failure, None)
        return failure


def open_video_file(rest: str, wanted: SinkOptions) -> VideoFileSink:
    """The video file at `rest`.

    Raises:
        OutputError: it cannot be written.
        UsageError: a codec that is not there.
    """
    return VideoFileSink(Path(rest), size=wanted.size, fps=wanted.fps, codec=wanted.codec)


def chosen_codec(name: str | None) -> str:
    """`name` if this FFmpeg can encode it; for None, the first of CODECS that it can.

    Raises:
        UsageError: no such codec, or FFmpeg was built without it.
    """
    if name is not None:
        known(CODECS, name, kind="video codec")
    for codec in CODECS if name is None else [name]:
        if _can_encode(codec):
            return codec
    raise UsageError(
        f"this FFmpeg has no encoder {name or ' or '.join(CODECS)}", fix="choose another codec"
    )


def _can_encode(codec: str) -> bool:
    try:
        av.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def _stream(
    container: OutputContainer, codec: str, size: Size, fps: Fraction, threads: int
) -> VideoStream:
    if codec == "mpeg4":
        fps = 1 / (1 / fps).limit_denominator(_MPEG4_TICKS)
    stream = container.add_stream(codec, rate=fps, options=CODECS[codec])
    assert isinstance(stream, VideoStream)
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = 1 / fps
    stream.thread_count = threads
    stream.colorspace = Colorspace.ITU601
    stream.color_range = ColorRange.MPEG
    return stream
