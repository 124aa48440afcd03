"""The pixel formats of cameras that can be read here, and how they lie in memory."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from edgeseg.types import PixelFormat

Family: TypeAlias = Literal["420", "422", "rgb", "jpeg", "grey"]


class Part(NamedTuple):
    """One plane of a picture: `bytes` for every `across` pixels, one row for every `down`."""

    bytes: int = 1
    across: int = 1
    down: int = 1


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One pixel format."""

    option: str
    """What `format=` calls it, besides its four letters."""
    family: Family
    av_format: str
    parts: tuple[Part, ...] = ()
    """In the order in which they lie in memory; none of a JPEG."""
    like: PixelFormat | None = None
    """The pixel format of slots that has the same bytes."""


_LUMA = Part()
_QUARTER = Part(1, 2, 2)

LAYOUTS = {
    "YUYV": Layout(option="yuyv", family="422", av_format="yuyv422", parts=(Part(2),)),
    "UYVY": Layout(option="uyvy", family="422", av_format="uyvy422", parts=(Part(2),)),
    "YVYU": Layout(option="yvyu", family="422", av_format="yvyu422", parts=(Part(2),)),
    "NV12": Layout(
        option="nv12",
        family="420",
        av_format="nv12",
        parts=(_LUMA, Part(1, 1, 2)),
        like=PixelFormat.NV12,
    ),
    "NM12": Layout(
        option="nv12",
        family="420",
        av_format="nv12",
        parts=(_LUMA, Part(1, 1, 2)),
        like=PixelFormat.NV12,
    ),
    "NV21": Layout(option="nv21", family="420", av_format="nv21", parts=(_LUMA, Part(1, 1, 2))),
    "YU12": Layout(
        option="i420",
        family="420",
        av_format="yuv420p",
        parts=(_LUMA, _QUARTER, _QUARTER),
        like=PixelFormat.I420,
    ),
    "YM12": Layout(
        option="i420",
        family="420",
        av_format="yuv420p",
        parts=(_LUMA, _QUARTER, _QUARTER),
        like=PixelFormat.I420,
    ),
    "NV16": Layout(option="nv16", family="422", av_format="nv16", parts=(_LUMA, _LUMA)),
    "422P": Layout(
        option="422p", family="422", av_format="yuv422p", parts=(_LUMA, Part(1, 2), Part(1, 2))
    ),
    "RGB3": Layout(
        option="rgb", family="rgb", av_format="rgb24", parts=(Part(3),), like=PixelFormat.RGB8
    ),
    "BGR3": Layout(
        option="bgr", family="rgb", av_format="bgr24", parts=(Part(3),), like=PixelFormat.BGR8
    ),
    "XR24": Layout(
        option="bgrx", family="rgb", av_format="bgr0", parts=(Part(4),), like=PixelFormat.BGRX8
    ),
    "BGR4": Layout(
        option="bgrx", family="rgb", av_format="bgr0", parts=(Part(4),), like=PixelFormat.BGRX8
    ),
    "GREY": Layout(option="grey", family="grey", av_format="gray", parts=(_LUMA,)),
    "MJPG": Layout(option="mjpeg", family="jpeg", av_format="mjpeg"),
    "JPEG": Layout(option="mjpeg", family="jpeg", av_format="mjpeg"),
}
"""By the four letters of videodev2.h; NM12 and YM12 have their planes in memories of their own."""

_BAYER = ("BA81", "GBRG", "GRBG", "RGGB", "BYR2", "GB16", "GR16", "RG16")
_BAYER_ORDERS = ("BG", "GB", "BA", "RG")  # then the bits: BG10, and "BA12" in the place of GR12
_BAYER_PACKED = ("pBA", "pGA", "pgA", "pRA", "pBC", "pGC", "pgC", "pRC")


def is_bayer(name: str) -> bool:
    """Whether a format is what a sensor sees, one colour a pixel, before any ISP."""
    bits = name[2:] in {"10", "12", "14", "16"} and name[:2] in {*_BAYER_ORDERS, "GR"}
    return bits or name in _BAYER or name.startswith(_BAYER_PACKED)


def cost(name: str, pixel_format: PixelFormat) -> tuple[bool, int]:
    """What compares lower is cheaper to bring into a slot of `pixel_format`.

    Formats that are compressed come last, and grey ones after them: a network wants colour. RGB is
    made from 4:2:2 rather than from 4:2:0, at the same cost, since that has twice the colour.
    """
    yuv = pixel_format in {PixelFormat.NV12, PixelFormat.I420}
    order = ("420", "422", "rgb", "jpeg", "grey") if yuv else ("rgb", "422", "420", "jpeg", "grey")
    layout = LAYOUTS[name]
    return layout.like is not pixel_format, order.index(layout.family)


def names_of(option: str) -> tuple[str, ...]:
    """The formats that `format=` names, by their word or by their four letters."""
    wanted = option.lower()
    return tuple(
        name for name, layout in LAYOUTS.items() if wanted in {layout.option, name.lower()}
    )
