"""Which cameras are here, what they offer, what opens them, and a picture of each."""

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeseg.device.board import is_jetson
from edgeseg.doctor_finding import Finding, fine, open_question, wrong
from edgeseg.doctor_place import Place
from edgeseg.errors import EdgesegError, MissingPackage
from edgeseg.tables import needs
from edgeseg.video.gstreamer import missing_elements
from edgeseg.video.v4l2 import ioctl
from edgeseg.video.v4l2.card import Card, card_of, modes_of
from edgeseg.video.v4l2.formats import LAYOUTS, is_bayer
from edgeseg.video.v4l2.negotiation import Mode
from edgeseg.video.v4l2.portrait import Portrait
from edgeseg.video.v4l2.refusals import present, refused

ARGUS = "tmp/argus_socket"
GST_ELEMENTS = ("v4l2src", "jpegdec", "videoconvert", "appsink")
NO_CAMERA = (
    "a USB camera: lsusb, another port or cable, and sudo modprobe uvcvideo; a CSI camera: sudo "
    "/opt/nvidia/jetson-io/jetson-io.py, then reboot; in a container: --device /dev/video0, and "
    "for CSI -v /tmp/argus_socket:/tmp/argus_socket; in WSL: usbipd attach"
)

Missing = Callable[[tuple[str, ...]], list[str]]
TakePicture = Callable[[Path, Path], Portrait]


@dataclass(frozen=True, kw_only=True)
class SizeOffered:
    """A size that a camera has in one format."""

    width: int
    height: int
    fps: list[float]
    """The fastest first; empty where the driver does not say."""


@dataclass(frozen=True, kw_only=True)
class FormatOffered:
    """A pixel format of a camera."""

    format: str
    read: bool
    """Whether edgeseg reads it through V4L2."""
    sizes: list[SizeOffered]


