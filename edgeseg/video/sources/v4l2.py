"""A camera of Linux: `/dev/video0`, or `v4l2:///dev/video0?size=1280x720&format=mjpeg`."""

import logging
import time
from dataclasses import replace
from pathlib import Path

from edgeseg.errors import UsageError, VideoError
from edgeseg.frames import VideoInfo
from edgeseg.tables import known
from edgeseg.types import Buffer, Size, size_from_text
from edgeseg.video.capture import Capture
from edgeseg.video.sources import SourceOptions, positive
from edgeseg.video.uri import options_of
from edgeseg.video.v4l2 import ioctl
from edgeseg.video.v4l2.card import card_of, frame_type, modes_of
from edgeseg.video.v4l2.formats import LAYOUTS, names_of
from edgeseg.video.v4l2.negotiation import ENOUGH, USUAL_RATE, Wish, chosen, rate_text
from edgeseg.video.v4l2.pictures import PictureWriter
from edgeseg.video.v4l2.refusals import lost, refused
from edgeseg.video.v4l2.setting import Setting, set_up
from edgeseg.video.v4l2.stream import Filled, Stream

NOTHING_YET_S = 0.01
"""The pause where a driver says that something happened and has nothing."""

log = logging.getLogger(__name__)


class V4l2Grab:
    """A frame that is still in the driver's buffer; the camera may be closed meanwhile."""

    def __init__(self, filled: Filled, size: Size, writer: PictureWriter, stream: Stream) -> None:
        self.captured_s, self.size = filled.captured_s, size
        self._memories, self._index = filled.memories, filled.buffer
        self._writer = writer
        self._stream: Stream | None = stream

    def write_into(self, pixels: Buffer) -> None:
        """Fill `pixels` from the driver's memory.

        Raises:
            VideoError: a JPEG that does not decode.
        """
        self._writer.write(self._memories, pixels)

    def release(self) -> None:
        """Let the driver fill the buffer again."""
        stream, self._stream = self._stream, None
        self._memories = ()
        if stream is not None:
            stream.queue(self._index)


class V4l2Camera:
    """A camera that streams; what the driver set counts, not what it was asked for."""

    def __init__(
        self, path: Path, wish: Wish, wanted: SourceOptions, *, scale_to: Size | None = None
    ) -> None:
        self.ended = False
        self._path, self._counts = path, wanted.counts
        self._stream: Stream | None = None
        try:
            self._node = ioctl.open_node(path)
        except OSError as error:
            raise refused(path, error) from error
        try:
            self.info = self._started(wish, wanted, scale_to)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError) and not isinstance(error, VideoError):
                raise refused(path, error) from error
            raise

    def _started(self, wish: Wish, wanted: SourceOptions, scale_to: Size | None) -> VideoInfo:
        card = card_of(self._node)
        camera = f"{self._path} ({card.name})"
        buffer_type = frame_type(card, camera)
        modes = modes_of(self._node, buffer_type, also=wish.size or scale_to or wanted.prefers)
        wish = replace(wish, delivered=scale_to, prefers=wanted.prefers)
        choice = chosen(modes, wish, camera=camera)
        frames, rate = set_up(self._node, buffer_type, choice)
        self.format = frames.format
        self._size, size = frames.size, scale_to or frames.size
        wanted.pixel_format.frame_shape(size)  # refuses an odd size in 4:2:0
        self._writer = PictureWriter(
            frames, wanted.pixel_format, size, yuv=wanted.yuv, counts=wanted.counts
        )
        self._stream = Stream(self._node, buffer_type)
        _say(camera, Setting(frames, rate), wish)
        return VideoInfo(
            size=size,
            fps=rate,
            pixel_format=wanted.pixel_format,
            name=self._path.name,
            live=True,
        )

    def grab(self, timeout_s: float) -> V4l2Grab | None:
        """The next whole frame, in the driver's memory; None where none came in time.

        Raises:
            VideoError: the camera is unplugged, or its driver gave up.
        """
        stream = self._stream
        if stream is None:
            return None
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            try:
                if not self._node.wait(left_s):
                    return None
                filled = stream.dequeue()
            except OSError as error:
                raise lost(self._path, error) from error
            if filled is None:
                time.sleep(min(left_s, NOTHING_YET_S))
            elif filled.damaged or not self._writer.is_whole(filled.memories):
                self._counts.damaged += 1
                stream.queue(filled.buffer)
            else:
                return V4l2Grab(filled, self._size, self._writer, stream)
        return None

    def close(self) -> None:
        """Stop the camera and let others have it; frames that are held stay readable."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._node.close()


def open_v4l2(rest: str, wanted: SourceOptions) -> Capture:
    """The camera at `rest`: a path, and `?size=WIDTHxHEIGHT&format=NAME&rate=NUMBER`.

    `/dev/v4l/by-id/...` names a camera that keeps its name when it is plugged in again; a plain
    number is that of `/dev/videoN`.

    Raises:
        UsageError: an option that does not exist, or a value that is none.
        VideoError: no such camera, no permission, busy, or not what was asked for.
    """
    path, _, query = rest.partition("?")
    options = options_of(f"?{query}" if query else "", ("size", "format", "rate"), scheme="v4l2")
    if not path:
        raise UsageError("v4l2:// names no camera", fix="write v4l2:///dev/video0")
    node = Path(f"/dev/video{path}" if path.isascii() and path.isdigit() else path)
    wish = Wish(
        pixel_format=wanted.pixel_format,
        size=size_from_text(options["size"]) if "size" in options else None,
        rate=positive(options["rate"], "rate") if "rate" in options else wanted.rate,
        format=_format(options["format"]) if "format" in options else None,
    )
    return Capture(lambda size: V4l2Camera(node, wish, wanted, scale_to=size), wanted)


def _format(text: str) -> str:
    """`text`, if it names a format that can be read."""
    words = {layout.option: "" for layout in LAYOUTS.values()} | dict.fromkeys(LAYOUTS, "")
    return text if names_of(text) else known(words, text, kind="pixel format")


def _say(camera: str, setting: Setting, wish: Wish) -> None:
    frames, rate = setting.frames, setting.rate
    at = f" at {rate_text(rate)} frames per second" if rate else ""
    log.info("%s: %s, %s%s", camera, frames.format, frames.size, at)
    if wish.size not in {None, frames.size}:
        log.warning("%s was asked for %s and gives %s", camera, wish.size, frames.size)
    asked = wish.rate or USUAL_RATE
    if rate and rate < asked * ENOUGH:
        log.warning(
            "%s gives %s of %s frames per second", camera, rate_text(rate), rate_text(asked)
        )
