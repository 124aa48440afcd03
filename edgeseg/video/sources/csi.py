"""The CSI cameras of a Jetson: `csi://0?size=1280x720&rate=30&flip=2`.

Through jetson_utils for an engine that takes RGB, where it is installed; else through
GStreamer's nvarguscamerasrc, whose image processor makes NV12 and, where it is asked, BGRx.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from edgeseg.device.board import is_jetson
from edgeseg.errors import DeviceError, MissingPackage, UsageError
from edgeseg.tables import known
from edgeseg.types import PixelFormat, Size
from edgeseg.video.capture import Capture
from edgeseg.video.gstreamer import missing_elements
from edgeseg.video.sources import SourceOptions, chosen_size, positive
from edgeseg.video.sources.csi_jetson_utils import (
    JETSON_UTILS_FORMATS,
    JetsonUtilsCamera,
    jetson_utils_loads,
)
from edgeseg.video.sources.gst import captured
from edgeseg.video.uri import options_of

ROOT = Path("/")
"""Where /proc is; another one in tests."""
DEFAULT_SIZE, DEFAULT_RATE = Size(720, 1280), Fraction(30)
FLIPS = dict.fromkeys("01234567", "")
"""The flip-method of nvvidconv: 0 none, 1 counterclockwise, 2 half a turn, 3 clockwise, ..."""

# The converter makes these without the CPU; RGB and BGR come as BGRx, whose alpha is dropped.
_CONVERTED = {PixelFormat.NV12: "NV12", PixelFormat.I420: "I420", PixelFormat.RGBA8: "RGBA"}


@dataclass(frozen=True, kw_only=True)
class CsiElements:
    """The elements of the pipeline."""

    camera: str = "nvarguscamerasrc"
    camera_options: str = "sensor-id={sensor}"
    memory: str = "(memory:NVMM)"
    converter: str = "nvvidconv"
    converter_options: str = "flip-method={flip}"


JETSON = CsiElements()


@dataclass(frozen=True, kw_only=True)
class CsiOptions:
    """What the URI and the call ask of a camera."""

    sensor: int
    size: Size
    rate: Fraction
    flip: int


def open_csi(rest: str, wanted: SourceOptions) -> Capture:
    """The camera on connector `rest`, with the options size, rate and flip after a question mark.

    Raises:
        UsageError: no number, or an option that does not exist.
        DeviceError: this machine has no CSI cameras.
        VideoError: the camera does not start.
        MissingPackage: there is no way to GStreamer here.
    """
    options = csi_options(rest, wanted)
    if wanted.pixel_format in JETSON_UTILS_FORMATS and jetson_utils_loads():
        return Capture(
            lambda size: JetsonUtilsCamera(
                options.sensor,
                wanted,
                size=options.size,
                rate=options.rate,
                flip=options.flip,
                scale_to=size,
            ),
            wanted,
        )
    _require_camera(JETSON)
    text = csi_pipeline(options, wanted.pixel_format, JETSON)
    return captured(text, wanted, name=f"csi://{options.sensor}")


def csi_options(rest: str, wanted: SourceOptions) -> CsiOptions:
    """The options that `rest` writes, for the rest the preferred size or 1280x720, 30 a second."""
    sensor, _, query = rest.partition("?")
    given = options_of(f"?{query}", ("size", "rate", "flip"), scheme="csi")
    if not re.fullmatch(r"\d{1,2}", sensor.strip("/") or "0"):
        raise UsageError(f"csi://{sensor} is no camera", fix="write csi://0 for the first one")
    rate = positive(given["rate"], "rate") if "rate" in given else None
    if rate is not None and wanted.rate is not None and rate != wanted.rate:
        raise UsageError(
            f"the URI asks for {rate} frames per second and the call for {wanted.rate}",
            fix="give one",
        )
    return CsiOptions(
        sensor=int(sensor.strip("/") or 0),
        size=chosen_size(given, wanted, wanted.prefers or DEFAULT_SIZE),
        rate=rate or wanted.rate or DEFAULT_RATE,
        flip=int(known(FLIPS, given.get("flip", "0"), kind="flip of csi://")),
    )


def csi_pipeline(options: CsiOptions, pixel_format: PixelFormat, elements: CsiElements) -> str:
    """The pipeline from the camera to system memory, in what the slot takes or is nearest to it."""
    size, rate = options.size, options.rate
    target = _CONVERTED.get(pixel_format, "BGRx")
    camera = elements.camera_options.format(sensor=options.sensor)
    converter = elements.converter_options.format(flip=options.flip)
    return " ! ".join(
        [
            f"{elements.camera} {camera}".strip(),
            f"video/x-raw{elements.memory},width={size.width},height={size.height},format=NV12,"
            f"framerate={rate.numerator}/{rate.denominator}",
            f"{elements.converter} {converter}".strip(),
            f"video/x-raw,format={target}",
        ]
    )


def _require_camera(elements: CsiElements) -> None:
    """Refuse a machine without these elements; a Jetson is believed where nobody can ask."""
    why = ""
    try:
        missing = missing_elements((elements.camera, elements.converter))
    except MissingPackage:
        if is_jetson(ROOT):
            return
    else:
        if not missing:
            return
        why = f": GStreamer has no {missing[0]}"
    raise DeviceError(
        f"this machine has no CSI cameras of a Jetson{why}",
        fix="on a Jetson: sudo apt install nvidia-l4t-gstreamer, and check nvargus-daemon with "
        "systemctl status nvargus-daemon; elsewhere: name a camera as /dev/video0",
    )
