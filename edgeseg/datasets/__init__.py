"""Data sets by name: `camvid:val`, `synthetic:train`, `folder`. One file and one row each."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeseg.errors import InputFileError, UnreadablePicture
from edgeseg.tables import needs, pick
from edgeseg.types import Dataset, LabelledFrame

DATASETS = {
    "camvid": "edgeseg.datasets.camvid:open_camvid",
    "folder": "edgeseg.datasets.folder:open_folder",
    "synthetic": "edgeseg.datasets.synthetic:open_synthetic",
}

log = logging.getLogger(__name__)


def open_dataset(
    text: str, *, root: Path | None = None, split: str = "train", count: int | None = None
) -> Dataset:
    """The data set that `text` ("NAME" or "NAME:SPLIT") names; `split` is used where it names none.

    `count` limits it to that many pictures, spread evenly over the split.

    Raises:
        UsageError: no such data set or split, or `root` is missing where it is needed.
        InputFileError: the folder does not hold what the data set needs.
    """
    name, _, given_split = text.partition(":")
    with needs("video"):
        opened: Dataset = pick(DATASETS, name, kind="data set")(root, given_split or split)
    return opened if count is None else spread(opened, count)


def spread(data: Dataset, count: int) -> Dataset:
    """`count` pictures of `data`, spread evenly over it; all of them where there are no more."""
    if count >= len(data):
        return data
    return Subset(data, [index * len(data) // count for index in range(count)])


class Subset:
    """Some pictures of another data set, by their indices there."""

    def __init__(self, whole: Dataset, indices: Sequence[int]) -> None:
        self._whole = whole
        self._indices = indices
        self.name = f"{whole.name}[{len(indices)} of {len(whole)}]"
        self.labels = whole.labels

    def __len__(self) -> int:
        return len(self._indices)

    def frame(self, index: int) -> LabelledFrame:
        """The chosen picture number `index`, as the whole data set has it."""
        return self._whole.frame(self._indices[index])

    def digest(self, index: int) -> str:
        """A text that changes when the chosen picture number `index` does."""
        return self._whole.digest(self._indices[index])

    def frame_names(self) -> list[str]:
        """The names of the chosen pictures, in order."""
        names = self._whole.frame_names()
        return [names[index] for index in self._indices]


class Unmasked(Subset):
    """Another data set, whose masks are not looked at."""

    def __init__(self, whole: Dataset) -> None:
        super().__init__(whole, range(len(whole)))
        self.name = whole.name

    def frame(self, index: int) -> LabelledFrame:
        """The chosen picture number `index`, without its mask."""
        return super().frame(index)._replace(mask=None)


def readable(data: Dataset, skipped: list[str]) -> Iterator[tuple[int, LabelledFrame]]:
    """The pictures of `data` with their indices; those that cannot be decoded go to `skipped`.

    Raises:
        InputFileError: not one picture can be read, or a mask does not fit its picture.
    """
    names = data.frame_names()
    for index in range(len(data)):
        try:
            yield index, data.frame(index)
        except UnreadablePicture as error:
            log.warning("skipped: %s", error.problem)
            skipped.append(names[index])
    if len(skipped) == len(names):
        raise InputFileError(
            f"{data.name} holds no picture that can be read ({len(skipped)} were tried)",
            fix="check the folder",
        )
