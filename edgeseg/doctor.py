"""What is usable on this machine, and why the rest is not."""

import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass

from edgeseg.backends import BACKENDS, why_not
from edgeseg.device.info import machine
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
)

JETSON_PYTHONS = {(3, 10), (3, 12)}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

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
    notes: list[str]


def doctor() -> Diagnosis:
    """Look at packages, backends and the machine; nothing is loaded that is not installed."""
    here = machine()
    return Diagnosis(
        machine=here,
        python=sys.version.split()[0],
        backends=[_backend(name) for name in BACKENDS if name != "null"],
        packages=[_package(*row) for row in PACKAGES],
        notes=_notes(here),
    )


def _backend(name: str) -> Check:
    reason = why_not(name)
    return Check(
        name=name, usable=reason is None, detail=reason or "usable", what_for="running engines"
    )


def _package(module: str, distribution: str, what_for: str, extra: str) -> Check:
    if importlib.util.find_spec(module) is None:
        remedy = REMEDIES.get(module, f"pip install 'edgeseg[{extra}]'")
        remedy = f"not installed; {remedy}"
        return Check(name=module, usable=False, detail=remedy, what_for=what_for)
    for candidate in (distribution, f"{distribution}-headless"):
        try:
            version = importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
        return Check(name=module, usable=True, detail=version, what_for=what_for)
    return Check(name=module, usable=True, detail="installed outside pip", what_for=what_for)


def _notes(here: dict[str, str | int | float | None]) -> list[str]:
    notes = []
    if here.get("jetson") and sys.version_info[:2] not in JETSON_PYTHONS:
        notes.append(
            f"Python {sys.version_info[0]}.{sys.version_info[1]} is not JetPack's: its TensorRT "
            "is for 3.10 (JetPack 6) or 3.12 (JetPack 7); make the environment with "
            "python3 -m venv --system-site-packages"
        )
    flags = str(here.get("cpu_flags") or "")
    if (
        here.get("architecture") == "x86_64"
        and "avx512_vnni" not in flags
        and "avx_vnni" not in flags
    ):
        notes.append("this CPU has no VNNI: INT8 gains little over float here")
    return notes
