"""Which of a camera's formats, sizes and rates is taken.

1. The size is the one that the URI asks for, and no other. Else it is the size that frames are
   delivered in, or the smallest that covers it. Else it is the largest from 640x480 to 1280x720
   that reaches the rate; where none does, the largest below that, or the smallest above.
2. The rate to be reached is the one asked for. Nobody asked: 30 a second, or as many as the camera
   has at usual sizes, 640x480 to 1280x720. No camera is refused for being slow; it is said.
3. Of the formats that reach the rate at that size the one that costs least for the slot is taken:
   its own, another uncompressed one, MJPEG only where nothing else is that fast, grey only where
   there is no colour. Many USB cameras have 1280x720 at 30 a second in MJPEG alone.
4. The rate is the lowest one that is enough; what the driver then sets is what counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from edgeseg.errors import VideoError
from edgeseg.types import PixelFormat, Size
from edgeseg.video.v4l2.formats import LAYOUTS, cost, is_bayer, names_of

USUAL_RATE = Fraction(30)
LEAST, MOST = Size(480, 640), Size(720, 1280)
"""What is usual."""
ENOUGH = Fraction(99, 100)
"""29.97 a second are 30."""
SHOWN_SIZES = 8


class Mode(NamedTuple):
    """A pixel format at a size."""

    format: str
    size: Size
    rates: tuple[Fraction, ...] = ()
    """Frames per second, the fastest first; none where the driver does not say."""

    def reaches(self, rate: Fraction) -> bool:
        """Whether it is that fast; one that does not say is believed to be."""
        return not self.rates or self.rates[0] >= rate * ENOUGH


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked of a camera."""

    pixel_format: PixelFormat = PixelFormat.RGB8
    """Of the slot."""
    size: Size | None = None
    """Of the camera."""
    delivered: Size | None = None
    """What frames are scaled to."""
    prefers: Size | None = None
    """Of the camera, where nothing else is said of a size and it has this one."""
    rate: Fraction | None = None
    format: str | None = None


class Choice(NamedTuple):
    """What a camera is asked for."""

    format: str
    size: Size
    rate: Fraction


def chosen(modes: Sequence[Mode], wish: Wish, *, camera: str) -> Choice:
    """The format, size and rate to ask the camera for.

    Raises:
        VideoError: nothing that can be read, or not what was asked for; with the camera's table.
    """
    readable = [mode for mode in modes if mode.format in LAYOUTS]
    if not readable:
        raise _unreadable(modes, camera)
    offered = [mode for mode in readable if wish.format is None or _is(mode, wish.format)]
    if not offered:
        raise _not_offered(f"no {wish.format}", modes, camera)
    size = _size(offered, wish)
    if size is None:
        of = f" in {wish.format}" if wish.format else ""
        raise _not_offered(f"no {wish.size}{of}", modes, camera)
    fitting = [mode for mode in offered if mode.size == size]
    rate = _bar(fitting, wish.rate)
    reaching = [mode for mode in fitting if mode.reaches(rate)]
    best = min(reaching, key=lambda mode: cost(mode.format, wish.pixel_format))
    enough = [one for one in best.rates if one >= rate * ENOUGH]
    return Choice(best.format, size, min(enough, default=rate))


def table(modes: Iterable[Mode]) -> list[str]:
    """A line for each format: its sizes, each with its greatest rate, and whether it is read."""
    by_format: dict[str, list[Mode]] = {}
    for mode in modes:
        by_format.setdefault(mode.format, []).append(mode)
    return [
        f"{name}: {_sizes(found)}" + ("" if name in LAYOUTS else " (not read here)")
        for name, found in by_format.items()
    ]


def rate_text(rate: Fraction) -> str:
    """At most two decimals."""
    return f"{float(rate):.2f}".rstrip("0").rstrip(".")


def _is(mode: Mode, option: str) -> bool:
    return mode.format in names_of(option)


def _bar(modes: Sequence[Mode], wanted: Fraction | None) -> Fraction:
    """The rate to be reached: what is wanted, or the greatest that is there."""
    rate = wanted or USUAL_RATE
    return min(rate, max(mode.rates[0] if mode.rates else rate for mode in modes))


def _size(modes: Sequence[Mode], wish: Wish) -> Size | None:
    """The size to ask for; None where the one that is asked for is not offered."""
    sizes = {mode.size for mode in modes}
    if wish.size is not None:
        return wish.size if wish.size in sizes else None
    if wish.delivered in sizes:
        return wish.delivered
    if wish.delivered is None and wish.prefers in sizes:
        return wish.prefers
    usual = [mode for mode in modes if _is_usual(mode.size)]
    bar = _bar(modes if wish.rate else usual or modes, wish.rate)
    reaching = {mode.size for mode in modes if mode.reaches(bar)}
    if wish.delivered is not None:
        covering = {size for size in reaching if _within(wish.delivered, size)}
        return min(covering, key=_area, default=max(reaching, key=_area))
    small = {size for size in reaching if _within(size, MOST)}
    best = set(filter(_is_usual, small)) or small
    return max(best, key=_area) if best else min(reaching, key=_area)


def _is_usual(size: Size) -> bool:
    return _within(LEAST, size) and _within(size, MOST)


def _within(one: Size, other: Size) -> bool:
    return one.height <= other.height and one.width <= other.width


def _area(size: Size) -> tuple[int, Size]:
    return size.height * size.width, size


def _sizes(modes: Sequence[Mode]) -> str:
    found = sorted(modes, key=lambda mode: _area(mode.size), reverse=True)
    texts = [
        f"{mode.size}" + (f" at {rate_text(mode.rates[0])}" if mode.rates else "") for mode in found
    ]
    more = f" and {len(texts) - SHOWN_SIZES} more" if len(texts) > SHOWN_SIZES else ""
    return ", ".join(texts[:SHOWN_SIZES]) + more


def _unreadable(modes: Sequence[Mode], camera: str) -> VideoError:
    names = sorted({mode.format for mode in modes})
    if names and all(map(is_bayer, names)):
        return VideoError(
            f"{camera} has raw Bayer only ({', '.join(names)}): a CSI sensor before its ISP",
            fix="read it through the ISP: csi://0, or the number of the camera's connector",
        )
    device = camera.partition(" (")[0]
    return VideoError(
        f"{camera} has no format that can be read: {', '.join(names) or 'it names none'}",
        fix=f"let GStreamer decode it: 'gst://v4l2src device={device} ! decodebin ! videoconvert'; "
        f"what needs no GStreamer: {', '.join(LAYOUTS)}",
    )


def _not_offered(what: str, modes: Sequence[Mode], camera: str) -> VideoError:
    return VideoError(
        f"{camera} has {what}",
        fix="\n    ".join(["choose from what it has, or let it be chosen:", *table(modes)]),
    )
