"""A GStreamer pipeline read by OpenCV, where OpenCV was built with GStreamer and gi is missing."""

import re
import time
from fractions import Fraction

import cv2
import numpy as np
from av.video.frame import VideoFrame

from edgeseg.errors import VideoError
from edgeseg.frames import VideoInfo
from edgeseg.types import Buffer, Pixels, Size
from edgeseg.video.av_frames import FrameWriter
from edgeseg.video.gstreamer import shown_pipeline
from edgeseg.video.sources import SourceOptions

_FIX = "try it by itself: gst-launch-1.0 -v PIPELINE ! fakesink"


def cv2_has_gstreamer() -> bool:
    """Whether this OpenCV was built with GStreamer; no wheel of pip was."""
    return re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()) is not None


class Cv2Pipeline:
    """The frames of a pipeline as BGR in OpenCV's memory; converted once, into the caller's.

    OpenCV gives neither time stamps nor reasons: a frame is captured when it is there, and the end
    of a pipeline looks like a lost camera.
    """

    ended = False

    def __init__(
        self, text: str, wanted: SourceOptions, *, scale_to: Size | None = None, name: str = "gst"
    ) -> None:
        self._text = shown_pipeline(text)
        self._reader = cv2.VideoCapture(_as_bgr(text), cv2.CAP_GSTREAMER)
        if not self._reader.isOpened():
            problem = f"OpenCV's GStreamer does not start the pipeline {self._text}"
            raise VideoError(problem, fix=_FIX)
        self._first: Pixels | None = self._read()
        size = Size(*self._first.shape[:2])
        fps = self._reader.get(cv2.CAP_PROP_FPS)
        self.info = VideoInfo(
            size=scale_to or size,
            fps=Fraction(fps).limit_denominator(1001) if fps > 0 else None,
            pixel_format=wanted.pixel_format,
            name=name,
            live=True,
        )
        self._writer = FrameWriter(
            wanted.pixel_format, self.info.size, yuv=wanted.yuv, counts=wanted.counts
        )

    def grab(self, timeout_s: float) -> "Cv2Grab":
        """The next frame, however long OpenCV takes for it."""
        del timeout_s
        picture, self._first = self._first, None
        return Cv2Grab(self._writer, self._read() if picture is None else picture)

    def close(self) -> None:
        """Give up the pipeline."""
        self._reader.release()

    def _read(self) -> Pixels:
        there, picture = self._reader.read()
        if not there or picture is None:
            self._reader.release()
            raise VideoError(f"no more frames come from the pipeline {self._text}", fix=_FIX)
        if picture.ndim != 3 or picture.shape[2] != 3:
            self._reader.release()
            raise VideoError(
                f"the pipeline {self._text} does not deliver BGR, which is all that is read "
                "through OpenCV",
                fix="leave its appsink away, or write before it: "
                "videoconvert ! video/x-raw,format=BGR",
            )
        return np.asarray(picture, np.uint8)


class Cv2Grab:
    """One frame of a Cv2Pipeline, in memory of its own."""

    def __init__(self, writer: FrameWriter, picture: Pixels) -> None:
        self.captured_s = time.monotonic()
        self.size = Size(*picture.shape[:2])
        self._writer, self._picture = writer, picture

    def write_into(self, pixels: Buffer) -> None:
        """Fill `pixels` with the frame."""
        self._writer.write(VideoFrame.from_numpy_buffer(self._picture, "bgr24"), pixels)

    def release(self) -> None:
        """Nothing to give back: the memory is the frame's own."""


def _as_bgr(text: str) -> str:
    if re.search(r"\bappsink\b", text):
        return text
    return (
        f"{text.rstrip().rstrip('!')} ! videoconvert ! video/x-raw,format=BGR "
        "! appsink max-buffers=2 drop=false sync=false"
    )
