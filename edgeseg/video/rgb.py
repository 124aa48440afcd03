"""RGB pictures in an engine's own pixel format."""

import numpy as np

from edgeseg.frames import YuvKind
from edgeseg.tables import needs
from edgeseg.types import Buffer, PixelFormat, Pixels, Size


def write_rgb(image: Pixels, pixels: Buffer, pixel_format: PixelFormat, *, yuv: YuvKind) -> None:
    """Write `image`, uint8 (H, W, 3) RGB, into `pixels` in another format.

    `yuv` is what NV12 and I420 frames are in. RGB needs nothing; any other format needs OpenCV.
    """
    if pixel_format is PixelFormat.RGB8:
        np.copyto(pixels, image)
        return
    with needs("video"):
        from edgeseg.video.pixels import FromRgb
    FromRgb(pixel_format, Size(*image.shape[:2]), yuv=yuv).write(image, pixels)
