"""Pictures of procedural streets, one street each: a data set that needs no download."""

from functools import lru_cache
from pathlib import Path

from edgeseg.datasets.camvid import CAMVID_LABELS
from edgeseg.errors import UsageError
from edgeseg.scene import Street
from edgeseg.types import LabelledFrame, Pixels, Size

# How many pictures each split has, and the seed of its first street; the ranges do not meet.
SPLITS = {"train": (400, 0), "val": (60, 1_000_000), "test": (120, 2_000_000)}
SIZE = Size(360, 480)

KEPT = 128
"""Of the last streets: a build looks at the same ones several times, and they take long to draw."""

GENERATOR = "street-2"
"""Changes whenever the same seed gives another picture."""


class SyntheticStreets:
    """`count` streets from `first_seed` on, each seen at one moment."""

    def __init__(self, name: str, *, count: int, first_seed: int, size: Size = SIZE) -> None:
        self.name = name
        self.labels = CAMVID_LABELS
        self._count, self._first_seed, self._size = count, first_seed, size

    def __len__(self) -> int:
        return self._count

    def frame_names(self) -> list[str]:
        """The seeds of the streets, in order."""
        return [f"street-{self._first_seed + index}" for index in range(self._count)]

    def digest(self, index: int) -> str:
        """What determines picture number `index`: generator, seed and size."""
        return f"{GENERATOR} {self._first_seed + index} {self._size}"

    def frame(self, index: int) -> LabelledFrame:
        """Street number `index`: uint8 (360, 480, 3) and its exact mask."""
        seed = self._first_seed + index
        image, mask = _drawn(seed, self._size)
        return LabelledFrame(f"street-{seed}", image.copy(), mask.copy())


@lru_cache(maxsize=KEPT)
def _drawn(seed: int, size: Size) -> tuple[Pixels, Pixels]:
    return Street(seed, size).frame((seed * 0.37) % 20)


def open_synthetic(root: Path | None, split: str) -> SyntheticStreets:
    """The split "train", "val" or "test".

    Raises:
        UsageError: another split, or a root, which this data set has no use for.
    """
    if split not in SPLITS:
        raise UsageError(f"synthetic has no split {split!r}", fix=f"use {', '.join(SPLITS)}")
    if root is not None:
        raise UsageError(
            f"synthetic needs no folder, got {root}", fix="leave --root out, or name a data set"
        )
    count, first_seed = SPLITS[split]
    return SyntheticStreets(f"synthetic:{split}", count=count, first_seed=first_seed)
