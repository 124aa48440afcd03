"""GStreamer as this Python reaches it: through PyGObject, which comes from apt and not from pip."""

import contextlib
import ctypes
import functools
import importlib
import importlib.machinery
import importlib.util
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgeseg.errors import MissingPackage
from edgeseg.video.credentials import HIDDEN, shown

SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")
"""Where Debian and Ubuntu keep the Python packages of apt."""

APT_LINE = (
    "sudo apt install python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav"
)
APT_SERVER = "sudo apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-bad"

_ELEMENTS_OF_APT = {
    "gstreamer1.0-libav": "avdec_.* avenc_.*",
    "gstreamer1.0-libcamera": "libcamerasrc",
    "gstreamer1.0-pipewire": "pipewiresrc",
    "gstreamer1.0-plugins-bad": "bayer2rgb h26[45]parse hlsdemux jpegparse openh264.* rtmp2?src "
    "shmsrc srtsrc tsdemux va.*dec webrtcbin",
    "gstreamer1.0-plugins-base": "appsink appsrc compositor decodebin3? playbin uridecodebin3? "
    "videoconvert videoconvertscale videorate videoscale videotestsrc",
    "gstreamer1.0-plugins-good": "autovideosink deinterlace flvdemux jpegdec jpegenc matroskademux "
    "multifilesrc multipartdemux pngdec qtdemux rtp.* rtspsrc souphttpsrc udpsrc v4l2.* videobox "
    "videocrop videoflip vp[89]dec ximagesrc",
    "gstreamer1.0-plugins-ugly": "x264enc",
    "gstreamer1.0-rtsp": "rtspclientsink",
    "gstreamer1.0-vaapi": "vaapi.*",
    "nvidia-l4t-gstreamer": "nvarguscamerasrc nvjpeg.* nvv4l2.* nvvidconv",
}
"""What is in each package of Debian, Ubuntu and JetPack, as patterns."""

_SECRET = re.compile(r"""(\b(?:user|proxy)-pw\s*=\s*)("[^"]*"|'[^']*'|[^\s'"]+)""")


@functools.cache
def gst() -> Any:
    """The module Gst of PyGObject, initialised.

    Raises:
        MissingPackage: this Python cannot import it; says whether apt's is hidden from it.
    """
    module = _from_gi("Gst", apt=APT_LINE)
    started, _ = module.init_check(None)
    if not started:
        raise MissingPackage("GStreamer does not start", fix="run gst-inspect-1.0, and read on")
    return module


@functools.cache
def rtsp_server() -> Any:
    """The module GstRtspServer, with GStreamer initialised.

    Raises:
        MissingPackage: it is not there, with the line that installs it.
    """
    gst()
    return _from_gi("GstRtspServer", apt=APT_SERVER)


@functools.cache
def glib() -> Any:
    """The module GLib, for main loops."""
    gst()
    return _from_gi("GLib", version="2.0", apt=APT_LINE)


def missing_elements(names: Iterable[str]) -> list[str]:
    """Those of `names` that GStreamer has no element for."""
    factory = gst().ElementFactory
    return [name for name in names if factory.find(name) is None]


def require_elements(*names: str) -> None:
    """Nothing, if GStreamer has all these elements.

    Raises:
        MissingPackage: one is missing, with the line that installs it.
    """
    missing = missing_elements(names)
    if missing:
        raise MissingPackage(
            f"GStreamer here has no {', no '.join(missing)}", fix=apt_line_of(missing)
        )


def apt_line_of(elements: Iterable[str]) -> str:
    """The line that installs `elements`; what is unknown is searched for."""
    wanted = list(elements)
    packages = [
        package
        for package, patterns in _ELEMENTS_OF_APT.items()
        if any(re.fullmatch(one, name) for one in patterns.split() for name in wanted)
    ]
    if packages:
        return f"sudo apt install {' '.join(packages)}"
    return "gst-inspect-1.0 lists the elements that are here; apt search gstreamer1.0 what could be"


def shown_pipeline(text: str) -> str:
    """A pipeline, or a message with one in it, without the passwords that it carries."""
    return _SECRET.sub(rf"\g<1>{HIDDEN}", shown(text))


def why_no_gi() -> tuple[str, str]:
    """What keeps this Python from importing gi, and what to do."""
    extensions = sorted(SYSTEM_PACKAGES.glob("gi/_gi.*.so"))
    if not extensions:
        return "GStreamer needs PyGObject, which is not installed", APT_LINE
    if not any(path.name.endswith(_own_suffix()) for path in extensions):
        tags = ", ".join(path.name.split(".")[1] for path in extensions)
        return (
            f"apt's python3-gi is here, but for another Python ({tags}; this one takes "
            f"{_own_suffix()})",
            "make the environment from apt's Python: "
            "/usr/bin/python3 -m venv --system-site-packages .venv",
        )
    own = "this virtual environment" if sys.prefix != sys.base_prefix else "this Python"
    return (
        f"GStreamer needs PyGObject: apt's python3-gi is on this machine, and {own} does not "
        "see it",
        "make the environment anew with /usr/bin/python3 -m venv --system-site-packages, "
        "or pip install PyGObject",
    )


def _own_suffix() -> str:
    return str(sysconfig.get_config_var("EXT_SUFFIX") or importlib.machinery.EXTENSION_SUFFIXES[0])


def _unwind_with_libgcc() -> None:
    """Keep the C++ exceptions of what is loaded later in working order.

    GStreamer brings libunwind, whose functions have the names of libgcc's and do not go with them:
    OpenVINO, loaded after PyAV or OpenCV and GStreamer, died of its first exception.
    """
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)


def _from_gi(name: str, *, apt: str, version: str = "1.0") -> Any:
    with warnings.catch_warnings():
        # Some releases of PyGObject are imported in ways that newer Pythons frown upon.
        warnings.simplefilter("ignore")
        try:
            gi = importlib.import_module("gi")
        except ImportError as error:
            problem, fix = why_no_gi()
            raise MissingPackage(problem, fix=fix) from error
        _unwind_with_libgcc()
        try:
            gi.require_version(name, version)
            return importlib.import_module(f"gi.repository.{name}")
        except (ImportError, ValueError) as error:
            raise MissingPackage(f"PyGObject is here, but not {name}", fix=apt) from error
