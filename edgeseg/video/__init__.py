"""Frames in and results out, by URI. One file and one row for each kind of source or sink."""

from edgeseg.errors import UsageError
from edgeseg.frames import Source
from edgeseg.tables import needs, pick
from edgeseg.video.credentials import shown
from edgeseg.video.sinks import FrameView, Sink, SinkOptions
from edgeseg.video.sources import SourceOptions
from edgeseg.video.uri import sink_address, source_address

SOURCES = {
    "csi": "edgeseg.video.sources.csi:open_csi",
    "file": "edgeseg.video.sources.video_file:open_video_file",
    "folder": "edgeseg.video.sources.folder:open_folder",
    "gst": "edgeseg.video.sources.gst:open_gst",
    "http": "edgeseg.video.sources.http:open_http",
    "https": "edgeseg.video.sources.http:open_https",
    "null": "edgeseg.video.sources.null:open_null",
    "rtsp": "edgeseg.video.sources.rtsp:open_rtsp",
    "rtsps": "edgeseg.video.sources.rtsp:open_rtsps",
    "synthetic": "edgeseg.video.sources.synthetic:open_synthetic",
    "v4l2": "edgeseg.video.sources.v4l2:open_v4l2",
}

SINKS = {
    "display": "edgeseg.video.sinks.display:open_display",
    "file": "edgeseg.video.sinks.video_file:open_video_file",
    "folder": "edgeseg.video.sinks.folder:open_folder",
    "http": "edgeseg.video.sinks.page:open_page",
    "null": "edgeseg.video.sinks.null:open_null",
    "rtsp": "edgeseg.video.sinks.rtsp:open_rtsp",
    "shm": "edgeseg.video.sinks.shm:open_shm",
}

WATCHED = frozenset({"display", "http", "rtsp"})
"""Sinks at which somebody looks while the run goes on."""

KNOW_CAMERAS = frozenset({"http", "null", "shm"})
"""Sinks that tell the frames of several cameras apart."""

__all__ = [
    "SINKS",
    "SOURCES",
    "FrameView",
    "Sink",
    "SinkOptions",
    "SourceOptions",
    "is_watched",
    "knows_cameras",
    "open_sink",
    "open_source",
]


def open_source(uri: str, wanted: SourceOptions | None = None) -> Source:
    """The source that `uri` names: a camera, a stream, a video file, a folder, `synthetic://`.

    What is no camera and gets a rate is played like one: newest frame first, the others dropped.

    Raises:
        UsageError: a scheme, an option or a rate that the source does not take.
        VideoError: a camera or a stream that cannot be opened; a video file that is none.
        InputFileError: a folder without a readable picture.
        MissingPackage: what the source needs is not installed.
    """
    wanted = wanted or SourceOptions()
    for name, value in (("rate", wanted.rate), ("fps", wanted.fps)):
        if value is not None and value <= 0:
            raise UsageError(f"a {name} of {value} frames per second", fix="give one above 0")
    address = source_address(uri, SOURCES)
    with needs("video"):
        opener = pick(SOURCES, address.scheme, kind="source")
    source: Source = opener(address.rest, wanted)
    return source


def open_sink(uri: str, wanted: SinkOptions) -> Sink:
    """The sink that `uri` names: a video file, a folder, a page, a window, a stream, `null://`.

    Raises:
        UsageError: a scheme, a suffix or a codec that does not exist.
        OutputError: a target that cannot be written, a port in use, no display.
        MissingPackage: what the sink needs is not installed.
    """
    if wanted.fps is not None and wanted.fps <= 0:
        raise UsageError(f"{wanted.fps} frames per second", fix="give a rate above 0")
    address = sink_address(uri, SINKS)
    if wanted.codec is not None and address.scheme not in {"file", "rtsp"}:
        raise UsageError(
            f"{shown(uri)} takes no codec, got {wanted.codec!r}",
            fix="name a video file, or no codec",
        )
    with needs("serve" if address.scheme == "http" else "video"):
        opener = pick(SINKS, address.scheme, kind="sink")
    sink: Sink = opener(address.rest, wanted)
    return sink


def is_watched(uri: str) -> bool:
    """Whether somebody looks at the sink `uri` while the run goes on."""
    return sink_address(uri, SINKS).scheme in WATCHED


def knows_cameras(uri: str) -> bool:
    """Whether the sink `uri` tells the frames of several cameras apart."""
    return sink_address(uri, SINKS).scheme in KNOW_CAMERAS
