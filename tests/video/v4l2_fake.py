"""Cameras behind the ioctl layer: recorded tables, memory that is really mapped, and failures.

No kernel loopback device was available, so the driver's side is written here after the kernel's
documentation; no real camera was opened.
"""

import ctypes
import errno
import mmap
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgeseg.types import Pixels, Size
from edgeseg.video.v4l2 import structs

CAMERA = structs.CAP_CAPTURE | structs.CAP_STREAMING
PLANES = structs.CAP_CAPTURE_MPLANE | structs.CAP_STREAMING

Table = dict[str, dict[tuple[int, int], tuple[float, ...]]]
"""Rates by (width, height) by four letters, in the order of the driver."""

_ALL = (30, 24, 20, 15, 10, 7.5, 5)
_SMALL = dict.fromkeys(
    [(640, 480), (160, 90), (160, 120), (320, 180), (320, 240), (640, 360), (800, 448)], _ALL
)
_MIDDLE = {(864, 480): (24, 20, 15, 10, 7.5, 5), (800, 600): (24, 20, 15, 10, 7.5, 5)}
_COMPRESSED = {**_SMALL, **dict.fromkeys([(864, 480), (1280, 720), (1920, 1080)], _ALL)}
C920: Table = {
    "YUYV": {
        **_SMALL,
        **_MIDDLE,
        (1280, 720): (10, 7.5, 5),
        (1600, 896): (7.5, 5),
        (1920, 1080): (5,),
        (2304, 1536): (2,),
    },
    "H264": _COMPRESSED,
    "MJPG": _COMPRESSED,
}
"""HD Pro Webcam C920, as v4l2-ctl --list-formats-ext prints it."""
IMX219: Table = {
    "RG10": {
        (3280, 2464): (21,),
        (3280, 1848): (28,),
        (1920, 1080): (30,),
        (1640, 1232): (30,),
        (1280, 720): (60,),
    }
}
"""The CSI sensor of a Jetson before its ISP: "vi-output, imx219 9-0010"."""

BYTES = {"YUYV": (2,), "UYVY": (2,), "RGB3": (3,), "BGR3": (3,), "GREY": (1,), "NV12": (1.5,)}
BYTES |= {"YU12": (1.5,), "NM12": (1, 0.5), "MJPG": (2,), "JPEG": (2,), "422P": (2,)}


