"""The drawing functions of a frame loop: one for each slot, with memory of its own."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from edgeseg.engine import Engine
from edgeseg.loop import Draw, Result, slot_count
from edgeseg.tables import needs
from edgeseg.types import Pixels, Size

if TYPE_CHECKING:
    from edgeseg.video.overlay import Overlay
    from edgeseg.video.pixels import ToRgb


def draws_of(
    engine: Engine,
    *,
    visualize: Literal["overlay", "mask", "side-by-side"],
    alpha: float,
    legend: bool,
    text: Callable[[Result], str],
) -> list[Draw]:
    """One for each slot of a loop over `engine`; each draws a line of `text` above the picture."""
    with needs("video"):
        from edgeseg.video.overlay import Overlay
        from edgeseg.video.pixels import ToRgb

    size = engine.frame_size
    draws = []
    for _ in range(slot_count(engine.workers)):
        overlay = Overlay(size, engine.labels, visualize=visualize, alpha=alpha, legend=legend)
        draws.append(
            _draw_with(
                overlay,
                ToRgb(engine.manifest.frame_format, size, yuv=engine.manifest.yuv_kind),
                text,
            )
        )
    return draws


def picture_size(frame: Size, visualize: Literal["overlay", "mask", "side-by-side"]) -> Size:
    """The size of what is drawn for a frame of that size."""
    return Size(frame.height, frame.width * 2) if visualize == "side-by-side" else frame


def _draw_with(overlay: "Overlay", rgb: "ToRgb", text: Callable[[Result], str]) -> Draw:
    def draw(result: Result) -> Pixels:
        return overlay.draw(rgb.view(result.pixels), result.labels, text(result))

    return draw
