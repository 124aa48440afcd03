"""What a test picture of a camera shows."""

from dataclasses import dataclass
from pathlib import Path

BLACK, WHITE = 10.0, 245.0
EVEN = 3.0
"""Less contrast than the noise of a sensor that sees something."""


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """A picture that a camera took."""

    file: Path
    format: str
    """What the camera sent."""
    width: int
    height: int
    fps: float | None
    """As the driver says."""
    measured_fps: float | None
    """What came while the exposure settled; in the dark many cameras slow down."""
    damaged: int
    brightness: float
    """The mean of luma, 0 to 255."""
    contrast: float
    """Its standard deviation."""
    hint: str
    """What may be wrong with the picture; empty where nothing is."""


def hint_of(brightness: float, contrast: float) -> str:
    """What may be wrong with a picture; empty where nothing is."""
    if brightness < BLACK and contrast < BLACK:
        return "all black: a lens cap, a privacy shutter, or no light"
    if brightness > WHITE:
        return "all white: too much light, or an exposure that is set by hand"
    if contrast < EVEN:
        return "one even grey: the sensor behind the driver sends nothing, or looks at a wall"
    return ""
