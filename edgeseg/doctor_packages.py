"""The packages that a Jetson gets from apt and from pip, and how they get in each other's way."""

import re
from collections.abc import Iterator

from edgeseg.device.jetson import JetPack
from edgeseg.device.sysfs import found, text
from edgeseg.doctor_finding import Finding, fine, open_question, wrong
from edgeseg.doctor_place import Place

SYSTEM = "/usr/lib/python3"
"""Where apt puts Python packages; pip puts its own elsewhere."""
CONTAINERS = "/usr/local/lib/python3"
"""Where NVIDIA's containers have TensorRT."""
NVCC = "usr/local/cuda/bin/nvcc"
VENV = "python3 -m venv --system-site-packages .venv"
OPENCVS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python")


def python_findings(place: Place, jetpack: JetPack | None) -> Iterator[Finding]:
    """Python's version, and whether the environment sees what JetPack brings."""
    version = ".".join(map(str, place.python))
    if jetpack and jetpack.supported and place.python != jetpack.python:
        wanted = ".".join(map(str, jetpack.python))
        seen = f"{version}, and the TensorRT of JetPack {jetpack.name} is for {wanted}"
        yield wrong("Python", seen, f"python{wanted} -m venv --system-site-packages .venv")
    else:
        yield fine("Python", version)
    settings = text(place.prefix / "pyvenv.cfg") or ""
    if not place.in_venv:
        yield open_question("environment", "none: pip would write into the system", VENV)
    elif not re.search(r"include-system-site-packages\s*=\s*true", settings):
        yield wrong(
            "environment",
            "it hides the system's packages: no tensorrt, no cv2 with GStreamer, no gi",
            f"make it again: {VENV}",
        )
    else:
        yield fine("environment", f"{place.prefix}, with the system's packages")


def tensorrt_findings(place: Place, jetpack: JetPack | None) -> Iterator[Finding]:
    """Whether it is there, JetPack's own, and of JetPack's version."""
    origin = place.origin("tensorrt")
    if origin is None:
        mend = f"sudo apt install nvidia-jetpack; {VENV}"
        yield wrong("TensorRT", "not installed, or hidden by the environment", mend)
        return
    version = place.version("tensorrt")
    seen = f"{version or 'of unknown version'} in {origin}"
    if not origin.startswith(SYSTEM):
        yield _not_apts(f"{seen}, not JetPack's", jetpack, origin)
    elif version and jetpack and not f"{version}.".startswith(f"{jetpack.tensorrt}."):
        seen = f"{seen}; JetPack {jetpack.name} came with {jetpack.tensorrt}"
        yield open_question("TensorRT", seen, "well if you upgraded it; engines are built anew")
    else:
        yield fine("TensorRT", seen)


def _not_apts(seen: str, jetpack: JetPack | None, origin: str) -> Finding:
    """NVIDIA's wheels are for no Jetson before JetPack 7; containers bring one of their own."""
    mend = "pip uninstall tensorrt: JetPack's own is the one for this board"
    if origin.startswith(CONTAINERS) or (jetpack and jetpack.python >= (3, 12)):
        return open_question("TensorRT", seen, f"well where it is meant so; else {mend}")
    return wrong("TensorRT", seen, mend)


def cuda_findings(place: Place, jetpack: JetPack | None) -> Iterator[Finding]:
    """The compiler and headers that pycuda is built with, and the package that drives the GPU."""
    driven = place.origin("pycuda") is not None or place.origin("cuda.bindings") is not None
    yield from _compiler(place, needed=not driven)
    yield _driving(place, jetpack)


def _compiler(place: Place, *, needed: bool) -> Iterator[Finding]:
    """Only a missing pycuda makes it a fault that it cannot be built."""
    say = wrong if needed else open_question
    if place.program("nvcc"):
        yield fine("nvcc", str(place.program("nvcc")))
    elif (place.root / NVCC).exists():
        mend = "export PATH=/usr/local/cuda/bin:$PATH, in ~/.bashrc too; then pip install pycuda"
        yield say("nvcc", f"in /{NVCC}, which is not on the PATH: pycuda does not build", mend)
    else:
        yield say("nvcc", "not installed: pycuda does not build", "sudo apt install nvidia-jetpack")
    header = "usr/include/python{}.{}/Python.h".format(*place.python)
    if (place.root / header).exists():
        yield fine("python3-dev", f"/{header}")
    else:
        mend = "sudo apt install python3-dev"
        yield say("python3-dev", f"no /{header}: pycuda does not build", mend)


def _driving(place: Place, jetpack: JetPack | None) -> Finding:
    major = jetpack.cuda.partition(".")[0] if jetpack else None
    bindings = place.version("cuda-bindings")
    if place.origin("pycuda") is not None:
        return fine("CUDA from Python", f"pycuda {place.version('pycuda') or ''}".strip())
    if bindings is None:
        mend = f"pip install 'edgeseg[jetson]', or 'edgeseg[cuda{major or 12}]' without a compiler"
        return wrong("CUDA from Python", "neither pycuda nor cuda-bindings", mend)
    if major and bindings.partition(".")[0] != major:
        seen = f"cuda-bindings {bindings}, and the driver is of CUDA {major}"
        return wrong("CUDA from Python", seen, f"pip install 'edgeseg[cuda{major}]'")
    return fine("CUDA from Python", f"cuda-bindings {bindings}")


def opencv_findings(place: Place, jetpack: JetPack | None) -> Iterator[Finding]:
    """Which cv2 is taken, whether it has GStreamer, and whether NumPy is one that it takes."""
    origin = place.origin("cv2")
    if origin is None:
        mend = "sudo apt install python3-opencv; an environment with --system-site-packages"
        yield wrong("cv2", "not installed", mend)
        return
    own = origin.startswith(SYSTEM)
    if own and jetpack and jetpack.python == (3, 10) and not place.numpy.startswith("1."):
        seen = f"NumPy {place.numpy}, and JetPack's cv2 was compiled for NumPy 1"
        yield wrong("NumPy", seen, "pip install 'numpy<2'")
    else:
        yield fine("NumPy", place.numpy)
    said = place.ask((place.executable, "-c", "import cv2; print(cv2.getBuildInformation())"))
    gstreamer = re.search(r"GStreamer:\s+(YES|NO)(.*)", said or "")
    yield _opencv(place, origin, None if gstreamer is None else gstreamer[1] == "YES")


def _opencv(place: Place, origin: str, gstreamer: bool | None) -> Finding:
    shadowed = not origin.startswith(SYSTEM) and bool(
        found(place.root / "usr/lib", "python3*/dist-packages/cv2*")
    )
    if gstreamer is None:
        newer = origin.startswith(SYSTEM) and not place.numpy.startswith("1.")
        mend = f"{place.executable} -c 'import cv2' says why"
        return wrong("cv2", f"{origin} does not load", "pip install 'numpy<2'" if newer else mend)
    if gstreamer:
        return fine("cv2", f"{origin}, with GStreamer")
    wheel = next((name for name in OPENCVS if place.version(name)), OPENCVS[0])
    if shadowed:
        seen = f"{origin}, from pip and without GStreamer, hides JetPack's"
        return wrong("cv2", seen, f"pip uninstall {wheel}")
    mend = "sudo apt install python3-opencv, and pip uninstall what shadows it"
    return open_question("cv2", f"{origin}, without GStreamer: no CSI camera through it", mend)
