"""A data set as video: its pictures in order, each with the state that the one before left."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from edgeseg.datasets import Subset
from edgeseg.engine import Engine
from edgeseg.errors import UsageError
from edgeseg.metrics.flicker import Flicker
from edgeseg.options import USUAL_SMOOTH
from edgeseg.types import Dataset, LabelledFrame, OnProgress, Pixels, Size
from edgeseg.verify import ClassMap, Comparison, LabelsOf, compare
from edgeseg.video.rgb import write_rgb

NUMBER = re.compile(r"\d*$")


@dataclass(frozen=True, kw_only=True)
class ClipFlicker:
    """Percent of the pixels that stand still from picture to picture and yet change label."""

    engine: float | None
    """With the state carried from picture to picture; None where no pixel stands still."""
    reference: float | None
    """Of the float graph, which sees every picture alone."""


def compare_clip(
    engine: Engine,
    reference: LabelsOf,
    data: Dataset,
    class_map: ClassMap | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[Comparison, ClipFlicker]:
    """Compare `engine` on the clips of `data`, in order, with `reference`, which has no state.

    Raises:
        UsageError: the engine smooths nothing, or the classes do not match and no map says how.
    """
    steady, single = Flicker(), Flicker()
    built = ClipLabels(engine)

    def begin() -> None:
        for each in (built, steady, single):
            each.begin()

    def see(image: Pixels, expected: Pixels, found: Pixels, mask: Pixels | None) -> None:
        del mask
        steady.see(image, found)
        single.see(image, expected)

    try:
        result = compare(
            built,
            reference,
            engine.labels,
            Clips(data, begin),
            class_map=class_map,
            on_progress=on_progress,
            on_frame=see,
        )
    finally:
        built.close()
    return result, ClipFlicker(engine=steady.percent, reference=single.percent)


class Clips(Subset):
    """All pictures of a data set; `on_new` is called before the first picture of each clip.

    A clip is named by what its pictures' names have before their number, 2 before 10.
    """

    def __init__(self, whole: Dataset, on_new: Callable[[], None]) -> None:
        stems = [PurePath(name).stem for name in whole.frame_names()]
        order = sorted(range(len(whole)), key=lambda index: _natural(stems[index]))
        super().__init__(whole, order)
        self.name = whole.name
        self._on_new = on_new
        self._clips = [NUMBER.sub("", stems[index]) for index in order]
        self._last: str | None = None

    def frame(self, index: int) -> LabelledFrame:
        """Picture number `index`, as the whole data set has it."""
        frame = super().frame(index)
        if self._clips[index] != self._last:
            self._on_new()
        self._last = self._clips[index]
        return frame


class ClipLabels:
    """Labels of the pictures of a clip, in order; close it.

    Raises:
        UsageError: the engine smooths nothing.
    """

    def __init__(self, engine: Engine) -> None:
        if engine.manifest.smooth is None:
            raise UsageError(
                "the engine looks at every picture alone, so a clip means nothing to it",
                fix=f"build it with --smooth {USUAL_SMOOTH}, or leave --clip out",
            )
        self._owner = self._engine = engine
        self._slot = engine.new_slot()
        self._state = engine.new_state()

    def begin(self) -> None:
        """The next picture is the first one of its clip."""
        if self._state is not None:
            self._state.reset()

    def __call__(self, image: Pixels) -> Pixels:
        """Class ids uint8 (H, W) of the next picture, RGB uint8 (H, W, 3); a fresh array.

        Raises:
            EngineMismatch: the backend does not take its size.
        """
        size = Size(*image.shape[:2])
        if size != self._engine.frame_size:
            self._resize(size)
        manifest = self._engine.manifest
        write_rgb(image, self._slot.pixels, manifest.frame_format, yuv=manifest.yuv_kind)
        self._slot.state = self._state
        self._engine.launch(self._slot)
        return np.copy(self._slot.labels)

    def close(self) -> None:
        """Free what was made for pictures of another size; the engine stays open."""
        if self._engine is not self._owner:
            self._engine.close()
        self._engine = self._owner

    def _resize(self, size: Size) -> None:
        made = self._owner.at(size)
        self.close()
        self._engine = made
        self._slot, self._state = made.new_slot(), made.new_state()


def _natural(stem: str) -> list[str | int]:
    """Text and numbers in turn, to sort by."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", stem)]
