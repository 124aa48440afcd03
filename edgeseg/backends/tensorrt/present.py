"""Lets nothing else here be imported where `tensorrt` is not NVIDIA's, with its libraries."""

from edgeseg.errors import MissingPackage

MEND = (
    "on a Jetson: sudo apt install python3-libnvinfer, and an environment with "
    "--system-site-packages; elsewhere: pip install tensorrt, of the CUDA version of the driver"
)

try:
    import tensorrt
except ModuleNotFoundError:
    raise  # who asked for the backend says what to install
except (ImportError, OSError) as error:  # the bindings are there, what they load is not
    raise MissingPackage(f"TensorRT cannot be loaded: {error}", fix=MEND) from error

if not hasattr(tensorrt, "ILogger"):  # a folder of that name, for one
    found = getattr(tensorrt, "__file__", None) or "a folder without code"
    raise MissingPackage(
        f"the package 'tensorrt' that Python finds is not NVIDIA's: {found}", fix=MEND
    )