@dataclass(frozen=True, kw_only=True)
class CameraSeen:
    """A /dev/videoN."""

    device: Path
    name: str
    kind: str
    """camera, sensor before its ISP, metadata, codec or scaler, or unknown."""
    driver: str = ""
    bus: str = ""
    opens: list[str] = field(default_factory=list)
    """The sources that can be written for it."""
    formats: list[FormatOffered] = field(default_factory=list)
    picture: Portrait | None = None


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to the pictures of a camera."""

    name: str
    usable: bool
    detail: str
    what_for: str


@dataclass(frozen=True, kw_only=True)
class CameraDiagnosis:
    """All of it."""

    cameras: list[CameraSeen]
    ways: list[Way]
    findings: list[Finding]


def take_picture(device: Path, folder: Path) -> Portrait:
    """A picture of the camera at `device`, in `folder`.

    Raises:
        EdgesegError: none came, or it cannot be written, or a package is missing.
    """
    with needs("video"):
        from edgeseg.video.v4l2.photographer import take_portrait
    return take_portrait(device, folder)


def doctor_cameras(
    pictures: Path | None = None,
    place: Place | None = None,
    *,
    missing: Missing = missing_elements,
    take: TakePicture = take_picture,
) -> CameraDiagnosis:
    """Look at every camera, and put a picture of each that opens into the folder `pictures`.

    Without one they go into a temporary folder, which stays.
    """
    place = place or Place()
    ways = _ways(place, missing)
    usable = {way.name for way in ways if way.usable}
    cameras: list[CameraSeen] = []
    findings: list[Finding] = []
    for node in present(place.root):
        csi = sum(one.kind == "sensor before its ISP" for one in cameras)
        camera, finding = _looked_at(node.path, node.name, usable, csi)
        if camera.formats and f"v4l2://{node.path}" in camera.opens:
            pictures = pictures or Path(tempfile.mkdtemp(prefix="edgeseg-camera-"))
            camera, finding = _pictured(camera, pictures, take)
        cameras.append(camera)
        findings += [finding] if finding else []
    if not cameras:
        findings.append(open_question("cameras", "no /dev/video* here", NO_CAMERA))
    return CameraDiagnosis(cameras=cameras, ways=ways, findings=findings)


def csi_daemon(place: Place) -> bool:
    """Whether the daemon of CSI cameras runs; a Jetson has one."""
    return (place.root / ARGUS).exists()


def _looked_at(
    path: Path, name: str, usable: set[str], csi: int
) -> tuple[CameraSeen, Finding | None]:
    """The camera as it describes itself, and what is wrong with that."""
    try:
        node = ioctl.open_node(path)
        try:
            card = card_of(node)
            modes = modes_of(node, card.buffer_type) if card.buffer_type else []
        finally:
            node.close()
    except OSError as error:
        told = refused(path, error)
        camera = CameraSeen(device=path, name=name, kind="unknown")
        return camera, wrong(path.name, told.problem, told.fix)
    bayer = bool(modes) and all(is_bayer(mode.format) for mode in modes)
    kind = "sensor before its ISP" if bayer else card.kind
    opens = _sources_of(path, card, modes, usable, csi)
    camera = CameraSeen(
        device=path,
        name=card.name,
        kind=kind,
        driver=card.driver,
        bus=card.bus,
        opens=opens,
        formats=_formats(modes),
    )
    return camera, _why_closed(camera) if kind in {"camera", "sensor before its ISP"} else None


def _sources_of(path: Path, card: Card, modes: list[Mode], usable: set[str], csi: int) -> list[str]:
    if card.buffer_type is None:
        return []
    if modes and all(is_bayer(mode.format) for mode in modes):
        ways = {"nvarguscamerasrc", "jetson_utils"} & usable
        return [f"csi://{csi}"] if ways else []
    own = [f"v4l2://{path}"] if any(mode.format in LAYOUTS for mode in modes) else []
    gst = [f"gst://v4l2src device={path} ! decodebin ! videoconvert"]
    return own + (gst if "GStreamer" in usable else [])


def _why_closed(camera: CameraSeen) -> Finding | None:
    if camera.opens:
        return None
    names = ", ".join(one.format for one in camera.formats) or "no format"
    if camera.kind == "camera":
        mend = "GStreamer may read it: gst://v4l2src ...; see the table above"
        return wrong(camera.device.name, f"{camera.name} has {names}, which is not read", mend)
    seen = f"{camera.name} has raw Bayer only ({names}), and nothing here drives its ISP"
    mend = "on a Jetson: csi://0 through nvarguscamerasrc or jetson_utils; see the table above"
    return wrong(camera.device.name, seen, mend)


def _pictured(camera: CameraSeen, folder: Path, take: TakePicture) -> tuple[CameraSeen, Finding]:
    name = camera.device.name
    try:
        picture = take(camera.device, folder)
    except EdgesegError as error:
        return camera, wrong(name, error.problem, error.fix)
    seen = (
        f"{picture.format} {picture.width}x{picture.height}, a picture in {picture.file}: "
        f"brightness {picture.brightness:.0f} of 255, contrast {picture.contrast:.0f}"
    )
    if picture.measured_fps is not None:
        seen += f", {picture.measured_fps:.1f} frames per second"
    finding = open_question(name, seen, picture.hint) if picture.hint else fine(name, seen)
    return replace(camera, picture=picture), finding


def _ways(place: Place, missing: Missing) -> list[Way]:
    lacking, why = _lacking(GST_ELEMENTS, missing)
    gst = why or "PyGObject and its elements are here"
    return [
        Way(name="V4L2", usable=True, detail="edgeseg's own", what_for="/dev/video0"),
        Way(name="GStreamer", usable=not lacking, detail=gst, what_for="gst://"),
        _opencv(place),
        _argus(place, missing),
        _package(place, "jetson_utils", "csi:// on a Jetson", "it is not on PyPI: jetson-utils"),
        _package(place, "av", "rtsp://, http://, files", "pip install 'edgeseg[video]'"),
    ]


def _lacking(elements: tuple[str, ...], missing: Missing) -> tuple[bool, str]:
    """Whether an element is not to be had, and why."""
    try:
        names = missing(elements)
    except MissingPackage as error:
        return True, f"{error.problem}; {error.fix}"
    return bool(names), f"GStreamer has no {', no '.join(names)}" if names else ""


def _argus(place: Place, missing: Missing) -> Way:
    if not is_jetson(place.root):
        why = "only on a Jetson"
        return Way(name="nvarguscamerasrc", usable=False, detail=why, what_for="csi://")
    lacking, why = _lacking(("nvarguscamerasrc",), missing)
    if not lacking:
        runs = csi_daemon(place)
        why = "its daemon answers" if runs else "sudo systemctl restart nvargus-daemon"
        lacking = not runs
    return Way(name="nvarguscamerasrc", usable=not lacking, detail=why, what_for="csi://")


def _opencv(place: Place) -> Way:
    if place.origin("cv2") is None:
        detail = "not installed; pip install 'edgeseg[video]'"
        return Way(name="cv2", usable=False, detail=detail, what_for="gst://, in a pinch")
    said = place.ask((place.executable, "-c", "import cv2; print(cv2.getBuildInformation())"))
    usable = re.search(r"GStreamer:\s+YES", said or "") is not None
    detail = "built with GStreamer" if usable else "built without GStreamer, as pip's always is"
    return Way(name="cv2", usable=usable, detail=detail, what_for="gst://, in a pinch")


def _package(place: Place, module: str, what_for: str, remedy: str) -> Way:
    usable = place.origin(module) is not None
    detail = "installed" if usable else f"not installed; {remedy}"
    return Way(name=module, usable=usable, detail=detail, what_for=what_for)


def _formats(modes: list[Mode]) -> list[FormatOffered]:
    names = dict.fromkeys(mode.format for mode in modes)
    return [
        FormatOffered(
            format=name,
            read=name in LAYOUTS,
            sizes=[
                SizeOffered(
                    width=mode.size.width,
                    height=mode.size.height,
                    fps=[round(float(rate), 3) for rate in mode.rates],
                )
                for mode in modes
                if mode.format == name
            ],
        )
        for name in names
    ]
