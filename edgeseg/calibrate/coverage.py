"""Whether more pictures would have moved the ranges: when each of them settled."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SETTLED = 0.01
"""A range has settled once it stays within this share of what it is in the end."""
MOST = 0.95
"""The share of the tensors that have to settle."""
LAST = 0.1
"""What still changes over this last share of the pictures is moving."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How well the pictures cover what the tensors can be."""

    pictures: int
    settled_after: Mapping[str, int]
    """By tensor: how many pictures it took until its range stayed where it is."""
    moving: tuple[str, ...]
    """The tensors whose range changed over the last tenth of the pictures."""

    @property
    def after(self) -> int | None:
        """How many pictures it took for 95 % of the tensors; None where they are moving yet."""
        if self.pictures < 2 or len(self.moving) > (1 - MOST) * len(self.settled_after):
            return None
        ordered = sorted(self.settled_after.values())
        return ordered[math.ceil(MOST * len(ordered)) - 1] if ordered else None

    def __str__(self) -> str:
        if self.pictures < 2:
            return "one picture alone cannot show what the ranges are on others"
        names = ", ".join(self.moving[:3]) + (", ..." if len(self.moving) > 3 else "")
        moving = f"; still moving: {names}" if self.moving else ""
        if self.after is None:
            return f"the ranges have not settled after {self.pictures} pictures{moving}"
        return f"the ranges settled after {self.after} of {self.pictures} pictures{moving}"


def coverage_of(histories: Mapping[str, Sequence[float]]) -> Coverage:
    """The Coverage of running ranges: for each tensor, its range after each picture."""
    pictures = max(map(len, histories.values()), default=0)
    after = {name: _settled_after(history) for name, history in histories.items()}
    late = pictures - max(1, int(LAST * pictures))
    moving = tuple(name for name, count in after.items() if pictures > 1 and count > late)
    return Coverage(pictures=pictures, settled_after=after, moving=moving)


def _settled_after(history: Sequence[float]) -> int:
    last = history[-1]
    for index in range(len(history) - 1, -1, -1):
        if abs(history[index] - last) > SETTLED * abs(last):
            return index + 2  # 1-based, and the picture after it settled the range
    return 1
