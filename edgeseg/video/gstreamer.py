"""GStreamer as this Python reaches it: through PyGObject, which comes from apt and not from pip."""

import functools
import importlib
import importlib.machinery
import importlib.util
import sys
import sysconfig
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgeseg.errors import MissingPackage

SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")
"""Where Debian and Ubuntu keep the Python packages of apt."""

APT_LINE = (
    "sudo apt install python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav"
)
APT_SERVER = "sudo apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-bad"

_APT_OF_ELEMENT = {
    "appsink": "gstreamer1.0-plugins-base",
    "appsrc": "gstreamer1.0-plugins-base",
    "avdec_h264": "gstreamer1.0-libav",
    "decodebin": "gstreamer1.0-plugins-base",
    "h264parse": "gstreamer1.0-plugins-bad",
    "h265parse": "gstreamer1.0-plugins-bad",
    "jpegdec": "gstreamer1.0-plugins-good",
    "nvarguscamerasrc": "nvidia-l4t-gstreamer",
    "nvjpegdec": "nvidia-l4t-gstreamer",
    "nvv4l2decoder": "nvidia-l4t-gstreamer",
    "nvvidconv": "nvidia-l4t-gstreamer",
    "rtph264pay": "gstreamer1.0-plugins-good",
    "rtspsrc": "gstreamer1.0-plugins-good",
    "v4l2src": "gstreamer1.0-plugins-good",
    "videoconvert": "gstreamer1.0-plugins-base",
    "videotestsrc": "gstreamer1.0-plugins-base",
}


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
    packages = sorted({_APT_OF_ELEMENT[name] for name in elements if name in _APT_OF_ELEMENT})
    if packages:
        return f"sudo apt install {' '.join(packages)}"
    return "gst-inspect-1.0 lists the elements that are here; apt search gstreamer1.0 what could be"


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


def _from_gi(name: str, *, apt: str, version: str = "1.0") -> Any:
    with warnings.catch_warnings():
        # Some releases of PyGObject are imported in ways that newer Pythons frown upon.
        warnings.simplefilter("ignore")
        try:
            gi = importlib.import_module("gi")
        except ImportError as error:
            problem, fix = why_no_gi()
            raise MissingPackage(problem, fix=fix) from error
        try:
            gi.require_version(name, version)
            return importlib.import_module(f"gi.repository.{name}")
        except (ImportError, ValueError) as error:
            raise MissingPackage(f"PyGObject is here, but not {name}", fix=apt) from error
