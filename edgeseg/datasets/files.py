"""Pictures and masks from files, checked while they are read."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from edgeseg.errors import InputFileError, UnreadablePicture
from edgeseg.types import IGNORE, LabelledFrame, Labels, Pixels

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def images_in(folder: Path) -> list[Path]:
    """The picture files of `folder`, sorted by name; hidden files do not count."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )


def read_image(path: Path) -> Pixels:
    """The picture at `path` as uint8 (H, W, 3) RGB.

    Raises:
        InputFileError: missing, truncated, or not a picture.
    """
    with _opened(path) as image:
        try:
            return np.array(image.convert("RGB"), np.uint8)
        except (OSError, SyntaxError, ValueError) as error:
            raise _unreadable(path, error) from error


def read_mask(path: Path, *, classes: int, void: int = IGNORE) -> Pixels:
    """The class ids at `path` as uint8 (H, W); `void` becomes 255.

    Raises:
        InputFileError: missing, truncated, not a single-channel picture, or an id that is neither
            a class, nor `void`, nor 255.
    """
    with _opened(path) as image:
        if image.mode not in {"L", "P", "1", "I;16", "I"}:
            raise InputFileError(
                f"{path} is a colour picture ({image.mode}), not a mask of class ids",
                fix="save masks as one-channel or palette PNG, one class id a pixel",
            )
        try:
            ids = np.array(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise _unreadable(path, error) from error
    unknown = np.setdiff1d(ids, [*range(classes), void, IGNORE])
    if unknown.size:
        raise InputFileError(
            f"{path} holds the label ids {', '.join(map(str, unknown[:8]))}, but there are "
            f"{classes} classes (0 to {classes - 1})",
            fix="relabel the masks, or mark pixels that do not count with 255",
        )
    return np.where(ids == void, IGNORE, ids).astype(np.uint8)


class FilePairs:
    """Pictures from one folder and masks of the same stem from another."""

    def __init__(
        self,
        name: str,
        labels: Labels,
        pairs: Sequence[tuple[Path, Path | None]],
        *,
        void: int = IGNORE,
    ) -> None:
        self.name = name
        self.labels = labels
        self._pairs = pairs
        self._void = void

    def __len__(self) -> int:
        return len(self._pairs)

    def frame_names(self) -> list[str]:
        """The stems of the picture files, in order."""
        return [image.stem for image, _ in self._pairs]

    def digest(self, index: int) -> str:
        """SHA-256 of the bytes of picture file number `index`."""
        try:
            return hashlib.sha256(self._pairs[index][0].read_bytes()).hexdigest()
        except OSError as error:
            raise _unreadable(self._pairs[index][0], error) from error

    def frame(self, index: int) -> LabelledFrame:
        """Picture and mask number `index`.

        Raises:
            InputFileError: either is unreadable, or they differ in size.
        """
        image_path, mask_path = self._pairs[index]
        image = read_image(image_path)
        if mask_path is None:
            return LabelledFrame(image_path.stem, image, None)
        mask = read_mask(mask_path, classes=len(self.labels), void=self._void)
        if mask.shape != image.shape[:2]:
            raise InputFileError(
                f"{image_path.name} is {image.shape[1]}x{image.shape[0]}, but its mask "
                f"{mask_path.name} is {mask.shape[1]}x{mask.shape[0]}",
                fix="masks must have the size of their pictures",
            )
        return LabelledFrame(image_path.stem, image, mask)


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise InputFileError(f"{path} does not exist", fix="check the path") from error
    except (UnidentifiedImageError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UnreadablePicture:
    return UnreadablePicture(
        f"{path} cannot be read as a picture: {error}", fix="replace or remove the file"
    )
