"""Where results go: the Sink protocol and what it is given."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from edgeseg.types import Labels, Pixels, Size


@dataclass(frozen=True, kw_only=True)
class SinkOptions:
    """What the frames of a sink will be."""

    size: Size
    """Of the pictures."""
    fps: Fraction
    labels: Labels
    codec: str | None = None
    """For a video file; None takes the best there is."""


@dataclass(frozen=True, kw_only=True)
class FrameView:
    """One finished frame, lent for the length of a call: its arrays are reused afterwards."""

    index: int
    """Where the frame stands in its source; grows from frame to frame."""
    picture: Pixels
    """What people look at: uint8 (H, W, 3) RGB."""
    labels: Pixels
    """Class ids, uint8 (H, W)."""


class Sink(Protocol):
    """Takes finished frames in order."""

    def write(self, frame: FrameView) -> None:
        """Take one frame; nothing of `frame` is kept after the call."""

    def close(self) -> None:
        """Finish and publish what was written; closing twice is fine."""
