"""What a plan is tied to: the version of TensorRT, the GPU, the driver and the board."""

from contextlib import closing
from functools import cache

import tensorrt as trt

from edgeseg.backends.tensorrt.log import LOG
from edgeseg.backends.tensorrt.versions import refuse_unfit
from edgeseg.device.choice import open_device
from edgeseg.device.info import machine
from edgeseg.device.memory import GpuFacts
from edgeseg.errors import DeviceError

BOARD = ("jetpack", "l4t")
"""What of the machine's facts is recorded too, on a Jetson."""


def fingerprint() -> dict[str, str]:
    """The fingerprint of a plan that is built here and now.

    Raises:
        UsageError: a TensorRT that edgeseg does not know.
        MissingPackage: neither pycuda nor cuda-bindings is installed.
        DeviceError: no driver, no GPU, or a TensorRT that does not start.
    """
    return dict(_here())


@cache
def _here() -> dict[str, str]:
    """Asked once: it starts CUDA and TensorRT, and opening an engine wants it several times."""
    refuse_unfit()
    facts = gpu()
    board = machine()
    return {
        "backend": "tensorrt",
        "version": str(trt.__version__),
        "gpu": facts.name,
        "compute_capability": dotted(facts.compute_capability),
        "multiprocessors": str(facts.multiprocessors),
        "cuda": dotted(facts.driver),
        "dla_cores": str(_dla_cores()),
        **{key: str(board[key]) for key in BOARD if board.get(key)},
    }


def gpu() -> GpuFacts:
    """What the first GPU says of itself.

    Raises:
        MissingPackage: neither pycuda nor cuda-bindings is installed.
        DeviceError: no driver or no GPU.
    """
    with closing(open_device()) as device:
        return device.facts


def dotted(numbers: tuple[int, int]) -> str:
    """`8.7` from (8, 7)."""
    return ".".join(str(number) for number in numbers)


def cannot_start() -> DeviceError:
    """What to raise where TensorRT's factories give a TypeError: its way to say that it cannot."""
    return DeviceError(
        f"TensorRT {trt.__version__} does not start: {LOG.last_errors()}",
        fix="edgeseg doctor; TensorRT needs a driver for the CUDA version that it was built for, "
        "and libnvinfer of its own version",
    )


def _dla_cores() -> int:
    """A Runtime is asked, for a Builder loads a gigabyte of kernels."""
    LOG.clear()
    try:
        runtime: trt.Runtime = trt.Runtime(LOG)
    except TypeError as error:
        raise cannot_start() from error
    return int(runtime.num_DLA_cores)
