"""Between the loop and the viewers: the newest frame of each camera, encoded in one thread.

Where nobody looks the loop only leaves numbers here. Where somebody does, it leaves a copy of a
frame as often as the preview shows one; what was not encoded in time is overwritten.
"""

import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from edgeseg.types import Pixels
from edgeseg.video.sinks import FrameView, SinkOptions
from edgeseg.video.sinks.page.figures import Figures
from edgeseg.video.sinks.page.rendering import Renderer

Publish = Callable[[int, str, bytes], None]
"""Takes what a camera's frame became for one kind of viewer."""

log = logging.getLogger(__name__)


class Previews:
    """The frames that viewers wait for; `offer` belongs to the loop, `want` to the server."""

    def __init__(
        self,
        options: SinkOptions,
        figures: Figures,
        publish: Publish,
        *,
        fps: float,
        quality: int,
    ) -> None:
        cameras = range(len(options.cameras))
        self._publish = publish
        self._interval_s = 1 / fps
        self._wanted: list[frozenset[str]] = [frozenset() for _ in cameras]
        self._due_s = [0.0 for _ in cameras]
        self._wake = threading.Condition()
        self._spare = [[_Copy(options), _Copy(options)] for _ in cameras]
        self._newest: list[_Copy | None] = [None for _ in cameras]
        self._renderers = [Renderer(camera, options, quality, figures) for camera in cameras]
        self._failed = self._closed = False
        self._thread = threading.Thread(target=self._work, name="page pictures", daemon=True)
        self._thread.start()

    def want(self, camera: int, kinds: frozenset[str]) -> None:
        """From now on, make frames of `camera` into these kinds; none where nobody looks."""
        self._wanted[camera] = kinds
        self._due_s[camera] = 0.0

    def offer(self, view: FrameView) -> None:
        """Copy the frame, if somebody looks and the last one is long enough ago."""
        camera = view.camera
        if not self._wanted[camera]:
            return
        now_s = time.monotonic()
        if now_s < self._due_s[camera]:
            return
        # On a grid, so that 30 frames a second become 10 and not 9; from now on after a pause.
        self._due_s[camera] = max(
            self._due_s[camera] + self._interval_s, now_s + self._interval_s / 2
        )
        with self._wake:
            copy = self._newest[camera] or self._spare[camera].pop()
            self._newest[camera] = None
        copy.take(view)
        with self._wake:
            self._newest[camera] = copy
            self._wake.notify()

    def close(self) -> None:
        """End the thread; closing twice is fine."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(2.0)

    def _work(self) -> None:
        while (ready := self._next()) is not None:
            for camera, copy in ready:
                try:
                    self._render(camera, copy)
                except Exception as error:  # noqa: BLE001 - a page that fails ends no run
                    self._note(error)
                with self._wake:
                    self._spare[camera].append(copy)

    def _next(self) -> "list[tuple[int, _Copy]] | None":
        """The frames that came since the last call, waiting for one; None at the end."""
        with self._wake:
            while not self._closed and not any(self._newest):
                self._wake.wait()
            ready = [(camera, copy) for camera, copy in enumerate(self._newest) if copy]
            self._newest = [None] * len(self._newest)
            return None if self._closed else ready

    def _render(self, camera: int, copy: "_Copy") -> None:
        for kind in sorted(self._wanted[camera]):
            data = self._renderers[camera].render(kind, copy.pixels, copy.labels, copy.index)
            if data:
                self._publish(camera, kind, data)

    def _note(self, error: Exception) -> None:
        """Say once that something is wrong, and not ten times a second."""
        if not self._failed:
            self._failed = True
            log.error("a frame cannot be shown on the page", exc_info=error)


class _Copy:
    """Memory for one frame, allocated once."""

    def __init__(self, options: SinkOptions) -> None:
        size = options.frame_size or options.size
        self._pixels = np.empty(options.pixel_format.frame_shape(size), np.uint8)
        self.labels: Pixels = np.empty(options.mask_size or size, np.uint8)
        self.pixels: Pixels | None = None
        """None where the loop does not lend its frames."""
        self.index = -1

    def take(self, view: FrameView) -> None:
        self.index = view.index
        np.copyto(self.labels, view.labels)
        self.pixels = None
        if view.pixels is not None:
            np.copyto(self._pixels, view.pixels)
            self.pixels = self._pixels
