"""The numbers of each camera: kept with every frame, read whenever somebody looks."""

import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeseg.frames import SourceCounts
from edgeseg.types import Size
from edgeseg.video.sinks import FrameView, SinkOptions

WINDOW_S = 0.5
"""Ages and stages are averaged over as long."""
QUIET_S = 2.0
"""A camera that has been silent for longer has no rate."""


@dataclass(kw_only=True)
class _Window:
    """What happened between two moments."""

    start_s: float
    frames: int = 0
    age_sum_ms: float = 0.0
    age_max_ms: float = 0.0
    stages_ms: dict[str, float] = field(default_factory=dict)

    def add(self, view: FrameView) -> None:
        self.frames += 1
        self.age_sum_ms += view.age_ms
        self.age_max_ms = max(self.age_max_ms, view.age_ms)
        for stage, spent in view.stages_ms.items():
            self.stages_ms[stage] = self.stages_ms.get(stage, 0.0) + spent


class Figures:
    """The numbers of all cameras; `add` belongs to the loop, everything else to any thread."""

    def __init__(self, options: SinkOptions) -> None:
        self.title = options.title
        self.viewers = 0
        self._cameras = [_Camera(name, options) for name in options.cameras]
        self._classes = [
            {"name": name, "color": "#{:02x}{:02x}{:02x}".format(*color)}
            for name, color in zip(options.labels.names, options.labels.colors, strict=True)
        ]

    def add(self, view: FrameView) -> None:
        """Count one frame."""
        self._cameras[view.camera].add(view)

    def note_shares(self, camera: int, shares: list[float]) -> None:
        """Remember the class shares of the frame that was looked at last."""
        self._cameras[camera].shares = (time.monotonic(), shares)

    def live(self) -> dict[str, Any]:
        """What changes all the time."""
        now_s = time.monotonic()
        return {
            "viewers": self.viewers,
            "cameras": [camera.values(now_s) for camera in self._cameras],
        }

    def document(self) -> dict[str, Any]:
        """All of it, what /stats.json shows."""
        now_s = time.monotonic()
        cameras = [
            {"name": camera.name, **camera.values(now_s), "shares": camera.recent_shares(now_s)}
            for camera in self._cameras
        ]
        return {
            "schema": 1,
            "title": self.title,
            "viewers": self.viewers,
            "classes": self._classes,
            "cameras": cameras,
        }


class _Camera:
    def __init__(self, name: str, options: SinkOptions) -> None:
        self.name = name
        self.shares: tuple[float, list[float]] | None = None
        size: Size = options.frame_size or options.size
        self._size = {"width": size.width, "height": size.height}
        self._lock = threading.Lock()
        self._frames, self._index, self._fps = 0, -1, 0.0
        self._last_s = time.monotonic()
        self._now = _Window(start_s=self._last_s)
        self._before = self._now
        self._rate = 0.0
        self._counts = SourceCounts()

    def add(self, view: FrameView) -> None:
        now_s = time.monotonic()
        with self._lock:
            self._frames += 1
            self._index, self._fps, self._last_s = view.index, view.fps, now_s
            self._counts = view.counts
            self._now.add(view)
            spent_s = now_s - self._now.start_s
            if spent_s >= WINDOW_S:
                self._rate = self._now.frames / spent_s
                self._before, self._now = self._now, _Window(start_s=now_s)

    def values(self, now_s: float) -> dict[str, Any]:
        with self._lock:
            window = self._before if self._before.frames else self._now
            quiet_s = now_s - self._last_s
            frames = max(1, window.frames)
            rate = 0.0 if quiet_s > QUIET_S else self._fps or self._rate
            return {
                **self._size,
                "frames": self._frames,
                "index": self._index,
                "fps": round(rate, 2),
                "age_ms": round(window.age_sum_ms / frames, 2),
                "age_max_ms": round(window.age_max_ms, 2),
                "quiet_s": round(quiet_s, 2),
                "stages_ms": {k: round(v / frames, 3) for k, v in window.stages_ms.items()},
                **asdict(self._counts),
            }

    def recent_shares(self, now_s: float) -> list[float] | None:
        """None where nobody has looked for a while."""
        noted_s, shares = self.shares or (0.0, [])
        return shares if shares and now_s - noted_s < QUIET_S else None
