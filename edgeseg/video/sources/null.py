"""Grey frames that cost nothing: `null://`, to time everything but the source."""

import time
from fractions import Fraction

from edgeseg.frames import FrameTime, Source, VideoInfo
from edgeseg.types import Buffer, Size
from edgeseg.video.pixels import checked
from edgeseg.video.sources import SourceOptions, chosen_fps, chosen_size, positive
from edgeseg.video.sources.paced import played
from edgeseg.video.uri import options_of

SECONDS = Fraction(10)
FPS = Fraction(30)
SIZE = Size(480, 640)


class NullSource:
    """Frames of one grey value, as fast as they are asked for."""

    def __init__(self, info: VideoInfo, fps: Fraction) -> None:
        self.info = info
        self._fps = fps
        self._index = 0

    def read_into(self, pixels: Buffer) -> FrameTime | None:
        """Fill `pixels` with 128; None at the end."""
        if self._index == self.info.frames:
            return None
        checked(pixels, self.info.pixel_format, self.info.size).fill(128)
        read = FrameTime(self._index, time.monotonic(), float(self._index / self._fps))
        self._index += 1
        return read

    def close(self) -> None:
        """End here; reading on gives None."""
        self._index = self.info.frames or 0


def open_null(rest: str, wanted: SourceOptions) -> Source:
    """The source of `null://?seconds=10&size=1280x720&fps=30`.

    Raises:
        UsageError: an option that does not exist, or a value that is none.
    """
    options = options_of(rest, ("seconds", "size", "fps"), scheme="null")
    fps = chosen_fps(options, wanted.rate or FPS)
    seconds = positive(options.get("seconds", str(SECONDS)), "seconds")
    size = chosen_size(options, wanted, SIZE)
    wanted.pixel_format.frame_shape(size)  # refuses an odd size at once, not at the first frame
    info = VideoInfo(
        size=size,
        fps=fps,
        pixel_format=wanted.pixel_format,
        frames=max(1, int(seconds * fps)),
        name="null",
    )
    frames = NullSource(info, fps)
    return played(frames, wanted.rate, wanted) if wanted.rate else frames
