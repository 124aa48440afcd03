"""The camera of the procedural street: boxes and discs in metres become pixels and labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.types import Pixels, Size

NEAR_M = 1.2
"""Nothing nearer than this is drawn."""

FAR_PX = 20000
"""Points farther off the picture are held there: OpenCV's coordinates overflow."""

Color = tuple[float, float, float]
Point = tuple[float, float, float]
"""x right, y up, z ahead, in metres."""
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Light:
    """How the whole frame is lit."""

    sky: Color
    horizon: Color
    gain: Color
    left: float
    """Brightness of what faces right, and so stands on the left; `right` is its counterpart."""
    right: float
    fog_m: float
    """The distance at which 63 % of a colour has become the horizon's."""


class Camera:
    """Draws into a picture and, at the same pixels, the class ids into its labels.

    World axes in metres from the point on the road below the camera: x right, y up, z ahead. The
    camera looks along z. Both images are drawn without anti-aliasing, so the labels are exact.
    """

    def __init__(
        self,
        size: Size,
        light: Light,
        *,
        focal: float,
        vanish: tuple[float, float],
        height_m: float,
    ) -> None:
        self.image: Pixels = np.zeros((*size, 3), np.uint8)
        self.labels: Pixels = np.zeros(size, np.uint8)
        self.light = light
        self.focal_px = focal * size.width
        self.vanish_px = np.array([vanish[0] * size.width, vanish[1] * size.height])
        self._vanish_x, self._vanish_y = map(float, self.vanish_px)
        self.height_m = height_m

    def project(self, point: Point) -> tuple[float, float]:
        """A world point in metres to pixels (x, y), z held at NEAR_M or farther.

        Plain numbers: a frame has thousands of points, and arrays of three are slow.
        """
        depth = max(point[2], NEAR_M)
        x = point[0] / depth * self.focal_px + self._vanish_x
        y = (self.height_m - point[1]) / depth * self.focal_px + self._vanish_y
        return min(max(x, -FAR_PX), FAR_PX), min(max(y, -FAR_PX), FAR_PX)

    def polygon(
        self, points: Sequence[Point], color: Color, label: int, *, shade: float = 1.0
    ) -> None:
        """Fill the polygon through world `points`."""
        z = sum(max(point[2], NEAR_M) for point in points) / len(points)
        corners = [tuple(map(round, self.project(point))) for point in points]
        pixels = np.array(corners, np.int32)
        cv2.fillPoly(self.image, [pixels], self.shaded(color, z, shade))
        cv2.fillPoly(self.labels, [pixels], label)

    def front(
        self, z: float, x: tuple[float, float], y: tuple[float, float], color: Color, label: int,
        *, shade: float = 1.0,
    ) -> None:  # fmt: skip
        """A rectangle that faces the camera, at least one pixel wide."""
        if z < NEAR_M:
            return
        least = z / self.focal_px
        x1 = max(x[1], x[0] + least)
        corners = [(x[0], y[0], z), (x1, y[0], z), (x1, y[1], z), (x[0], y[1], z)]
        self.polygon(corners, color, label, shade=shade)

    def side(
        self, x: float, z: tuple[float, float], y: tuple[float, float], color: Color, label: int
    ) -> None:
        """A wall along the road, lit by the side on which it stands."""
        near, far = max(z[0], NEAR_M), z[1]
        if far <= near:
            return
        corners = [(x, y[0], near), (x, y[0], far), (x, y[1], far), (x, y[1], near)]
        shade = self.light.left if x < 0 else self.light.right
        self.polygon(corners, color, label, shade=shade)

    def ground(
        self, x: tuple[float, float], z: tuple[float, float], color: Color, label: int
    ) -> None:
        """A flat strip on the ground."""
        near, far = max(z[0], NEAR_M), z[1]
        if far <= near:
            return
        corners = [(x[0], 0, near), (x[1], 0, near), (x[1], 0, far), (x[0], 0, far)]
        self.polygon(corners, color, label)

    def disc(
        self, centre: Point, radii: tuple[float, float], color: Color,
        label: int, *, shade: float = 1.0,
    ) -> None:  # fmt: skip
        """An ellipse that faces the camera, at least one pixel across."""
        if centre[2] < NEAR_M:
            return
        x, y = self.project(centre)
        scale = self.focal_px / centre[2]
        axes = (max(1, round(radii[0] * scale)), max(1, round(radii[1] * scale)))
        at = (round(x), round(y))
        cv2.ellipse(self.image, at, axes, 0, 0, 360, self.shaded(color, centre[2], shade), -1)
        cv2.ellipse(self.labels, at, axes, 0, 0, 360, label, -1)

    def round_discs(
        self, centres: tuple[Numbers, Numbers, float], radii: Numbers, color: Color,
        label: int, shades: Numbers,
    ) -> None:  # fmt: skip
        """What `disc` draws for circles of one distance and colour, one after the other.

        A crown has dozens of leaves: their places and colours are worked out all at once.
        """
        x, y, z = centres
        if z < NEAR_M:
            return
        across = x / z * self.focal_px + self._vanish_x
        down = (self.height_m - y) / z * self.focal_px + self._vanish_y
        places = np.rint(np.clip(np.stack([across, down], 1), -FAR_PX, FAR_PX)).astype(int)
        sizes = np.maximum(1, np.rint(radii * (self.focal_px / z))).astype(int)
        keep = math.exp(-z / self.light.fog_m)
        lit = np.multiply(color, self.light.gain)[None] * shades[:, None] * keep
        lit = np.clip(lit + np.array(self.light.horizon) * (1 - keep), 0.0, 255.0)
        for at, size, tone in zip(places.tolist(), sizes.tolist(), lit.tolist(), strict=True):
            cv2.ellipse(self.image, at, (size, size), 0, 0, 360, tone, -1)
            cv2.ellipse(self.labels, at, (size, size), 0, 0, 360, label, -1)

    def shaded(self, color: Color, z: float, shade: float) -> Color:
        """`color` lit, and faded towards the horizon with the distance `z`."""
        keep = math.exp(-z / self.light.fog_m)
        red, green, blue = (
            min(max(own * gain * shade * keep + far * (1 - keep), 0.0), 255.0)
            for own, gain, far in zip(color, self.light.gain, self.light.horizon, strict=True)
        )
        return red, green, blue
