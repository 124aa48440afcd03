"""Random views of a labelled picture for training: geometry, light, blur and noise."""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.types import IGNORE, Pixels, Size

Matrix: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far a random view may go from its picture."""

    crop: Size
    """Of the view; both even."""
    scale: tuple[float, float]
    """View pixels per source pixel, drawn log-uniformly."""
    stretch: float = 0.15
    """The width may be this share wider or narrower than the height."""
    rotation_deg: float = 5.0
    light: float = 0.35
    """Spread of brightness, contrast and saturation; colour casts get a third of it."""
    blur_share: float = 0.15
    noise_share: float = 0.2


def random_view(
    image: Pixels, mask: Pixels, how: Augmentation, rng: np.random.Generator
) -> tuple[Pixels, Pixels]:
    """A view uint8 (h, w, 3) and its labels uint8 (h/2, w/2) at every second pixel.

    The labels lie on the centres of 2x2 blocks, where half-pixel bilinear logits of that size do.
    What lies outside the picture is mirrored in the view and 255 in the labels.
    """
    scale = float(np.exp(rng.uniform(*np.log(how.scale))))
    if scale < 0.6:  # a bilinear warp would alias
        half = Size(image.shape[0] // 2, image.shape[1] // 2)
        image = cv2.resize(image, half[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
        to_source, warp_scale = 2.0, scale * 2
    else:
        to_source, warp_scale = 1.0, scale
    forward = _affine(Size(*image.shape[:2]), how, warp_scale, rng)
    view = cv2.warpAffine(
        image, forward, how.crop[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    # The same transform from mask pixels to blocks of 2x2 view pixels, in pixel-centre coordinates.
    to_image = np.array([[1 / to_source, 0, 0.5 / to_source - 0.5]] * 2)
    to_image[1] = [0, 1 / to_source, 0.5 / to_source - 0.5]
    full = np.vstack([forward, [0, 0, 1]]) @ np.vstack([to_image, [0, 0, 1]])
    to_blocks = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
    labels = cv2.warpAffine(
        mask,
        (to_blocks @ full)[:2],
        (how.crop.width // 2, how.crop.height // 2),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=IGNORE,
    )
    return _relit(view.astype(np.uint8), how, rng), labels.astype(np.uint8)


def _affine(source: Size, how: Augmentation, scale: float, rng: np.random.Generator) -> Matrix:
    """The 2x3 matrix from source pixels to view pixels."""
    angle = np.deg2rad(rng.normal(0, how.rotation_deg / 2))
    flip = rng.choice([-1.0, 1.0])
    x_scale = scale * (1 + rng.uniform(-how.stretch, how.stretch))
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotate @ np.diag([flip * x_scale, scale])
    # A source point goes to the centre of the view, so that little of the view lies outside.
    reach = np.abs(np.array([how.crop.width / x_scale, how.crop.height / scale])) / 2
    extent = np.array([source.width, source.height], float)
    low, high = np.minimum(reach, extent / 2), np.maximum(extent - reach, extent / 2)
    centre = rng.uniform(low, high)
    offset = np.array([how.crop.width, how.crop.height]) / 2 - linear @ centre
    return np.hstack([linear, offset[:, None]])


def _relit(view: Pixels, how: Augmentation, rng: np.random.Generator) -> Pixels:
    if rng.random() < how.blur_share:
        sigma = rng.uniform(0.4, 1.4)
        view = cv2.GaussianBlur(view, (0, 0), sigma).astype(np.uint8)
    mix = _saturation(1 + rng.uniform(-1.6, 1.2) * how.light)
    gains = np.exp(rng.normal(0, how.light / 3, 3)) * np.exp(rng.normal(0, how.light / 2))
    matrix = gains[:, None] * mix
    relit = cv2.transform(view.astype(np.float32) / 255, matrix.astype(np.float32))
    contrast, pivot = 1 + rng.uniform(-how.light, how.light), float(relit.mean())
    relit = np.clip((relit - pivot) * contrast + pivot, 0, 1)
    relit = relit ** float(np.exp(rng.normal(0, how.light / 1.5)))
    if rng.random() < how.noise_share:
        noise = np.empty_like(relit)
        sigma = rng.uniform(0.005, 0.04)
        cv2.randn(noise, np.zeros(3), np.array([sigma, sigma, sigma]))
        relit += noise
    view = np.clip(relit * 255 + 0.5, 0, 255).astype(np.uint8)
    return view


def _saturation(factor: float) -> Matrix:
    """A 3x3 colour matrix that scales the distance from the grey of BT.601."""
    grey = np.tile(np.array([0.299, 0.587, 0.114]), (3, 1))
    mix: Matrix = grey + factor * (np.eye(3) - grey)
    return mix
