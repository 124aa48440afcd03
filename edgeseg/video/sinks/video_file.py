"""A video file, encoded by PyAV; it appears when the sink is closed, and it plays."""

import contextlib
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from edgeseg.errors import OutputError, UsageError
from edgeseg.files import whole
from edgeseg.types import Size
from edgeseg.video.sinks import FrameView, SinkOptions
from edgeseg.video.sinks.encoders import CONTAINERS, Encoder, add_stream, chosen_encoder
from edgeseg.video.sinks.growing_file import GrowingFile

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}
"""What FFmpeg calls the container of each suffix."""

DEFAULT_FPS = Fraction(30)

SHORTEST_S = Fraction(1, 1000)
"""Between two frames: Matroska counts milliseconds."""

_LONGEST_AVI_GAP = 50_000
"""Frames; at 60 000 FFmpeg gives up, since AVI knows no time, and a gap is that many empty ones."""


class VideoFileSink:
    """Encodes pictures into `path`, whose suffix names the container.

    An odd row or column at the bottom or right is left out, since 4:2:0 needs even sizes. Frames
    keep their distance in time: those of a file by their index, those of a `live` source by the
    time they were captured. `close` finishes and publishes the file however the run ended. Where
    the disk is full before that, what was written until then is published, if it plays.
    """

    takes_pictures = True

    def __init__(
        self,
        path: Path,
        *,
        size: Size,
        fps: Fraction,
        codec: str | None = None,
        threads: int = 1,
        live: bool = False,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        self._path, self._size = path, size
        self._even = Size(size.height // 2 * 2, size.width // 2 * 2)
        self._reformatter = VideoReformatter()
        self._format = FORMATS.get(path.suffix.lower(), "matroska")
        encoder = chosen_encoder(codec, self._even, fps, self._format)
        self._clock = _clock(encoder, fps, self._format, live=live)
        if path.is_dir():
            raise OutputError(f"{path} is a folder", fix="choose another name, or end it with /")
        self._cleanup = contextlib.ExitStack()
        self._temporary = self._cleanup.enter_context(whole(path))
        self._container: OutputContainer | None = None
        try:
            self._file = self._cleanup.enter_context(GrowingFile(self._temporary))
            self._container = av.open(
                self._file, "w", format=self._format, options=CONTAINERS[self._format]
            )
            self._stream = add_stream(
                self._container,
                encoder,
                size=self._even,
                fps=fps,
                tick=self._clock.tick,
                threads=threads,
                pixel_aspect=pixel_aspect,
            )
            self._container.start_encoding()
            self._file.check()
        except (av.FFmpegError, OSError) as error:
            raise self._given_up(error) from error
        except BaseException as error:
            self._given_up(error)
            raise

    def write(self, frame: FrameView) -> None:
        """Encode `frame.picture`, uint8 RGB of the size the sink was opened with.

        Raises:
            UsageError: another size.
            OutputError: the file cannot be written any more; what was written is kept, if it plays.
        """
        if self._container is None:
            raise OutputError(f"{self._path} is closed already", fix="write before close()")
        if frame.picture.shape != (*self._size, 3):
            raise UsageError(
                f"the sink takes pictures of {self._size}, got the shape {frame.picture.shape}",
                fix="open the sink with Overlay.picture_size",
            )
        try:
            self._container.mux(self._stream.encode(self._yuv(frame)))
            self._file.check()
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
            self._file.check()
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
        yuv.pts = self._clock.pts(frame)
        yuv.duration = self._clock.duration
        return yuv

    def _given_up(self, error: BaseException) -> OutputError:
        """Close everything, keep what plays, and say why."""
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(av.FFmpegError, OSError):
                container.close()  # into a file that failed this writes nothing
            if self._file.failure is not None and self._format in {"mp4", "mov"}:
                self._file.cut_to_pieces()
        keeps = container is not None and _plays(self._temporary)
        reason = getattr(error, "strerror", None) or str(error)
        failure = OutputError(
            f"{self._path} cannot be written"
            + (
                f" any more: {reason}; what was written until then plays"
                if keeps
                else f": {reason}"
            ),
            fix="choose another target, or free space there",
        )
        outcome = (None, None, None) if keeps else (OutputError, failure, None)
        with contextlib.suppress(OutputError):
            self._cleanup.__exit__(*outcome)
        return failure


class _Clock:
    """When frames are shown, in units of `tick` seconds; None counts frames of a constant rate."""

    def __init__(self, fps: Fraction, tick: Fraction | None, longest_gap: int | None) -> None:
        self.tick, self._fps = tick, fps
        unit = tick or 1 / fps
        self.duration = max(1, round(1 / fps / unit))
        self._shortest = max(1, -(-SHORTEST_S // unit)) if tick else 1
        self._longest = longest_gap
        self._first: float | None = None
        self._last = 0

    def pts(self, frame: FrameView) -> int:
        """The time of `frame`, after those of all frames before it; the first is at 0."""
        at: float = frame.index
        if self.tick is not None:
            seconds = frame.time.pts_s if frame.time else float(frame.index / self._fps)
            at = seconds / float(self.tick)
        if self._first is None:
            self._first = at
            return self._last
        wanted = max(self._last + self._shortest, round(at - self._first))
        if self._longest is not None:
            wanted = min(wanted, self._last + self._longest)
        self._last = wanted
        return wanted


def open_video_file(rest: str, wanted: SinkOptions) -> VideoFileSink:
    """The video file at `rest`.

    Raises:
        OutputError: it cannot be written, or the codec that is asked for does not work.
        UsageError: a codec that is not there.
    """
    return VideoFileSink(
        Path(rest),
        size=wanted.size,
        fps=wanted.fps or DEFAULT_FPS,
        codec=wanted.codec,
        live=wanted.live,
        pixel_aspect=wanted.pixel_aspect,
    )


def _clock(encoder: Encoder, fps: Fraction, container: str, *, live: bool) -> _Clock:
    """The clock for frames that come when they like, or at a constant rate, as AVI has it."""
    if container == "avi":
        return _Clock(fps, 1 / fps if live else None, _LONGEST_AVI_GAP)
    return _Clock(fps, encoder.finest_tick if live else None, None)


def _plays(path: Path) -> bool:
    try:
        with av.open(str(path.absolute())) as container:
            return next(container.decode(video=0), None) is not None
    except (av.FFmpegError, OSError, IndexError):
        return False
