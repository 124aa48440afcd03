"""The sources of one run: opened, all of them in one size, and what suits them."""

import contextlib
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

from edgeseg.engine import Engine
from edgeseg.errors import UsageError
from edgeseg.frames import Source
from edgeseg.tables import needs
from edgeseg.types import Size

Given: TypeAlias = str | Path | Source
"""What a caller names as a source: a URI, a path, or one that is open already."""

LIVE_WORKERS = 2
"""Beside a GPU, frames at once that come at their own time: more would only wait and grow old.

On a CPU it is one for each camera: a second frame takes the cores away from the first, which
nearly doubles the age of a result and gives a tenth more of them.
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When frames come, and how long is waited for them."""

    rate: Fraction | None = None
    """Frames per second to ask a camera for; what is no camera is played like one at this rate."""
    fps: Fraction | None = None
    """Frames per second that a folder of pictures stands for."""
    max_age_ms: float | None = None
    """Live frames and results that are older are left out, and counted."""
    patience_s: float | None = None
    """How long a lost camera is waited for; None is for ever."""
    seconds: float | None = None
    """The run ends after that long; None is at the end of the sources."""

    def __post_init__(self) -> None:
        for name in ("max_age_ms", "patience_s", "seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                option = name.rsplit("_", 1)[0].replace("_", "-")
                raise UsageError(f"--{option} {value} is no time", fix="give a number above 0")


def opened_sources(
    engine: Engine,
    asked: Sequence[Given],
    sinks: Sequence[str],
    timing: Timing,
    wake: threading.Condition,
    *,
    scale: bool,
) -> list[Source]:
    """The sources, all in one size; where one cannot be opened, the others are closed."""
    if not asked:
        raise UsageError("there is no source", fix="name a camera, a video, or synthetic://")
    with needs("video"):
        from edgeseg.video import SourceOptions, is_watched, open_source

    size = _scaled_size(engine) if scale else None
    sources: list[Source] = []
    with contextlib.ExitStack() as failed:
        for source in asked:
            if isinstance(source, str | Path):
                source = open_source(
                    os.fspath(source),
                    SourceOptions(
                        pixel_format=engine.manifest.frame_format,
                        yuv=engine.manifest.yuv_kind,
                        rate=timing.rate,
                        fps=timing.fps,
                        scale_to=size,
                        prefers=engine.frame_size,
                        live=any(map(is_watched, sinks)),
                        max_age_s=timing.max_age_ms and timing.max_age_ms / 1e3,
                        patience_s=timing.patience_s,
                        wake=wake,
                    ),
                )
            sources.append(source)
            failed.callback(source.close)
            size = size or source.info.size
        failed.pop_all()
    return sources


def default_workers(engine: Engine, sources: Sequence[Source]) -> int:
    """As many as suit the engine, the sources, and how old a result may be."""
    if engine.manifest.smooth is not None:
        return len(sources) + 1  # one frame of each camera is computed while another is drawn
    if all(source.info.live for source in sources):
        least = LIVE_WORKERS if engine.memory_mode is not None else 1
        return max(least, min(len(sources), engine.default_workers() - 2))
    return engine.default_workers()


def names_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """What the sources are called, each name once."""
    names = [source.info.name or "camera" for source in sources]
    return tuple(
        name if names.count(name) == 1 else f"{name} {number}" for number, name in enumerate(names)
    )


def _scaled_size(engine: Engine) -> Size:
    """The engine's own frame size, which the sources are to deliver; says what that costs."""
    log.warning(
        "frames of another size are scaled to %s: the mIoU in the manifest does not apply to them",
        engine.frame_size,
    )
    return engine.frame_size
