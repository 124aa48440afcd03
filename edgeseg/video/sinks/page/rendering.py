"""What a frame is turned into for the viewers that are there."""

import cv2
import numpy as np

from edgeseg.types import PixelFormat, Pixels, Size
from edgeseg.video.overlay import Overlay, Visualize
from edgeseg.video.pixels import ToRgb, resized
from edgeseg.video.sinks import SinkOptions
from edgeseg.video.sinks.page.encoding import (
    JpegEncoder,
    PngEncoder,
    class_shares,
    message,
    preview_size,
)
from edgeseg.video.sinks.page.figures import Figures

LIVE, LABELS, PICTURE = "live", "labels", "picture"
VIEWS: dict[str, Visualize | None] = {
    "overlay": "overlay",
    "mask": "mask",
    "side-by-side": "side-by-side",
    PICTURE: None,
}
"""The views that the server draws for who cannot; None is the frame itself."""


class Renderer:
    """Turns the frames of one camera into bytes; everything in it belongs to one thread."""

    def __init__(self, camera: int, options: SinkOptions, quality: int, figures: Figures) -> None:
        self._camera, self._options, self._figures = camera, options, figures
        self._quality = quality
        self._size = options.frame_size or options.size
        self._jpeg = JpegEncoder(options.pixel_format, self._size, quality, yuv=options.yuv)
        self._png = PngEncoder(options.labels)
        self._mask_size = preview_size(options.mask_size or self._size)
        self._small_mask = np.empty(self._mask_size, np.uint8)
        self._drawn: dict[str, _Drawn] = {}

    def render(self, kind: str, pixels: Pixels | None, labels: Pixels, index: int) -> bytes:
        """The frame as `kind` shows it; nothing of the arguments is kept."""
        if kind == LABELS:
            return self._png.encode(labels)
        if kind == LIVE:
            return self._live(pixels, labels, index)
        if pixels is None:
            return b""
        if kind == PICTURE:
            return self._jpeg.encode(pixels)
        if kind not in self._drawn:
            self._drawn[kind] = _Drawn(self._options, kind, self._size, self._quality)
        return self._drawn[kind].encode(pixels, labels)

    def _live(self, pixels: Pixels | None, labels: Pixels, index: int) -> bytes:
        """Picture, mask and figures of one frame: they belong together, and travel together."""
        shares = class_shares(labels, len(self._options.labels))
        self._figures.note_shares(self._camera, shares)
        if labels.shape != self._mask_size:
            labels = self._smaller(labels)
        values = {
            "kind": "frame",
            "camera": self._camera,
            "index": index,
            "shares": shares,
            **self._figures.live(),
        }
        jpeg = b"" if pixels is None else self._jpeg.encode(pixels)
        return message(values, jpeg, self._png.encode(labels))

    def _smaller(self, labels: Pixels) -> Pixels:
        width_height = self._mask_size[::-1]
        nearest = cv2.INTER_NEAREST
        cv2.resize(labels, width_height, dst=self._small_mask, interpolation=nearest)
        return self._small_mask


class _Drawn:
    """One view, as JPEG, for who cannot lay the mask over the picture."""

    def __init__(self, options: SinkOptions, kind: str, size: Size, quality: int) -> None:
        self._to_rgb = ToRgb(options.pixel_format, size, yuv=options.yuv)
        self._size = preview_size(size)
        alpha = options.alpha
        view = VIEWS[kind] or "overlay"
        self._overlay = Overlay(self._size, options.labels, visualize=view, alpha=alpha)
        drawn_size = self._overlay.picture_size
        self._jpeg = JpegEncoder(PixelFormat.RGB8, drawn_size, quality)

    def encode(self, pixels: Pixels, labels: Pixels) -> bytes:
        picture = resized(self._to_rgb.view(pixels), self._size)
        return self._jpeg.encode(self._overlay.draw(picture, labels))
