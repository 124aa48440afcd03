"""A test picture of a camera, taken when its exposure has settled."""

import time
from pathlib import Path

import cv2
import numpy as np

from edgeseg.errors import VideoError
from edgeseg.files import write_whole
from edgeseg.frames import SourceCounts
from edgeseg.types import PixelFormat, Pixels
from edgeseg.video.sources import SourceOptions
from edgeseg.video.sources.v4l2 import V4l2Camera
from edgeseg.video.v4l2.negotiation import Wish
from edgeseg.video.v4l2.portrait import Portrait, hint_of

PATIENCE_S = 5.0
"""For the first picture; some cameras take two seconds to wake up."""
SETTLING_S = 1.0
"""After the first picture: exposure and white balance find their values."""
POLL_S = 0.2


def take_portrait(
    device: Path, folder: Path, *, settling_s: float = SETTLING_S, patience_s: float = PATIENCE_S
) -> Portrait:
    """A picture of the camera at `device`, as a PNG in `folder`.

    Raises:
        VideoError: it does not open, or no picture came.
        OutputError: the folder cannot be written.
    """
    wanted = SourceOptions(pixel_format=PixelFormat.BGR8)
    camera = V4l2Camera(device, Wish(pixel_format=PixelFormat.BGR8), wanted)
    try:
        pixels = np.empty(wanted.pixel_format.frame_shape(camera.info.size), np.uint8)
        measured_fps = _settled(camera, pixels, wanted.counts, settling_s, patience_s)
    finally:
        camera.close()
    file = folder / f"{device.name}.png"
    write_whole(file, cv2.imencode(".png", pixels)[1].tobytes())
    luma = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    brightness, contrast = float(luma.mean()), float(luma.std())
    size = camera.info.size
    return Portrait(
        file=file,
        format=camera.format,
        width=size.width,
        height=size.height,
        fps=None if camera.info.fps is None else float(camera.info.fps),
        measured_fps=measured_fps,
        damaged=wanted.counts.damaged,
        brightness=brightness,
        contrast=contrast,
        hint=hint_of(brightness, contrast),
    )


def _settled(
    camera: V4l2Camera,
    pixels: Pixels,
    counts: SourceCounts,
    settling_s: float,
    patience_s: float,
) -> float | None:
    """Fill `pixels` with the last of the first pictures; how many came in a second."""
    began_s = time.monotonic()
    times: list[float] = []
    while True:
        now_s = time.monotonic()
        if times and now_s - times[0] > settling_s:
            break
        if now_s - began_s > patience_s:
            raise VideoError(
                f"{camera.info.name} runs, and no whole picture came in {patience_s:.0f} s",
                fix="another cable or USB port; dmesg says what the kernel thinks of it",
            )
        grab = camera.grab(POLL_S)
        if grab is None:
            continue
        try:
            grab.write_into(pixels)
            times.append(grab.captured_s)
        except VideoError:
            counts.damaged += 1
        finally:
            grab.release()
    seconds = times[-1] - times[0]
    return (len(times) - 1) / seconds if seconds > 0 else None
