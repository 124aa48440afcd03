"""A Jetson on which everything is well, for the doctor to look at."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgeseg.doctor_place import Place
from tests.device.trees import ORIN_NANO, write

SYSTEM = "/usr/lib/python3/dist-packages"
ORIGINS = {
    "tensorrt": f"{SYSTEM}/tensorrt/__init__.py",
    "cv2": f"{SYSTEM}/cv2.cpython-310-aarch64-linux-gnu.so",
    "gi": f"{SYSTEM}/gi/__init__.py",
    "pycuda": "/home/me/.venv/lib/python3.10/site-packages/pycuda/__init__.py",
}
VERSIONS = {"tensorrt": "10.3.0", "pycuda": "2026.1"}
WELL = {
    **ORIN_NANO,
    "etc/nvpmodel.conf": "< POWER_MODEL ID=1 NAME=25W >\n",
    "usr/include/python3.10/Python.h": "",
    "dev/video0": "",
    "tmp/argus_socket": "",
    "venv/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = true\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "1020000000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq": "1728000\n",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_min_freq": "1728000\n",
}
"""An Orin Nano with JetPack 6.2 on which everything was done as docs/jetson.md says."""

Ask = Callable[[Sequence[str]], str | None]


def answers(gstreamer: str = "YES (1.20.3)") -> Ask:
    def answer(command: Sequence[str]) -> str | None:
        if command[0] == "nvpmodel":
            return "NV Power Mode: 25W\n1\n"
        if "cv2.getBuildInformation" in command[-1]:
            return f"  Video I/O:\n    GStreamer:                   {gstreamer}\n"
        return None

    return answer


def well_board(root: Path, **changes: object) -> Place:
    """The board on which everything is well, but for `changes`."""
    write(root, WELL)
    place = Place(
        root=root,
        ask=answers(),
        origin=ORIGINS.get,
        version=VERSIONS.get,
        program=lambda name: f"/usr/local/cuda/bin/{name}",
        python=(3, 10),
        executable="python",
        prefix=root / "venv",
        in_venv=True,
        numpy="1.26.4",
        home=root,
    )
    return replace(place, **changes)  # type: ignore[arg-type]
