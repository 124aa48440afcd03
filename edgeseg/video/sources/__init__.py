"""Where frames come from: one file for each kind of source."""

from dataclasses import dataclass
from fractions import Fraction

from edgeseg.errors import UsageError
from edgeseg.types import PixelFormat, Size, size_from_text


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What the caller wants of a source, whatever kind it is."""

    pixel_format: PixelFormat = PixelFormat.RGB8
    rate: Fraction | None = None
    """Frames per second, for a source that has no rate of its own."""
    scale_to: Size | None = None
    """The size to deliver frames in; None keeps theirs."""


def chosen_size(options: dict[str, str], wanted: SourceOptions, default: Size) -> Size:
    """The size that the URI or the call asks for; refused where they differ."""
    scale_to = wanted.scale_to
    size = size_from_text(options["size"]) if "size" in options else None
    if size is not None and scale_to is not None and size != scale_to:
        raise UsageError(f"the URI asks for {size} and the call for {scale_to}", fix="give one")
    return size or scale_to or default


def chosen_fps(options: dict[str, str], wanted: SourceOptions, default: Fraction) -> Fraction:
    """The rate that the URI or the call asks for; refused where they differ."""
    rate = wanted.rate
    fps = positive(options["fps"], "fps") if "fps" in options else None
    if fps is not None and rate is not None and fps != rate:
        raise UsageError(f"the URI asks for {fps} fps and the call for {rate}", fix="give one")
    return fps or rate or default


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
