"""What to do when CUDA, its driver or a package for it refuses."""

from edgeseg.device.memory import GpuFacts, Kind
from edgeseg.errors import DeviceError, EdgesegError, MissingPackage

NO_DRIVER = (
    "install NVIDIA's driver; a Jetson has it from JetPack, and a container sees it when it is "
    "started with --runtime nvidia (or --gpus all)"
)
NO_GPU = (
    "see what the driver shows (nvidia-smi, on a Jetson ls /dev/nv*), what CUDA_VISIBLE_DEVICES "
    "holds, that a container was started with --runtime nvidia, and that the user is in the "
    "groups video and render"
)
TOO_OLD = (
    "update the driver (on a Jetson: JetPack), or use what fits it: pip install 'edgeseg[cuda12]' "
    "for a driver with CUDA 12, pycuda built anew for the CUDA that is installed: "
    "pip install --no-cache-dir --force-reinstall --no-binary pycuda pycuda"
)
MENDS = {
    "no CUDA-capable device": NO_GPU,
    "driver version is insufficient": TOO_OLD,
    "unsupported display driver": TOO_OLD,
    "forward compatibility": TOO_OLD,
    "not supported in the installed CUDA driver": TOO_OLD,
    "stub library": "take the folder `stubs` of the CUDA toolkit out of LD_LIBRARY_PATH",
    "unknown error": "look at `dmesg`, then restart the machine; " + NO_GPU,
    "invalid device context": "call it inside `with device.active():`, in each thread",
    "when stream is capturing": "run without CUDA graphs",
    "previous error during capture": "run without CUDA graphs",
}
"""By a part of CUDA's own text."""


def refused(problem: str) -> DeviceError:
    """The error for CUDA's own words, with a mend where one is known."""
    fix = next((mend for part, mend in MENDS.items() if part in problem), "")
    return DeviceError(f"CUDA refused: {problem}", fix=fix)


def closed() -> DeviceError:
    """The error for a device that is used after it was closed."""
    return DeviceError("the GPU was closed", fix="open it again")


def no_driver(reason: object) -> DeviceError:
    """The error for a machine where libcuda.so.1 cannot be loaded."""
    return DeviceError(f"NVIDIA's driver cannot be loaded: {reason}", fix=NO_DRIVER)


def too_old(reason: object) -> DeviceError:
    """The error for a driver that lacks what the package for it was built with."""
    return DeviceError(f"NVIDIA's driver is too old: {reason}", fix=TOO_OLD)


def no_such_gpu(index: int, count: int) -> DeviceError:
    """The error for GPU `index` of `count`."""
    if count == 0:
        return DeviceError("the driver finds no GPU", fix=NO_GPU)
    return DeviceError(
        f"there is no GPU {index}: this machine has {count}",
        fix="use 0" if count == 1 else f"use 0 to {count - 1}",
    )


def out_of_memory(kind: Kind, nbytes: int, free_mib: int, facts: GpuFacts) -> DeviceError:
    """The error for memory that is not there, with how much is and how to get some."""
    swap = " (swap does not count for a GPU that shares the board's memory)"
    return DeviceError(
        f"{facts.name} has no {nbytes / 2**20:.1f} MiB of {kind.value} memory left: {free_mib} of "
        f"{facts.total_memory_mib} MiB are free{swap if facts.integrated else ''}",
        fix="close other programs"
        + (
            ", the desktop too (sudo systemctl isolate multi-user.target),"
            if facts.integrated
            else ""
        )
        + " or build for a smaller frame or fewer cameras",
    )


def pycuda_not_loaded(error: ImportError) -> EdgesegError:
    """The error for an `import pycuda.driver` that failed."""
    if "libcuda.so" in str(error):
        return no_driver(error)
    if "undefined symbol: cu" in str(error):
        return too_old(f"it lacks what pycuda was built with ({error})")
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("pycuda"):
        return MissingPackage(
            "this needs the package 'pycuda', which is not installed",
            fix="pip install 'edgeseg[jetson]' (it is built from source: nvcc on the PATH)",
        )
    return MissingPackage(
        f"pycuda is installed but cannot be loaded: {error}",
        fix="build it anew: pip install --no-cache-dir --force-reinstall --no-binary pycuda pycuda",
    )