class FakeNode:
    """One /dev/videoN; `fill` is the driver that has a new frame."""

    def __init__(
        self,
        table: Table,
        *,
        card: str = "HD Pro Webcam C920",
        capabilities: int = CAMERA,
        range_: tuple[int, int, int, int, int, int] | None = None,
        padding: int = 0,
        colours: tuple[int, int, int] = (8, 0, 0),
        sets: Callable[[str, Size], tuple[str, Size]] = lambda name, size: (name, size),
        fails: dict[int, int] | None = None,
        busy: bool = False,
    ) -> None:
        self.table, self.card, self.capabilities = table, card, capabilities
        self.range, self.padding, self.colours, self.sets = range_, padding, colours, sets
        self.fails = fails or {}
        """errno by request; by 0, of opening it."""
        self.path = Path("/dev/video0")
        self.opened = 0
        self.asked: Counter[int] = Counter()
        self.log: list[int] = []
        self.memory = os.memfd_create("frames")
        self.maps: list[mmap.mmap] = []
        self.rate = Fraction(0)
        self.state = ("", Size(0, 0))
        self.queued: deque[int] = deque()
        self.done: deque[tuple[int, list[int], int, float, int]] = deque()
        self.running = False
        self.busy = busy
        self.sequence = 0
        self.changed = threading.Condition()

    def open(self, path: Path) -> "FakeNode":
        if 0 in self.fails:
            raise _refusal(self.fails[0])
        self.path = path
        self.opened += 1
        return self

    def close(self) -> None:
        self.opened = 0

    def map(self, length: int, offset: int) -> Pixels:
        self.maps.append(mmap.mmap(self.memory, length, offset=offset))
        return np.frombuffer(self.maps[-1], np.uint8)

    def wait(self, timeout_s: float) -> bool:
        with self.changed:
            return self.changed.wait_for(
                lambda: self.done or structs.DQBUF in self.fails, timeout_s
            )

    def fill(
        self, *memories: bytes | Pixels, flags: int = 0, age_s: float = 0.0, monotonic: bool = True
    ) -> bool:
        """A frame comes; whether there was a buffer for it."""
        with self.changed:
            self.sequence += 1
            if not self.running or not self.queued:
                return False
            buffer = self.queued.popleft()
            for plane, data in enumerate(memories):
                os.pwrite(self.memory, bytes(data), self._offset(buffer, plane))
            used = [len(bytes(data)) for data in memories]
            clock = structs.BUFFER_MONOTONIC if monotonic else 0
            when_s = time.monotonic() - age_s
            self.done.append((buffer, used, flags | clock, when_s, self.sequence))
            self.changed.notify_all()
            return True

    def unplug(self, number: int = errno.ENODEV) -> None:
        with self.changed:
            self.fails |= dict.fromkeys([structs.DQBUF, structs.QBUF, structs.STREAMOFF], number)
            self.running = False
            self.changed.notify_all()

    def free(self) -> None:
        os.close(self.memory)

    def ioctl(self, request: int, argument: ctypes.Structure) -> None:
        assert self.opened, "asked after it was closed"
        self.asked[request] += 1
        self.log.append(request)
        if request in self.fails:
            raise _refusal(self.fails[request])
        self.ANSWERS[request](self, argument)

    @property
    def planes(self) -> bool:
        return bool(self.capabilities & structs.CAP_CAPTURE_MPLANE)

    @property
    def kind(self) -> int:
        return structs.VIDEO_CAPTURE_MPLANE if self.planes else structs.VIDEO_CAPTURE

    def strides(self) -> list[int]:
        name, size = self.state
        packed = {"YUYV": 2, "UYVY": 2, "RGB3": 3, "BGR3": 3, "MJPG": 0}.get(name, 1)
        stride = packed * size.width + self.padding if packed else 0
        return [stride] * len(BYTES.get(name, (1,)))

    def lengths(self) -> list[int]:
        name, size = self.state
        area = (size.width + self.padding) * size.height
        return [-(-int(area * each) // 4096) * 4096 for each in BYTES[name]]

    def _offset(self, buffer: int, plane: int) -> int:
        lengths = self.lengths()
        return buffer * sum(lengths) + sum(lengths[:plane])

    def _query(self, answer: structs.Capability) -> None:
        answer.card, answer.driver = self.card.encode(), b"uvcvideo"
        answer.bus_info = b"usb-0000:00:14.0-1"
        everything = CAMERA | structs.CAP_META  # of the device; a node has only some of it
        answer.capabilities = everything | structs.CAP_DEVICE_CAPS
        answer.device_caps = self.capabilities

    def _format(self, answer: structs.FormatDescription) -> None:
        assert answer.type == self.kind
        answer.pixelformat = structs.fourcc(_nth(list(self.table), answer.index))

    def _size(self, answer: structs.FrameSize) -> None:
        sizes = list(self.table[structs.fourcc_name(answer.pixel_format)])
        if self.range is not None:
            _nth([0], answer.index)
            answer.type, answer.values[:] = 3, self.range
        else:
            answer.type, answer.values[:2] = structs.DISCRETE, _nth(sizes, answer.index)

    def _interval(self, answer: structs.FrameInterval) -> None:
        sizes = self.table[structs.fourcc_name(answer.pixel_format)]
        rates = sizes.get((answer.width, answer.height), next(iter(sizes.values())))
        if self.range is not None:
            _nth([0], answer.index)
            answer.type = 3
            for place, rate in zip(answer.values, (max(rates), min(rates)), strict=False):
                _set(place, Fraction(rate))
        else:
            answer.type = structs.DISCRETE
            _set(answer.values[0], Fraction(_nth(list(rates), answer.index)))

    def _get_format(self, answer: structs.Format) -> None:
        self._answer_format(answer)

    def _set_format(self, answer: structs.Format) -> None:
        if self.busy:
            raise _refusal(errno.EBUSY)
        pix = answer.fmt.pix_mp if self.planes else answer.fmt.pix
        name = structs.fourcc_name(pix.pixelformat)
        self.state = self.sets(name, Size(pix.height, pix.width))
        self._answer_format(answer)

    def _answer_format(self, answer: structs.Format) -> None:
        assert answer.type == self.kind
        name, size = self.state
        pix = answer.fmt.pix_mp if self.planes else answer.fmt.pix
        pix.width, pix.height, pix.pixelformat = size.width, size.height, structs.fourcc(name)
        pix.colorspace, pix.ycbcr_enc, pix.quantization = self.colours
        if self.planes:
            pix.num_planes = len(self.strides())
            for place, stride in zip(pix.plane_fmt, self.strides(), strict=False):
                place.bytesperline = stride
        else:
            (pix.bytesperline,) = self.strides()

    def _get_rate(self, answer: structs.Parameters) -> None:
        answer.parm.capture.capability = structs.CAP_TIMEPERFRAME
        if self.rate:
            _set(answer.parm.capture.timeperframe, self.rate)

    def _set_rate(self, answer: structs.Parameters) -> None:
        wanted = answer.parm.capture.timeperframe
        asked = Fraction(wanted.denominator, wanted.numerator)
        name, size = self.state
        rates = self.table.get(name, {}).get((size.width, size.height), (float(asked),))
        self.rate = min((Fraction(one) for one in rates), key=lambda one: abs(one - asked))
        _set(wanted, self.rate)

    def _request(self, answer: structs.RequestBuffers) -> None:
        if self.busy and answer.count:
            raise _refusal(errno.EBUSY)
        self.queued.clear()
        self.done.clear()
        if answer.count:
            os.ftruncate(self.memory, answer.count * sum(self.lengths()))

    def _describe(self, answer: structs.Buffer) -> None:
        lengths = self.lengths()
        if not self.planes:
            (answer.length,) = lengths
            answer.m.offset = self._offset(answer.index, 0)
            return
        answer.length = len(lengths)
        for plane, length in enumerate(lengths):
            answer.m.planes[plane].length = length
            answer.m.planes[plane].offset = self._offset(answer.index, plane)

    def _queue(self, answer: structs.Buffer) -> None:
        with self.changed:
            assert answer.index not in self.queued
            self.queued.append(answer.index)

    def _dequeue(self, answer: structs.Buffer) -> None:
        with self.changed:
            if not self.done:
                raise _refusal(errno.EAGAIN)
            buffer, used, answer.flags, when_s, answer.sequence = self.done.popleft()
        answer.index = buffer
        answer.timestamp.tv_sec = int(when_s)
        answer.timestamp.tv_usec = int(when_s % 1 * 1e6)
        if self.planes:
            answer.length = len(used)
            for place, amount in zip(answer.m.planes[: len(used)], used, strict=True):
                place.bytesused = amount
        else:
            (answer.bytesused,) = used

    def _start(self, _: structs.BufferType) -> None:
        self.running = True

    def _stop(self, _: structs.BufferType) -> None:
        self.running = False

    ANSWERS: ClassVar = {
        structs.QUERYCAP: _query,
        structs.ENUM_FMT: _format,
        structs.ENUM_FRAMESIZES: _size,
        structs.ENUM_FRAMEINTERVALS: _interval,
        structs.G_FMT: _get_format,
        structs.S_FMT: _set_format,
        structs.G_PARM: _get_rate,
        structs.S_PARM: _set_rate,
        structs.REQBUFS: _request,
        structs.QUERYBUF: _describe,
        structs.QBUF: _queue,
        structs.DQBUF: _dequeue,
        structs.STREAMON: _start,
        structs.STREAMOFF: _stop,
    }


def _refusal(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _nth(values: list, index: int):  # type: ignore[no-untyped-def, type-arg]
    if index >= len(values):
        raise _refusal(errno.EINVAL)
    return values[index]


def _set(interval: structs.Fraction32, rate: Fraction) -> None:
    interval.numerator, interval.denominator = rate.denominator, rate.numerator
