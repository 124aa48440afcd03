"""The smallest work on a GPU that stands in for a network: one byte of labels from each pixel.

It reads every byte of a frame once, where the frame lies, and writes every label once. The kernel
goes to the driver as PTX, by ctypes, so that it needs neither a compiler nor a package. It was
assembled by NVIDIA's ptxas for compute capability 7.5 to 9.0, and never run here.
"""

import ctypes

import numpy as np

from edgeseg.device.capture import libcuda
from edgeseg.device.memory import Stream
from edgeseg.errors import DeviceError
from edgeseg.types import Pixels

THREADS = 256
PTX = rb"""
.version 7.0
.target sm_75
.address_size 64
.visible .entry brightest(.param .u64 frame, .param .u64 labels, .param .u32 count)
{
    .reg .pred %over;
    .reg .u32 %index, %block, %width, %thread, %limit, %most, %next;
    .reg .u64 %from, %to, %offset;
    mov.u32 %block, %ctaid.x;
    mov.u32 %width, %ntid.x;
    mov.u32 %thread, %tid.x;
    mad.lo.u32 %index, %block, %width, %thread;
    ld.param.u32 %limit, [count];
    setp.ge.u32 %over, %index, %limit;
    @%over bra done;
    ld.param.u64 %from, [frame];
    ld.param.u64 %to, [labels];
    cvta.to.global.u64 %from, %from;
    cvta.to.global.u64 %to, %to;
    mul.wide.u32 %offset, %index, 3;
    add.u64 %from, %from, %offset;
    ld.global.u8 %most, [%from];
    ld.global.u8 %next, [%from+1];
    max.u32 %most, %most, %next;
    ld.global.u8 %next, [%from+2];
    max.u32 %most, %most, %next;
    cvt.u64.u32 %offset, %index;
    add.u64 %to, %to, %offset;
    st.global.u8 [%to], %most;
done:
    ret;
}
"""


def labels_of(frame: Pixels) -> Pixels:
    """What the kernel gives: the brightest channel of each pixel (H, W, 3)."""
    return np.asarray(frame.max(axis=-1))


class Brightest:
    """The kernel, loaded into the context that is current."""

    def __init__(self) -> None:
        self._cuda = libcuda()
        module, self._function = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(PTX))
        self._call("cuModuleGetFunction", ctypes.byref(self._function), module, b"brightest")

    def launch(self, frame: int, labels: int, pixels: int, stream: Stream) -> None:
        """Put it into `stream`: `pixels` pixels at the GPU's address `frame`, ids to `labels`."""
        values = ctypes.c_uint64(frame), ctypes.c_uint64(labels), ctypes.c_uint32(pixels)
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        blocks = -(-pixels // THREADS)
        self._call(
            "cuLaunchKernel",
            self._function,
            *(blocks, 1, 1),
            *(THREADS, 1, 1),
            0,
            ctypes.c_void_p(stream.handle),
            pointers,
            None,
        )

    def _call(self, name: str, *arguments: object) -> None:
        status = getattr(self._cuda, name)(*arguments)
        if status != 0:
            raise DeviceError(f"{name} answers {status}", fix="edgeseg doctor")
