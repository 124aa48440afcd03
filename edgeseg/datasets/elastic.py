"""Elastic deformation of a labelled picture (U-Net, Ronneberger et al. 2015, section 3.1)."""

import cv2
import numpy as np

from edgeseg.types import Floats, Pixels, Size


def elastic_view(
    image: Pixels,
    mask: Pixels,
    rng: np.random.Generator,
    *,
    grid: int = 3,
    sigma_px: float = 10.0,
) -> tuple[Pixels, Pixels]:
    """uint8 `image` (H, W, 3) and `mask` (H, W), both deformed alike.

    Displacements are drawn from N(0, sigma_px) in each of grid x grid equal parts, and bicubic in
    between. What comes from outside is mirrored at the border, its labels too.
    """
    size = Size(*mask.shape)
    moved = displacements(size, rng.normal(0, sigma_px, (grid, grid, 2)).astype(np.float32))
    columns = moved[..., 0] + np.arange(size.width, dtype=np.float32)
    rows = moved[..., 1] + np.arange(size.height, dtype=np.float32)[:, None]
    view, labels = (
        cv2.remap(pixels, columns, rows, how, borderMode=cv2.BORDER_REFLECT_101)
        for pixels, how in ((image, cv2.INTER_LINEAR), (mask, cv2.INTER_NEAREST))
    )
    return view.astype(np.uint8), labels.astype(np.uint8)


def displacements(size: Size, coarse: Floats) -> Floats:
    """float32 (H, W, 2): for each pixel of a view, how many px right and down its source lies.

    `coarse` (grid, grid, 2) are those at the centres of equal parts of the picture.
    """
    moved = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    return moved.astype(np.float32)
