"""A street that moves, drawn while it is read, with exact labels: `synthetic://`."""

import time
from dataclasses import replace
from fractions import Fraction

from edgeseg.errors import UsageError
from edgeseg.frames import FrameTime, Source, VideoInfo, YuvKind
from edgeseg.scene import Street
from edgeseg.types import Buffer, PixelFormat, Pixels, Size
from edgeseg.video.pixels import FromRgb
from edgeseg.video.sources import SourceOptions, chosen_fps, chosen_size, positive
from edgeseg.video.sources.endless import ToAndFro
from edgeseg.video.sources.paced import played
from edgeseg.video.uri import options_of

SECONDS = Fraction(10)
LOOP = Fraction(5)
"""Seconds of a street that is shown without an end."""
FPS = Fraction(30)
SIZE = Size(480, 640)


class SyntheticStreet:
    """The frames of one seeded street."""

    def __init__(
        self,
        *,
        seed: int = 0,
        size: Size = SIZE,
        fps: Fraction = FPS,
        seconds: Fraction = SECONDS,
        pixel_format: PixelFormat = PixelFormat.RGB8,
        yuv: YuvKind = "bt601-limited",
    ) -> None:
        self.info = VideoInfo(
            size=size,
            fps=fps,
            pixel_format=pixel_format,
            frames=max(1, int(seconds * fps)),
            name=f"synthetic-{seed}",
        )
        self.truth: Pixels | None = None
        """The exact class ids of the frame read last, uint8 (H, W); a new array each time."""
        self._street = Street(seed, size)
        self._writer = FromRgb(pixel_format, size, yuv=yuv)
        self._fps = fps
        self._index = 0

    def read_into(self, pixels: Buffer) -> FrameTime | None:
        """Fill `pixels` with the next frame; None at the end."""
        if self._index == self.info.frames:
            return None
        pts_s = float(self._index / self._fps)
        picture, self.truth = self._street.frame(pts_s)
        read = FrameTime(self._index, time.monotonic(), pts_s)
        self._writer.write(picture, pixels)
        self._index += 1
        return read

    def close(self) -> None:
        """End here; reading on gives None."""
        self._index = self.info.frames or 0


def open_synthetic(rest: str, wanted: SourceOptions) -> Source:
    """The street of `synthetic://?seconds=10&size=1280x720&seed=3&fps=30`.

    With a rate it is played like a camera. Where somebody watches, and `seconds` is not named, it
    is a camera too, without an end: some seconds of the street, to and fro.

    Raises:
        UsageError: an option that does not exist, or a value that is none.
    """
    options = options_of(rest, ("seconds", "size", "seed", "fps"), scheme="synthetic")
    seed = options.get("seed", "0")
    if not (seed.isascii() and seed.isdigit()):
        raise UsageError(f"the seed {seed!r} is not a whole number", fix="write seed=3")
    fps = chosen_fps(options, wanted.rate or FPS)
    endless = wanted.live and "seconds" not in options
    street = SyntheticStreet(
        seed=int(seed),
        size=chosen_size(options, wanted, SIZE),
        fps=fps,
        seconds=positive(options.get("seconds", str(LOOP if endless else SECONDS)), "seconds"),
        pixel_format=PixelFormat.RGB8 if endless else wanted.pixel_format,
        yuv=wanted.yuv,
    )
    if not endless and wanted.rate is None:
        return street
    source: Source = street
    if endless:
        pixel_format = wanted.pixel_format
        info = replace(street.info, pixel_format=pixel_format, frames=None)
        source = ToAndFro(street, info, yuv=wanted.yuv)
    return played(source, wanted.rate or fps, wanted)
