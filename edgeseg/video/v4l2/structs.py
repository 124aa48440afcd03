"""The words of the kernel's videodev2.h that a camera needs, as they lie in memory on 64 bits.

x86-64 and aarch64 have the same sizes and offsets, and the same numbers for the requests.
"""

import ctypes
from ctypes import c_char, c_int32, c_long, c_uint8, c_uint32, c_ulong

VIDEO_CAPTURE, VIDEO_CAPTURE_MPLANE = 1, 9
"""enum v4l2_buf_type"""
MEMORY_MMAP = 1
FIELD_NONE = 1
PRIV_MAGIC = 0xFEEDCAFE
"""In a v4l2_pix_format: the fields behind it count."""
MAX_PLANES = 8

CAP_CAPTURE = 0x1
CAP_CAPTURE_MPLANE = 0x1000
CAP_M2M = 0x8000
CAP_M2M_MPLANE = 0x4000
CAP_META = 0x800000
CAP_STREAMING = 0x4000000
CAP_DEVICE_CAPS = 0x80000000
CAP_TIMEPERFRAME = 0x1000
"""Of a v4l2_captureparm: the rate can be set."""

BUFFER_ERROR = 0x40
BUFFER_CLOCK, BUFFER_MONOTONIC = 0xE000, 0x2000
"""The bits that name the clock of a timestamp, and what they are for CLOCK_MONOTONIC."""

DISCRETE = 1
"""enum v4l2_frmsizetypes and v4l2_frmivaltypes; what is not discrete has least, most and step."""


class Fraction32(ctypes.Structure):
    """struct v4l2_fract."""

    _fields_ = [("numerator", c_uint32), ("denominator", c_uint32)]


class Capability(ctypes.Structure):
    """struct v4l2_capability."""

    _fields_ = [
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class FormatDescription(ctypes.Structure):
    """struct v4l2_fmtdesc."""

    _fields_ = [
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    ]


class FrameSize(ctypes.Structure):
    """struct v4l2_frmsizeenum; a discrete size is in the first two of `values`.

    Else they are least width, greatest width and step, and the same of the height.
    """

    _fields_ = [
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("type", c_uint32),
        ("values", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    ]


class FrameInterval(ctypes.Structure):
    """struct v4l2_frmivalenum; a discrete interval is `values[0]`, else least, most and step."""

    _fields_ = [
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("values", Fraction32 * 3),
        ("reserved", c_uint32 * 2),
    ]


class PixelFormatSingle(ctypes.Structure):
    """struct v4l2_pix_format."""

    _fields_ = [
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("bytesperline", c_uint32),
        ("sizeimage", c_uint32),
        ("colorspace", c_uint32),
        ("priv", c_uint32),
        ("flags", c_uint32),
        ("ycbcr_enc", c_uint32),
        ("quantization", c_uint32),
        ("xfer_func", c_uint32),
    ]


class PlaneFormat(ctypes.Structure):
    """struct v4l2_plane_pix_format."""

    _fields_ = [
        ("sizeimage", c_uint32),
        ("bytesperline", c_uint32),
        ("reserved", c_uint8 * 12),
    ]


class PixelFormatPlanes(ctypes.Structure):
    """struct v4l2_pix_format_mplane."""

    _fields_ = [
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("colorspace", c_uint32),
        ("plane_fmt", PlaneFormat * MAX_PLANES),
        ("num_planes", c_uint8),
        ("flags", c_uint8),
        ("ycbcr_enc", c_uint8),
        ("quantization", c_uint8),
        ("xfer_func", c_uint8),
        ("reserved", c_uint8 * 7),
    ]


class _FormatUnion(ctypes.Union):
    _fields_ = [
        ("pix", PixelFormatSingle),
        ("pix_mp", PixelFormatPlanes),
        ("raw_data", c_uint8 * 200),
        ("aligned", c_ulong),
    ]


class Format(ctypes.Structure):
    """struct v4l2_format."""

    _fields_ = [("type", c_uint32), ("fmt", _FormatUnion)]


class CaptureParameters(ctypes.Structure):
    """struct v4l2_captureparm."""

    _fields_ = [
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("timeperframe", Fraction32),
        ("extendedmode", c_uint32),
        ("readbuffers", c_uint32),
        ("reserved", c_uint32 * 4),
    ]


class _ParametersUnion(ctypes.Union):
    _fields_ = [("capture", CaptureParameters), ("raw_data", c_uint8 * 200)]


class Parameters(ctypes.Structure):
    """struct v4l2_streamparm."""

    _fields_ = [("type", c_uint32), ("parm", _ParametersUnion)]


class RequestBuffers(ctypes.Structure):
    """struct v4l2_requestbuffers."""

    _fields_ = [
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    ]


class Plane(ctypes.Structure):
    """struct v4l2_plane."""

    _fields_ = [
        ("bytesused", c_uint32),
        ("length", c_uint32),
        ("offset", c_ulong),  # a union; the offset for mmap is its first 32 bits
        ("data_offset", c_uint32),
        ("reserved", c_uint32 * 11),
    ]


class Timeval(ctypes.Structure):
    """struct timeval."""

    _fields_ = [("tv_sec", c_long), ("tv_usec", c_long)]


class _MemoryUnion(ctypes.Union):
    _fields_ = [
        ("offset", c_uint32),
        ("userptr", c_ulong),
        ("planes", ctypes.POINTER(Plane)),
        ("fd", c_int32),
    ]


class Buffer(ctypes.Structure):
    """struct v4l2_buffer."""

    _fields_ = [
        ("index", c_uint32),
        ("type", c_uint32),
        ("bytesused", c_uint32),
        ("flags", c_uint32),
        ("field", c_uint32),
        ("timestamp", Timeval),
        ("timecode", c_uint8 * 16),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("m", _MemoryUnion),
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_int32),
    ]


class BufferType(ctypes.Structure):
    """The int that streaming is switched on and off with."""

    _fields_ = [("type", c_int32)]


_WRITE, _READ = 1, 2


def _request(direction: int, number: int, argument: type[ctypes.Structure]) -> int:
    return direction << 30 | ctypes.sizeof(argument) << 16 | ord("V") << 8 | number


QUERYCAP = _request(_READ, 0, Capability)
ENUM_FMT = _request(_READ | _WRITE, 2, FormatDescription)
G_FMT = _request(_READ | _WRITE, 4, Format)
S_FMT = _request(_READ | _WRITE, 5, Format)
REQBUFS = _request(_READ | _WRITE, 8, RequestBuffers)
QUERYBUF = _request(_READ | _WRITE, 9, Buffer)
QBUF = _request(_READ | _WRITE, 15, Buffer)
DQBUF = _request(_READ | _WRITE, 17, Buffer)
STREAMON = _request(_WRITE, 18, BufferType)
STREAMOFF = _request(_WRITE, 19, BufferType)
G_PARM = _request(_READ | _WRITE, 21, Parameters)
S_PARM = _request(_READ | _WRITE, 22, Parameters)
ENUM_FRAMESIZES = _request(_READ | _WRITE, 74, FrameSize)
ENUM_FRAMEINTERVALS = _request(_READ | _WRITE, 75, FrameInterval)


def fourcc(name: str) -> int:
    """The number of a pixel format's four letters."""
    return int.from_bytes(name.ljust(4).encode("ascii"), "little")


def fourcc_name(number: int) -> str:
    """The four letters of a pixel format; a big-endian one has a bit that is no letter's."""
    return (number & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace").strip("\0 ")
