"""Frames in and results out, by URI. One file and one row for each kind of source or sink."""

from fractions import Fraction

from edgeseg.errors import UsageError
from edgeseg.tables import needs, pick
from edgeseg.types import Labels, PixelFormat, Size, Source
from edgeseg.video.sinks import FrameView, Sink, SinkOptions
from edgeseg.video.sources import SourceOptions
from edgeseg.video.uri import sink_address, source_address

SOURCES = {
    "file": "edgeseg.video.sources.video_file:open_video_file",
    "folder": "edgeseg.video.sources.folder:open_folder",
    "null": "edgeseg.video.sources.null:open_null",
    "synthetic": "edgeseg.video.sources.synthetic:open_synthetic",
}

SINKS = {
    "file": "edgeseg.video.sinks.video_file:open_video_file",
    "folder": "edgeseg.video.sinks.folder:open_folder",
    "null": "edgeseg.video.sinks.null:open_null",
}

__all__ = ["SINKS", "SOURCES", "FrameView", "Sink", "open_sink", "open_source"]


def open_source(
    uri: str,
    *,
    pixel_format: PixelFormat = PixelFormat.RGB8,
    rate: Fraction | None = None,
    scale_to: Size | None = None,
) -> Source:
    """The source that `uri` names: a video file, a folder of pictures, `synthetic://`, `null://`.

    `rate` is the frames per second of a source that has none of its own; `scale_to` is the size
    that frames are delivered in, None for their own.

    Raises:
        UsageError: a scheme, an option or a rate that the source does not take.
        VideoError: a video file that is missing or is none.
        InputFileError: a folder without a readable picture.
    """
    if rate is not None and rate <= 0:
        raise UsageError(f"a rate of {rate} frames per second", fix="give a rate above 0")
    address = source_address(uri, SOURCES)
    with needs("video"):
        opener = pick(SOURCES, address.scheme, kind="source")
    wanted = SourceOptions(pixel_format=pixel_format, rate=rate, scale_to=scale_to)
    source: Source = opener(address.rest, wanted)
    return source


def open_sink(
    uri: str, *, size: Size, fps: Fraction, labels: Labels, codec: str | None = None
) -> Sink:
    """The sink that `uri` names: a video file, a folder, `null://`.

    `size` is that of the pictures (`Overlay.picture_size`); `codec` is for video files only, None
    takes the best there is.

    Raises:
        UsageError: a scheme, a suffix or a codec that does not exist.
        OutputError: a target that cannot be written.
    """
    if fps <= 0:
        raise UsageError(f"{fps} frames per second", fix="give a rate above 0")
    address = sink_address(uri, SINKS)
    if codec is not None and address.scheme != "file":
        raise UsageError(f"{uri} takes no codec, got {codec!r}", fix="name a video file, or none")
    with needs("video"):
        opener = pick(SINKS, address.scheme, kind="sink")
    wanted = SinkOptions(size=size, fps=fps, labels=labels, codec=codec)
    sink: Sink = opener(address.rest, wanted)
    return sink
