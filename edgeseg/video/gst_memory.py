"""Frames in the memory of GStreamer, seen in place.

PyGObject alone gives the bytes of a buffer as a copy, and no strides. So samples are pulled and
mapped by the C functions that it stands on; the structures are those of GStreamer 1.x, whose ABI
does not change.
"""

import ctypes
import functools
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from edgeseg.errors import VideoError
from edgeseg.types import Pixels, Size

_NO_TIME = (1 << 64) - 1
_FORMAT_TIME = 3
_MAP_READ = 1


class _Format(ctypes.Structure):
    _fields_ = (("format", c_int), ("name", c_char_p))


class _Info(ctypes.Structure):
    _fields_ = (
        ("finfo", POINTER(_Format)),
        ("interlace_mode", c_int),
        ("flags", c_int),
        ("width", c_int),
        ("height", c_int),
        ("size", c_size_t),
        ("views", c_int),
        ("chroma_site", c_int),
        ("range", c_int),
        ("matrix", c_int),
        ("transfer", c_int),
        ("primaries", c_int),
        ("par_n", c_int),
        ("par_d", c_int),
        ("fps_n", c_int),
        ("fps_d", c_int),
        ("offset", c_size_t * 4),
        ("stride", c_int * 4),
        ("reserved", c_void_p * 4),
    )


class _Frame(ctypes.Structure):
    _fields_ = (
        ("info", _Info),
        ("flags", c_int),
        ("buffer", c_void_p),
        ("meta", c_void_p),
        ("id", c_int),
        ("data", c_void_p * 4),
        ("rest", c_void_p * 64),  # four GstMapInfo of 13 words, and what is reserved
    )


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("type", c_size_t),
        ("refcount", c_int),
        ("lockstate", c_int),
        ("flags", c_uint),
        ("functions", c_void_p * 3),
        ("private_uint", c_uint),
        ("private", c_void_p),
        ("pool", c_void_p),
        ("pts", c_uint64),
    )


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the caps of a sample say."""

    format: str
    """GStreamer's name: NV12, I420, BGRx, ..."""
    size: Size
    fps: Fraction | None
    pixel_aspect: Fraction
    matrix: str | None
    """bt601, bt709 or bt2020; None where the caps are silent or say something rarer."""
    full_range: bool | None


_MATRICES = {3: "bt709", 4: "bt601", 6: "bt2020"}
_RANGES = {1: True, 2: False}


class Sample:
    """One frame that was pulled off an appsink; GStreamer has it back after `release`."""

    def __init__(self, pointer: int) -> None:
        self._pointer: int | None = pointer
        self._buffer = _library().gst_sample_get_buffer(pointer)
        self._info = _Info()
        self.layout = self._read_layout(pointer)

    @property
    def running_ns(self) -> int | None:
        """Its time stamp since the pipeline was started; None where it has none."""
        if not self._pointer or not self._buffer:
            return None
        pts = ctypes.cast(self._buffer, POINTER(_Buffer)).contents.pts
        segment = _library().gst_sample_get_segment(self._pointer)
        if pts == _NO_TIME or not segment:
            return None
        running = _library().gst_segment_to_running_time(segment, _FORMAT_TIME, pts)
        return None if running == _NO_TIME else int(running)

    def mapped(self) -> "Mapped":
        """Its planes, to be closed after use."""
        if not self._pointer or not self._buffer:
            raise VideoError("the frame was given back already")
        return Mapped(self._buffer, self._info)

    def release(self) -> None:
        """Give the frame back; releasing twice is fine."""
        pointer, self._pointer = self._pointer, None
        if pointer:
            _library().gst_mini_object_unref(pointer)

    def _read_layout(self, pointer: int) -> Layout:
        info, library = self._info, _library()
        caps = library.gst_sample_get_caps(pointer)
        if not caps or not library.gst_video_info_from_caps(ctypes.byref(info), caps):
            self.release()
            raise VideoError(
                "the pipeline delivers something that is no raw video",
                fix="end it with a decoder: gst://... ! decodebin",
            )
        # Where the caps are silent, GStreamer guesses by other lines than ours.
        tagged = library.gst_structure_has_field(
            library.gst_caps_get_structure(caps, 0), b"colorimetry"
        )
        return Layout(
            format=info.finfo.contents.name.decode(),
            size=Size(info.height, info.width),
            fps=Fraction(info.fps_n, info.fps_d) if info.fps_n and info.fps_d else None,
            pixel_aspect=Fraction(info.par_n, info.par_d) if info.par_d else Fraction(1),
            matrix=_MATRICES.get(info.matrix) if tagged else None,
            full_range=_RANGES.get(info.range) if tagged else None,
        )


