"""The tail of the frame graph on a CPU: bilinear upsampling and a running maximum."""

import cv2
import numpy as np

from edgeseg.types import Floats, Pixels, Size


class LabelsFromLogits:
    """Class ids from logits, with buffers of its own: make one for each frame in flight.

    The same as Resize (linear, half-pixel) and ArgMax in the graph, to float rounding: a class
    takes a pixel over only when it is greater, so the first of equal classes wins there too.
    """

    def __init__(self, mask_size: Size) -> None:
        self._width_height = (mask_size.width, mask_size.height)
        self._plane = np.empty(mask_size, np.float32)
        self._best = np.empty(mask_size, np.float32)
        self._wins = np.empty(mask_size, np.uint8)

    def __call__(self, logits: Floats, labels: Pixels) -> None:
        """Write the ids uint8 (H, W) of float32 `logits` (C, h, w) into `labels`."""
        self._upsample(logits[0], self._best)
        labels.fill(0)
        for index in range(1, len(logits)):
            self._upsample(logits[index], self._plane)
            cv2.compare(self._plane, self._best, cv2.CMP_GT, dst=self._wins)
            cv2.max(self._best, self._plane, dst=self._best)
            # Ids rise from class to class, so the greater id is the later winner.
            cv2.bitwise_and(self._wins, index, dst=self._wins)  # type: ignore[call-overload]
            cv2.max(labels, self._wins, dst=labels)

    def _upsample(self, plane: Floats, into: Floats) -> None:
        if plane.shape == into.shape:
            np.copyto(into, plane)
        else:
            cv2.resize(plane, self._width_height, dst=into, interpolation=cv2.INTER_LINEAR)
