"""The drawing functions of a frame loop: one for each slot, with memory of its own."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from edgeseg.engine import Engine
from edgeseg.loop import Draw, slot_count
from edgeseg.tables import needs
from edgeseg.types import Pixels, Size, Slot

if TYPE_CHECKING:
    from edgeseg.video.overlay import Overlay
    from edgeseg.video.pixels import ToRgb


def draws_of(
    engine: Engine,
    *,
    visualize: Literal["overlay", "mask", "side-by-side"],
    alpha: float,
    legend: bool,
    text: Callable[[], str],
) -> tuple[list[Draw], Size]:
    """One for each slot of a loop over `engine`, and the size of what they draw with `text()`."""
    with needs("video"):
        from edgeseg.video.overlay import Overlay
        from edgeseg.video.pixels import ToRgb

    size = engine.frame_size
    picture_size, draws = size, []
    for _ in range(slot_count(engine.workers)):
        overlay = Overlay(size, engine.labels, visualize=visualize, alpha=alpha, legend=legend)
        draws.append(_draw_with(overlay, ToRgb(engine.manifest.frame_format, size), text))
        picture_size = overlay.picture_size
    return draws, picture_size


def _draw_with(overlay: "Overlay", rgb: "ToRgb", text: Callable[[], str]) -> Draw:
    def draw(slot: Slot) -> Pixels:
        return overlay.draw(rgb.view(slot.pixels), slot.labels, text())

    return draw
