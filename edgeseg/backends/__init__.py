"""What runs a graph. A backend is a module with `compile`, `load` and `fingerprint`; one row each.

Each module also says which precisions it has (`PRECISIONS`) and which rows of graph/prepare.py a
Q/DQ graph goes through before it (`NEEDS`).
"""

from types import ModuleType

from edgeseg.errors import DeviceError, EngineMismatch, MissingPackage, UsageError
from edgeseg.tables import needs, pick

BACKENDS = {
    "tensorrt": "edgeseg.backends.tensorrt",
    "openvino": "edgeseg.backends.openvino",
    "onnxruntime": "edgeseg.backends.onnxruntime",
    "null": "edgeseg.backends.null",
}
"""In the order in which `auto` prefers them."""

EXTRAS = {"tensorrt": "tensorrt", "openvino": "openvino", "onnxruntime": "ort", "null": "graph"}


def backend(name: str) -> ModuleType:
    """The backend module `name`; `auto` is the first one that is usable here.

    Raises:
        UsageError: no such backend.
        MissingPackage: its package is not installed, or `auto` finds none that is.
        DeviceError: it is for a GPU, and there is none, or no driver.
    """
    if name == "auto":
        name = preferred()
    if name not in BACKENDS:
        pick(BACKENDS, name, kind="backend")
    with needs(EXTRAS[name]):
        module: ModuleType = pick(BACKENDS, name, kind="backend")
        module.fingerprint()  # TensorRT without a library, for one, fails only here
    return module


def preferred() -> str:
    """The best backend that is usable here; `null` computes nothing and is never it."""
    for name in BACKENDS:
        if name != "null" and why_not(name) is None:
            return name
    raise MissingPackage(
        "no backend is installed", fix="pip install 'edgeseg[openvino]' or 'edgeseg[ort]'"
    )


def why_not(name: str) -> str | None:
    """Why backend `name` is not usable here, in one line with the remedy; None if it is."""
    try:
        backend(name)
    except (MissingPackage, UsageError, DeviceError, EngineMismatch) as error:
        return f"{error.problem}; {error.fix}"
    return None
