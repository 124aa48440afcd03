"""Where results go: the Sink protocol and what it is given."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from edgeseg.frames import FrameTime, SourceCounts, YuvKind
from edgeseg.types import Labels, PixelFormat, Pixels, Size


@dataclass(frozen=True, kw_only=True)
class SinkOptions:
    """What the frames of a sink will be."""

    size: Size
    """Of the pictures."""
    fps: Fraction | None
    """None where a live source does not say."""
    labels: Labels
    codec: str | None = None
    """For a video file; None takes the best there is."""
    live: bool = False
    """Frames come with gaps, and are to be shown at the time they were captured."""
    frame_size: Size | None = None
    """Of `FrameView.pixels`; None is that of the pictures."""
    mask_size: Size | None = None
    """Of `FrameView.labels`; None is that of the frames."""
    pixel_format: PixelFormat = PixelFormat.RGB8
    """Of `FrameView.pixels`."""
    yuv: YuvKind = "bt601-limited"
    """What those are in, if they are NV12 or I420."""
    pixel_aspect: Fraction = Fraction(1)
    """Width over height of one pixel."""
    cameras: tuple[str, ...] = ("",)
    """The names of the sources; `FrameView.camera` counts in them."""
    title: str = ""
    """What runs, in one line: network, precision, backend."""
    visualize: str = "overlay"
    """What a viewer who can choose sees first: overlay, mask or side-by-side."""
    alpha: float = 0.5
    """Weight of the classes in the overlay that a viewer who can choose sees first."""


@dataclass(frozen=True, kw_only=True)
class FrameView:
    """One finished frame, lent for the length of a call: its arrays are reused afterwards."""

    index: int
    """Where the frame stands in its source; grows from frame to frame."""
    picture: Pixels
    """What people look at: uint8 (H, W, 3) RGB; empty for a sink that `takes_pictures` not."""
    labels: Pixels
    """Class ids, uint8 (H, W)."""
    pixels: Pixels | None = None
    """The frame as the engine got it, in the pixel format of the sink's options."""
    time: FrameTime | None = None
    age_ms: float = 0.0
    """From capture to mask."""
    camera: int = 0
    stages_ms: dict[str, float] = field(default_factory=dict)
    """What the frame took in each stage."""
    counts: SourceCounts = field(default_factory=SourceCounts)
    """Of the frame's source, up to now."""
    fps: float = 0.0
    """Results of this camera in a second, over the last ones."""


class Sink(Protocol):
    """Takes finished frames in order."""

    takes_pictures: bool
    """Whether it looks at `FrameView.picture`; where no sink does, nothing is drawn."""

    def write(self, frame: FrameView) -> None:
        """Take one frame; nothing of `frame` is kept after the call.

        Raises:
            OutputError: no more can be taken, and the run is to end.
        """

    def close(self) -> None:
        """Finish and publish what was written; closing twice is fine."""
