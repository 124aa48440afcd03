"""CamVid (Brostow et al. 2009): 11 classes and void, the split of SegNet, 480x360."""

from pathlib import Path

from edgeseg.datasets.files import FilePairs, images_in
from edgeseg.errors import InputFileError, UsageError
from edgeseg.types import Labels

SPLITS = ("train", "val", "test")
VOID = 11

# Names and colours in the order of the SegNet tutorial, which most published results use.
CAMVID_LABELS = Labels(
    names=(
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    ),
    colors=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)


def open_camvid(root: Path | None, split: str) -> FilePairs:
    """One split of CamVid under `root`, in either public layout.

    `train/images` with `train/labels`, or `train` with `trainannot` (the SegNet tutorial).

    Raises:
        UsageError: no root, or a split that CamVid does not have.
        InputFileError: `root` holds neither layout, or a picture has no mask.
    """
    if root is None:
        raise UsageError("camvid is not part of edgeseg", fix="give its folder with --root DIR")
    if split not in SPLITS:
        raise UsageError(f"camvid has no split {split!r}", fix=f"use one of {', '.join(SPLITS)}")
    for images, masks in (
        (root / split / "images", root / split / "labels"),
        (root / split, root / f"{split}annot"),
    ):
        if images.is_dir() and masks.is_dir():
            return FilePairs(f"camvid:{split}", CAMVID_LABELS, _pairs(images, masks), void=VOID)
    raise InputFileError(
        f"{root} does not hold the {split} split of CamVid",
        fix=f"give the folder that holds {split}/images and {split}/labels, or {split} and "
        f"{split}annot",
    )


def _pairs(images: Path, masks: Path) -> list[tuple[Path, Path | None]]:
    pairs: list[tuple[Path, Path | None]] = []
    for image in images_in(images):
        mask = masks / f"{image.stem}.png"
        if not mask.is_file():
            raise InputFileError(f"{image.name} has no mask", fix=f"expected {mask}")
        pairs.append((image, mask))
    if not pairs:
        raise InputFileError(f"{images} holds no pictures", fix="check the folder")
    return pairs
