"""Where frames come from: one file for each kind of source."""

import threading
from dataclasses import dataclass, field
from fractions import Fraction

from edgeseg.errors import UsageError
from edgeseg.frames import SourceCounts, YuvKind
from edgeseg.types import PixelFormat, Size, size_from_text


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What the caller wants of a source, whatever kind it is."""

    pixel_format: PixelFormat = PixelFormat.RGB8
    yuv: YuvKind = "bt601-limited"
    """What NV12 and I420 frames are to be in; frames in another kind are converted."""
    rate: Fraction | None = None
    """Frames per second to ask a camera for; what is no camera is played like one, at this rate."""
    fps: Fraction | None = None
    """Frames per second that a source without any has: a folder."""
    scale_to: Size | None = None
    """The size to deliver frames in; None keeps theirs."""
    prefers: Size | None = None
    """The size to ask a camera for where nobody names one; it is taken where the camera has it."""
    live: bool = False
    """Somebody watches: what stands for a camera comes at its own rate, without an end."""
    max_age_s: float | None = None
    """Frames that are older when a live source is asked for one are left out."""
    patience_s: float | None = None
    """How long a lost camera is waited for before the run ends; None is for ever."""
    counts: SourceCounts = field(default_factory=SourceCounts)
    """The source's own; what a camera finds out is counted here, through all reconnects."""
    wake: threading.Condition = field(default_factory=threading.Condition)
    """Notified when a live source has a new frame; several cameras may share one."""


def chosen_size(options: dict[str, str], wanted: SourceOptions, default: Size) -> Size:
    """The size that the URI or the call asks for; refused where they differ."""
    scale_to = wanted.scale_to
    size = size_from_text(options["size"]) if "size" in options else None
    if size is not None and scale_to is not None and size != scale_to:
        raise UsageError(f"the URI asks for {size} and the call for {scale_to}", fix="give one")
    return size or scale_to or default


def chosen_fps(options: dict[str, str], default: Fraction) -> Fraction:
    """The rate that the URI asks for."""
    return positive(options["fps"], "fps") if "fps" in options else default


def positive(text: str, key: str) -> Fraction:
    """The number above 0 that `text` writes: 30, 29.97 or 30000/1001."""
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if value <= 0:
        raise UsageError(
            f"{key}={text} is not a number above 0", fix=f"write {key}=30 or {key}=30000/1001"
        )
    return value
