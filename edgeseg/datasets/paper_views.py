"""Random views as the papers draw them: scale, angle, crop and mirror, labels at full size."""

from dataclasses import dataclass

import cv2
import numpy as np

from edgeseg.datasets.elastic import elastic_view
from edgeseg.types import IGNORE, Pixels, Size


@dataclass(frozen=True, kw_only=True)
class PaperView:
    """Which of the usual steps a paper takes, and how far."""

    crop: Size
    scale: tuple[float, float] = (1.0, 1.0)
    """View pixels per source pixel, drawn uniformly."""
    flip: bool = True
    rotation_deg: float = 0.0
    """Drawn uniformly from minus this to this."""
    elastic: bool = False
    blur: bool = False
    """Half of the views: Gaussian, of a window of 5 pixels, as the code of PSPNet has it."""


def paper_view(
    image: Pixels, mask: Pixels, how: PaperView, rng: np.random.Generator
) -> tuple[Pixels, Pixels]:
    """A view uint8 (h, w, 3) and its labels uint8 (h, w); outside the picture they are 255.

    There the view has the mean colour of the picture, which normalises to nearly nothing.
    """
    grey = tuple(float(value) for value in cv2.mean(image)[:3])
    if how.scale != (1.0, 1.0):
        image, mask = _scaled(image, mask, float(rng.uniform(*how.scale)))
    if how.rotation_deg:
        image, mask = _rotated(image, mask, rng.uniform(-1, 1) * how.rotation_deg, grey)
    if how.elastic:
        image, mask = elastic_view(image, mask, rng)
    if how.blur and rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (5, 5), 0).astype(np.uint8)
    image, mask = _cropped(image, mask, how.crop, grey, rng)
    if how.flip and rng.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)


def _scaled(image: Pixels, mask: Pixels, scale: float) -> tuple[Pixels, Pixels]:
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    smooth = cv2.INTER_LINEAR if scale > 0.7 else cv2.INTER_AREA
    larger = cv2.resize(image, size, interpolation=smooth).astype(np.uint8)
    return larger, cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)


def _rotated(
    image: Pixels, mask: Pixels, angle_deg: float, grey: tuple[float, ...]
) -> tuple[Pixels, Pixels]:
    height, width = mask.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, 1.0)
    turned = cv2.warpAffine(image, turn, (width, height), borderValue=grey)
    labels = cv2.warpAffine(
        mask, turn, (width, height), flags=cv2.INTER_NEAREST, borderValue=IGNORE
    )
    return turned.astype(np.uint8), labels.astype(np.uint8)


def _cropped(
    image: Pixels, mask: Pixels, crop: Size, grey: tuple[float, ...], rng: np.random.Generator
) -> tuple[Pixels, Pixels]:
    """A window of size `crop` at a random place; where the picture is smaller, all of it."""
    view = np.full((*crop, 3), np.round(grey), np.uint8)
    labels = np.full(crop, IGNORE, np.uint8)
    rows, columns = (
        _window(side, wanted, rng) for side, wanted in zip(mask.shape, crop, strict=True)
    )
    view[rows[1], columns[1]] = image[rows[0], columns[0]]
    labels[rows[1], columns[1]] = mask[rows[0], columns[0]]
    return view, labels


def _window(side: int, wanted: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Where to read and where to write, so that `wanted` pixels hold much of `side`."""
    read = int(rng.integers(max(0, side - wanted) + 1))
    write = int(rng.integers(max(0, wanted - side) + 1))
    length = min(side, wanted)
    return slice(read, read + length), slice(write, write + length)
