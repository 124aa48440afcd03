"""What is usable on this machine, and why the rest is not."""

import sys
from dataclasses import dataclass

from edgeseg.backends import BACKENDS, why_not
from edgeseg.device.board import is_jetson
from edgeseg.device.info import machine
from edgeseg.doctor_finding import Finding
from edgeseg.doctor_gpu import gpu_findings
from edgeseg.doctor_jetson import jetson_findings
from edgeseg.doctor_place import Place
from edgeseg.tables import REMEDIES

# Import name, distribution that tells the version, what it is for, and the extra that brings it.
PACKAGES = (
    ("numpy", "numpy", "arrays", ""),
    ("onnx", "onnx", "graphs", "graph"),
    ("onnxsim", "onnxsim", "simplifying graphs", "graph"),
    ("torch", "torch", "the zoo, export, training", "export"),
    ("safetensors", "safetensors", "weights", "export"),
    ("openvino", "openvino", "engines on a CPU", "openvino"),
    ("onnxruntime", "onnxruntime", "engines on a CPU", "ort"),
    ("av", "av", "video files", "video"),
    ("cv2", "opencv-python", "drawing and resizing", "video"),
    ("PIL", "pillow", "pictures", "video"),
    ("tensorrt", "tensorrt", "engines on an NVIDIA GPU", "tensorrt"),
    ("polygraphy", "polygraphy", "comparing TensorRT engines", "tensorrt"),
    ("pycuda", "pycuda", "device memory on a Jetson", "jetson"),
    ("cuda.bindings", "cuda-bindings", "device memory on an NVIDIA GPU", "cuda13"),
)
JUDGED_ON_A_JETSON = {
    "tensorrt": "TensorRT",
    "cv2": "cv2",
    "pycuda": "CUDA from Python",
    "cuda.bindings": "CUDA from Python",
}
"""The finding that has the mend there, where the extra of another machine would do harm."""
BROKEN = (ImportError, OSError, RuntimeError, AttributeError, TypeError)
"""What a package raises while it is loaded where its libraries or NumPy do not fit it."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One package or backend."""

    name: str
    usable: bool
    detail: str
    """The version, or why not and what to do."""
    what_for: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All of it."""

    machine: dict[str, str | int | float | None]
    python: str
    backends: list[Check]
    packages: list[Check]
    findings: list[Finding]
    """Of the board and its GPU, each with its mend."""
    notes: list[str]


def doctor(place: Place | None = None) -> Diagnosis:
    """Look at packages, backends and the machine; nothing is loaded that is not installed."""
    place = place or Place()
    here = machine(place.root)
    jetson = is_jetson(place.root)
    board = jetson_findings(place) if jetson else []
    return Diagnosis(
        machine=here,
        python=sys.version.split()[0],
        backends=[_backend(name) for name in BACKENDS if name != "null"],
        packages=[_package(place, *row, jetson=jetson) for row in PACKAGES],
        findings=[*board, *gpu_findings(place.root, jetson=jetson, ask=place.ask)],
        notes=_notes(here),
    )


def _backend(name: str) -> Check:
    try:
        reason = why_not(name)
    except BROKEN as error:
        reason = f"it breaks while it is loaded: {error or type(error).__name__}"
    return Check(
        name=name, usable=reason is None, detail=reason or "usable", what_for="running engines"
    )


def _package(
    place: Place, module: str, distribution: str, what_for: str, extra: str, *, jetson: bool
) -> Check:
    if place.origin(module) is None:
        remedy = REMEDIES.get(module, f"pip install 'edgeseg[{extra}]'")
        if jetson and module in JUDGED_ON_A_JETSON:
            remedy = f"see {JUDGED_ON_A_JETSON[module]} below"
        detail = f"not installed; {remedy}"
        return Check(name=module, usable=False, detail=detail, what_for=what_for)
    versions = map(place.version, (distribution, f"{distribution}-headless"))
    detail = next(filter(None, versions), "installed outside pip")
    return Check(name=module, usable=True, detail=detail, what_for=what_for)


def _notes(here: dict[str, str | int | float | None]) -> list[str]:
    flags = str(here.get("cpu_flags") or "")
    if (
        here.get("architecture") == "x86_64"
        and "avx512_vnni" not in flags
        and "avx_vnni" not in flags
    ):
        return ["this CPU has no VNNI: INT8 gains little over float here"]
    return []
