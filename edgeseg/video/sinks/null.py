"""A sink that takes everything and keeps nothing: `null://`."""

from edgeseg.video.sinks import FrameView, SinkOptions
from edgeseg.video.uri import options_of


class NullSink:
    """Counts the frames."""

    takes_pictures = True

    def __init__(self) -> None:
        self.frames = 0
        self.last_index = -1

    def write(self, frame: FrameView) -> None:
        """Count `frame`."""
        self.frames += 1
        self.last_index = frame.index

    def close(self) -> None:
        """Do nothing."""


def open_null(rest: str, _wanted: SinkOptions) -> NullSink:
    """The sink of `null://`, which has no options."""
    options_of(rest, (), scheme="null")
    return NullSink()
