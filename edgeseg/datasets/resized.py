"""Another data set at one size, for an engine that takes no other."""

import cv2
import numpy as np

from edgeseg.datasets import Subset
from edgeseg.types import Dataset, LabelledFrame, Size


class Resized(Subset):
    """Another data set whose pictures (bilinear) and masks (nearest) are stretched to `size`."""

    def __init__(self, whole: Dataset, size: Size) -> None:
        super().__init__(whole, range(len(whole)))
        self.name = whole.name
        self._size = size

    def frame(self, index: int) -> LabelledFrame:
        """Picture and mask number `index`, at the size."""
        frame = self._whole.frame(index)
        if frame.image.shape[:2] == tuple(self._size):
            return frame
        wide = self._size[::-1]
        image = cv2.resize(frame.image, wide, interpolation=cv2.INTER_LINEAR).astype(np.uint8)
        if frame.mask is None:
            return frame._replace(image=image)
        mask = cv2.resize(frame.mask, wide, interpolation=cv2.INTER_NEAREST_EXACT)
        return frame._replace(image=image, mask=mask.astype(np.uint8))
