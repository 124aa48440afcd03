"""A CSI camera through jetson_utils, which brings frames into memory that CPU and GPU share."""

import importlib
import importlib.util
import logging
import time
from fractions import Fraction
from typing import Any

import numpy as np
from av.video.frame import VideoFrame

from edgeseg.errors import VideoError
from edgeseg.frames import VideoInfo
from edgeseg.types import Buffer, PixelFormat, Pixels, Size
from edgeseg.video.av_frames import FrameWriter
from edgeseg.video.pixels import checked
from edgeseg.video.sources import SourceOptions

JETSON_UTILS_FORMATS = {
    PixelFormat.RGB8: "rgb8",
    PixelFormat.BGR8: "bgr8",
    PixelFormat.RGBA8: "rgba8",
    PixelFormat.BGRX8: "bgra8",
}
"""What it is asked for; the GPU converts."""

_AV_FORMATS = {"rgb8": "rgb24", "bgr8": "bgr24", "rgba8": "rgba", "bgra8": "bgra"}

# By the flip-method of nvvidconv.
_FLIPS = (
    "none",
    "counterclockwise",
    "rotate-180",
    "clockwise",
    "horizontal",
    "upper-right-diagonal",
    "vertical",
    "upper-left-diagonal",
)

_BROKEN = (ImportError, OSError, RuntimeError, AttributeError)
"""What loading it raises where its libraries do not fit."""
_START_S = 5.0
_FIX = "check the cable, and that nvargus-daemon runs: systemctl status nvargus-daemon"

log = logging.getLogger(__name__)


def jetson_utils_loads() -> bool:
    """Whether jetson_utils is here and works; one that is broken is told of."""
    if importlib.util.find_spec("jetson_utils") is None:
        return False
    try:
        importlib.import_module("jetson_utils")
    except _BROKEN as error:
        log.warning("jetson_utils does not load: %s; GStreamer is taken", error)
        return False
    return True


class JetsonUtilsCamera:
    """The frames of a videoSource.

    It has a ring of four frames, and at most three are held here at once. A frame is captured when
    `Capture` gave it back: the class says no earlier time in all releases.
    """

    ended = False

    def __init__(
        self,
        sensor: int,
        wanted: SourceOptions,
        *,
        size: Size,
        rate: Fraction,
        flip: int,
        scale_to: Size | None = None,
    ) -> None:
        self._library: Any = importlib.import_module("jetson_utils")
        self._format = JETSON_UTILS_FORMATS[wanted.pixel_format]
        self._name = f"csi://{sensor}"
        arguments = [
            f"--input-width={size.width}",
            f"--input-height={size.height}",
            f"--input-rate={float(rate):g}",
            f"--input-flip={_FLIPS[flip]}",
        ]
        self._source: Any = None
        try:
            self._source = self._library.videoSource(self._name, argv=arguments)
            self._first = self._captured(_START_S)
        except Exception as error:  # it raises just that
            self.close()
            raise VideoError(f"{self._name} does not start: {error}", fix=_FIX) from error
        if self._first is None:
            self.close()
            raise VideoError(f"{self._name} delivers no frame within {_START_S:.0f} s", fix=_FIX)
        self.info = VideoInfo(
            size=scale_to or Size(*self._first.shape[:2]),
            fps=rate,
            pixel_format=wanted.pixel_format,
            name=self._name,
            live=True,
        )
        self._writer = FrameWriter(
            wanted.pixel_format, self.info.size, yuv=wanted.yuv, counts=wanted.counts
        )

    def grab(self, timeout_s: float) -> "JetsonUtilsGrab | None":
        """The next frame; None where none came in time."""
        picture, self._first = self._first, None
        began_s = time.monotonic()
        if picture is None:
            try:
                picture = self._captured(timeout_s)
            except Exception as error:  # it raises just that; older releases at a timeout, too
                if not self._source.IsStreaming():
                    raise VideoError(f"{self._name} is lost: {error}", fix=_FIX) from error
                time.sleep(max(0.0, began_s + timeout_s - time.monotonic()))
        if picture is None:
            if not self._source.IsStreaming():
                raise VideoError(f"{self._name} has stopped", fix=_FIX)
            return None
        return JetsonUtilsGrab(self, picture)

    def write(self, picture: Pixels, pixels: Buffer) -> None:
        """Fill `pixels` with `picture`, once the GPU is done with it."""
        checked(pixels, self.info.pixel_format, self.info.size)
        self._library.cudaDeviceSynchronize()
        if picture.shape == pixels.shape:
            np.copyto(pixels, picture)
        else:
            frame = VideoFrame.from_ndarray(picture, _AV_FORMATS[self._format])
            self._writer.write(frame, pixels)

    def close(self) -> None:
        """Stop the camera."""
        if self._source is not None:
            self._source.Close()

    def _captured(self, timeout_s: float) -> Pixels | None:
        image = self._source.Capture(format=self._format, timeout=int(timeout_s * 1000))
        if image is None:
            return None
        picture: Pixels = self._library.cudaToNumpy(image)
        return picture


class JetsonUtilsGrab:
    """One frame of a JetsonUtilsCamera."""

    def __init__(self, camera: JetsonUtilsCamera, picture: Pixels) -> None:
        self.captured_s = time.monotonic()
        self.size = Size(*picture.shape[:2])
        self._camera, self._picture = camera, picture

    def write_into(self, pixels: Buffer) -> None:
        """Fill `pixels` with the frame."""
        self._camera.write(self._picture, pixels)

    def release(self) -> None:
        """Nothing to give back: the ring goes round by itself."""