class Mapped:
    """The planes of a frame, as rows of bytes in GStreamer's memory; a context manager."""

    def __init__(self, buffer: int, info: _Info) -> None:
        self._frame = _Frame()
        self._open = bool(
            _library().gst_video_frame_map(
                ctypes.byref(self._frame), ctypes.byref(info), buffer, _MAP_READ
            )
        )
        if not self._open:
            raise VideoError(
                "the memory of a frame cannot be read",
                fix="let the pipeline end in system memory, after nvvidconv on a Jetson",
            )

    def rows(self, plane: int, height: int, width_bytes: int) -> Pixels:
        """Plane number `plane`, uint8 (height, width_bytes), valid until this is closed."""
        stride = self._frame.info.stride[plane]
        address = self._frame.data[plane]
        if not address or stride < width_bytes:
            raise VideoError(f"plane {plane} of a frame has rows of {stride} bytes")
        # The last row may end before its stride does.
        extent = stride * (height - 1) + width_bytes
        flat = np.frombuffer((ctypes.c_uint8 * extent).from_address(address), np.uint8)
        return np.lib.stride_tricks.as_strided(
            flat, (height, width_bytes), (stride, 1), writeable=False
        )

    def __enter__(self) -> "Mapped":
        return self

    def __exit__(self, *_error: object) -> None:
        if self._open:
            self._open = False
            _library().gst_video_frame_unmap(ctypes.byref(self._frame))


def pointer_of(element: Any) -> int:
    """The address of the C object that PyGObject wraps; valid as long as `element` lives."""
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = c_void_p, (ctypes.py_object, c_char_p)
    address: int = get_pointer(element.__gpointer__, None)
    return address


def pulled(appsink: int, timeout_ns: int) -> Sample | None:
    """The next frame of the appsink at that address; None where none came in time."""
    pointer = _library().gst_app_sink_try_pull_sample(appsink, timeout_ns)
    return Sample(pointer) if pointer else None


def is_over(appsink: int) -> bool:
    """Whether the appsink gave out its last frame."""
    return bool(_library().gst_app_sink_is_eos(appsink))


_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "gst_app_sink_try_pull_sample": (c_void_p, (c_void_p, c_uint64)),
    "gst_app_sink_is_eos": (c_int, (c_void_p,)),
    "gst_sample_get_buffer": (c_void_p, (c_void_p,)),
    "gst_sample_get_caps": (c_void_p, (c_void_p,)),
    "gst_sample_get_segment": (c_void_p, (c_void_p,)),
    "gst_segment_to_running_time": (c_uint64, (c_void_p, c_int, c_uint64)),
    "gst_caps_get_structure": (c_void_p, (c_void_p, c_uint)),
    "gst_structure_has_field": (c_int, (c_void_p, c_char_p)),
    "gst_mini_object_unref": (None, (c_void_p,)),
    "gst_video_info_from_caps": (c_int, (POINTER(_Info), c_void_p)),
    "gst_video_frame_map": (c_int, (POINTER(_Frame), POINTER(_Info), c_void_p, c_int)),
    "gst_video_frame_unmap": (None, (POINTER(_Frame),)),
}


@functools.cache
def _library() -> Any:
    """The functions above, with their types; each call lets other threads run."""
    names = ("libgstreamer-1.0.so.0", "libgstapp-1.0.so.0", "libgstvideo-1.0.so.0")
    libraries = [ctypes.CDLL(name) for name in names]

    class Functions:
        pass

    for name, (result, arguments) in _SIGNATURES.items():
        function = next(getattr(library, name) for library in libraries if hasattr(library, name))
        function.restype, function.argtypes = result, arguments
        setattr(Functions, name, staticmethod(function))
    return Functions
