"""Data sets by name: `camvid:val`, `synthetic:train`, `folder`. One file and one row each."""

from pathlib import Path

from edgeseg.tables import needs, pick
from edgeseg.types import Dataset

DATASETS = {
    "camvid": "edgeseg.datasets.camvid:open_camvid",
    "folder": "edgeseg.datasets.folder:open_folder",
    "synthetic": "edgeseg.datasets.synthetic:open_synthetic",
}


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
    if count is None or count >= len(opened):
        return opened
    return Subset(opened, count)


class Subset:
    """`count` pictures of another data set, spread evenly over it."""

    def __init__(self, whole: Dataset, count: int) -> None:
        self._whole = whole
        self._indices = [index * len(whole) // count for index in range(count)]
        self.name = f"{whole.name}[{count} of {len(whole)}]"
        self.labels = whole.labels

    def __len__(self) -> int:
        return len(self._indices)

    def frame(self, index: int):  # noqa: ANN201, D102
        return self._whole.frame(self._indices[index])

    def frame_names(self) -> list[str]:
        """The names of the chosen pictures, in order."""
        names = self._whole.frame_names()
        return [names[index] for index in self._indices]
