"""What a /dev/videoN is, and the formats, sizes and rates that it offers."""

import ctypes
import errno
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from edgeseg.errors import VideoError
from edgeseg.types import Size
from edgeseg.video.v4l2 import structs
from edgeseg.video.v4l2.ioctl import Node
from edgeseg.video.v4l2.negotiation import Mode
from edgeseg.video.v4l2.structs import Fraction32

MOST_ENTRIES = 256
"""A driver that never says that its list is over is not asked for ever."""
USUAL_SIZES = (
    Size(120, 160), Size(240, 320), Size(360, 640), Size(480, 640), Size(540, 960),
    Size(600, 800), Size(720, 1280), Size(960, 1280), Size(1080, 1920), Size(2160, 3840),
)  # fmt: skip
"""Those that are looked at where a driver takes any size between two."""
USUAL_RATES = tuple(map(Fraction, (120, 90, 60, 50, 30, 25, 24, 20, 15, 10, 5)))
ENDS = frozenset({errno.EINVAL, errno.ENOTTY, errno.ENODATA, errno.ENOSYS})
"""With these a list is over, or the driver does not have one."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a node says of itself."""

    name: str
    driver: str
    bus: str
    capabilities: int
    """Of this node, not of all the nodes of the device."""

    @property
    def buffer_type(self) -> int | None:
        """The kind of buffers in which frames come; None where none do."""
        if self.capabilities & (structs.CAP_M2M | structs.CAP_M2M_MPLANE):
            return None
        if self.capabilities & structs.CAP_CAPTURE:
            return structs.VIDEO_CAPTURE
        if self.capabilities & structs.CAP_CAPTURE_MPLANE:
            return structs.VIDEO_CAPTURE_MPLANE
        return None

    @property
    def kind(self) -> str:
        """What it is, in a word or three."""
        if self.buffer_type is not None:
            return "camera"
        if self.capabilities & (structs.CAP_M2M | structs.CAP_M2M_MPLANE):
            return "codec or scaler"
        return "metadata" if self.capabilities & structs.CAP_META else "no camera"


def card_of(node: Node) -> Card:
    """The Card of `node`.

    Raises:
        OSError: it is no video device, or is gone.
    """
    answer = structs.Capability()
    node.ioctl(structs.QUERYCAP, answer)
    everything: int = answer.capabilities
    own = answer.device_caps if everything & structs.CAP_DEVICE_CAPS else everything
    return Card(
        name=_text(answer.card),
        driver=_text(answer.driver),
        bus=_text(answer.bus_info),
        capabilities=own,
    )


def frame_type(card: Card, camera: str) -> int:
    """The kind of the card's buffers.

    Raises:
        VideoError: no frames come from it.
    """
    if card.buffer_type is None:
        raise VideoError(
            f"{camera} gives no frames, it is: {card.kind}",
            fix="take another number: most cameras have two nodes, and the first one has the "
            "frames; `edgeseg doctor --camera` lists them",
        )
    if not card.capabilities & structs.CAP_STREAMING:
        raise VideoError(
            f"{camera} cannot stream into mapped buffers",
            fix="read it through GStreamer: gst://v4l2src device=... ! videoconvert",
        )
    return card.buffer_type


def modes_of(node: Node, buffer_type: int, *, also: Size | None = None) -> list[Mode]:
    """Everything on offer; where any size goes, the usual ones, the ends and `also`."""
    modes = []
    for index in range(MOST_ENTRIES):
        entry = structs.FormatDescription(index=index, type=buffer_type)
        if not _answers(node, structs.ENUM_FMT, entry):
            break
        number = entry.pixelformat
        sizes = list(_sizes(node, number, also)) or list(_present_size(node, buffer_type))
        modes += [
            Mode(structs.fourcc_name(number), size, tuple(_rates(node, number, size)))
            for size in dict.fromkeys(sizes)
        ]
    return list(dict.fromkeys(modes))


class Taken(NamedTuple):
    """How frames come, as the driver says it."""

    format: str
    size: Size
    strides: tuple[int, ...]
    """Bytes from row to row, for each memory that a frame lies in."""
    colorspace: int
    encoding: int
    quantization: int


def taken(answer: structs.Format) -> Taken:
    """What an S_FMT or a G_FMT answered."""
    if answer.type == structs.VIDEO_CAPTURE_MPLANE:
        planes = answer.fmt.pix_mp
        strides = tuple(planes.plane_fmt[i].bytesperline for i in range(planes.num_planes))
        colours = planes.colorspace, planes.ycbcr_enc, planes.quantization
        return Taken(
            structs.fourcc_name(planes.pixelformat),
            Size(planes.height, planes.width),
            strides,
            *colours,
        )
    pix = answer.fmt.pix
    more = (pix.ycbcr_enc, pix.quantization) if pix.priv == structs.PRIV_MAGIC else (0, 0)
    return Taken(
        structs.fourcc_name(pix.pixelformat),
        Size(pix.height, pix.width),
        (pix.bytesperline,),
        pix.colorspace,
        *more,
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip()


def _answers(node: Node, request: int, question: ctypes.Structure) -> bool:
    """Whether there is such an entry; a camera that is gone is no answer."""
    try:
        node.ioctl(request, question)
    except OSError as error:
        if error.errno in ENDS:
            return False
        raise
    return True


def _sizes(node: Node, number: int, also: Size | None) -> Iterator[Size]:
    for index in range(MOST_ENTRIES):
        entry = structs.FrameSize(index=index, pixel_format=number)
        if not _answers(node, structs.ENUM_FRAMESIZES, entry):
            return
        if entry.type == structs.DISCRETE:
            yield Size(entry.values[1], entry.values[0])
            continue
        widths, heights = entry.values[:3], entry.values[3:]
        yield Size(heights[1], widths[1])
        for size in (*USUAL_SIZES, *([also] if also else [])):
            if _steps_to(size.width, widths) and _steps_to(size.height, heights):
                yield size
        return


def _steps_to(value: int, range_: list[int]) -> bool:
    least, most, step = range_
    return least <= value <= most and (value - least) % max(step, 1) == 0


def _present_size(node: Node, buffer_type: int) -> Iterator[Size]:
    """The size that is set now, where a driver lists none."""
    now = structs.Format(type=buffer_type)
    if _answers(node, structs.G_FMT, now) and 0 not in taken(now).size:
        yield taken(now).size


def _rates(node: Node, number: int, size: Size) -> list[Fraction]:
    rates: set[Fraction] = set()
    for index in range(MOST_ENTRIES):
        entry = structs.FrameInterval(
            index=index, pixel_format=number, width=size.width, height=size.height
        )
        if not _answers(node, structs.ENUM_FRAMEINTERVALS, entry):
            break
        first, last = (_rate(interval) for interval in entry.values[:2])
        if first:
            rates.add(first)
        if entry.type != structs.DISCRETE and first and last:
            rates |= {last, *(one for one in USUAL_RATES if last < one < first)}
            break
    return sorted(rates, reverse=True)


def _rate(interval: Fraction32) -> Fraction | None:
    """Frames per second of a time per frame; None of one that says nothing."""
    if not interval.numerator or not interval.denominator:
        return None
    return Fraction(interval.denominator, interval.numerator)
