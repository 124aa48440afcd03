"""Telling a camera the format, the size and the rate; what it answers is what counts."""

from fractions import Fraction
from typing import NamedTuple

from edgeseg.errors import VideoError
from edgeseg.types import Size
from edgeseg.video.v4l2 import structs
from edgeseg.video.v4l2.card import ENDS, Taken, taken
from edgeseg.video.v4l2.formats import LAYOUTS
from edgeseg.video.v4l2.ioctl import Node
from edgeseg.video.v4l2.negotiation import Choice


class Setting(NamedTuple):
    """How frames will come."""

    frames: Taken
    rate: Fraction | None
    """None where the driver does not say."""


def set_up(node: Node, buffer_type: int, choice: Choice) -> Setting:
    """Ask for `choice`; what the driver made of it.

    Raises:
        VideoError: the driver set a format that cannot be read.
        OSError: it refuses.
    """
    frames = _set_format(node, buffer_type, choice.format, choice.size)
    if frames.format not in LAYOUTS or 0 in frames.size:
        raise VideoError(
            f"{node.path} was asked for {choice.format} at {choice.size} and gives "
            f"{frames.format or 'nothing'} at {frames.size}",
            fix=f"try another format: ?format={' or '.join(sorted(_options()))}",
        )
    return Setting(frames, _set_rate(node, buffer_type, choice.rate))


def _options() -> set[str]:
    return {layout.option for layout in LAYOUTS.values()}


def _set_format(node: Node, buffer_type: int, name: str, size: Size) -> Taken:
    wanted = structs.Format(type=buffer_type)
    many = buffer_type == structs.VIDEO_CAPTURE_MPLANE
    pix = wanted.fmt.pix_mp if many else wanted.fmt.pix
    pix.width, pix.height = size.width, size.height
    pix.pixelformat, pix.field = structs.fourcc(name), structs.FIELD_NONE
    if not many:
        pix.priv = structs.PRIV_MAGIC
    node.ioctl(structs.S_FMT, wanted)
    return taken(wanted)


def _set_rate(node: Node, buffer_type: int, rate: Fraction) -> Fraction | None:
    """The rate that the driver says it has now."""
    now = structs.Parameters(type=buffer_type)
    try:
        node.ioctl(structs.G_PARM, now)
        if now.parm.capture.capability & structs.CAP_TIMEPERFRAME:
            now.parm.capture.timeperframe.numerator = rate.denominator
            now.parm.capture.timeperframe.denominator = rate.numerator
            node.ioctl(structs.S_PARM, now)
    except OSError as error:
        if error.errno in ENDS:
            return None
        raise
    interval = now.parm.capture.timeperframe
    if not interval.numerator or not interval.denominator:
        return None
    return Fraction(interval.denominator, interval.numerator)
