"""What has to be right on a Jetson before an engine runs there, each with its mend."""

import shutil
from collections.abc import Callable, Iterator

from edgeseg.device.clocks import gpu_clock, jetson_clocks
from edgeseg.device.info import machine
from edgeseg.device.jetson import JetPack, fastest_mode, jetpack_of, left_behind, power_mode
from edgeseg.device.sysfs import text
from edgeseg.doctor_camera import NO_CAMERA, csi_daemon
from edgeseg.doctor_finding import Finding, fine, open_question, wrong
from edgeseg.doctor_packages import (
    cuda_findings,
    opencv_findings,
    python_findings,
    tensorrt_findings,
)
from edgeseg.doctor_place import Place
from edgeseg.video.v4l2.refusals import present

GIB = 1 << 20
"""In the KiB of /proc/meminfo."""
SMALL_GIB = 5
SWAP_GIB = 4
DISK_GIB = 4.0


def jetson_findings(place: Place) -> list[Finding]:
    """Everything about a Jetson, the system first; reads files, asks programs, loads nothing."""
    here = machine(place.root)
    model, l4t = str(here["jetson"] or ""), str(here["l4t"] or "")
    jetpack = jetpack_of(l4t)
    return [
        _jetpack(model, l4t, jetpack),
        *python_findings(place, jetpack),
        *tensorrt_findings(place, jetpack),
        *cuda_findings(place, jetpack),
        *opencv_findings(place, jetpack),
        *(finding for look in LOOKS for finding in look(place)),
    ]


def _jetpack(model: str, l4t: str, jetpack: JetPack | None) -> Finding:
    board = model or "a Jetson"
    reason = left_behind(model)
    if reason:
        mend = "use an Orin or a Thor; TensorRT's Python package there wants Python 3.10 or newer"
        return wrong("JetPack", f"{board}: {reason}", mend)
    if jetpack is None:
        return open_question(
            "JetPack",
            f"{board} with {f'L4T {l4t}' if l4t else 'no /etc/nv_tegra_release'}: edgeseg knows "
            "JetPack 6.0 to 7.2",
            "cat /etc/nv_tegra_release; in a container, mount that file",
        )
    if not jetpack.supported:
        version = ".".join(map(str, jetpack.python))
        seen = f"JetPack {jetpack.name} (L4T {l4t}) has Python {version}"
        return wrong("JetPack", seen, "flash JetPack 6.2 or 7.2")
    return fine("JetPack", f"{jetpack.name} (L4T {l4t}) on {board}")


def _clocks(place: Place) -> Iterator[Finding]:
    mode, fastest = power_mode(place.root, place.ask), fastest_mode(place.root)
    if mode is None:
        yield open_question("power mode", "nvpmodel does not say", "sudo nvpmodel -q")
    elif fastest and mode != fastest[1]:
        mend = f"for full speed sudo nvpmodel -m {fastest[0]} ({fastest[1]}); it may ask to reboot"
        yield open_question("power mode", f"{mode}, which limits clocks and cores", mend)
    else:
        yield fine("power mode", mode)
    clock, held = gpu_clock(place.root), jetson_clocks(place.root)
    if clock is None:
        yield open_question("clocks", "the GPU's clock cannot be read", "sudo jetson_clocks --show")
        return
    range_ = f"GPU at {clock.current_mhz:.0f} MHz"
    if held:
        yield fine("clocks", f"{range_}, held there")
    else:
        mend = "sudo jetson_clocks, before a build and before a measurement"
        yield open_question("clocks", f"{range_}, the governor chooses", mend)


def _memory(place: Place) -> Iterator[Finding]:
    said = text(place.root / "proc/meminfo") or ""
    kib = {line.partition(":")[0]: line.split()[1] for line in said.splitlines() if ":" in line}
    try:
        ram, swap = (int(kib[name]) / GIB for name in ("MemTotal", "SwapTotal"))
    except (KeyError, ValueError):
        yield open_question("memory", "/proc/meminfo does not say")
        return
    seen = f"{ram:.1f} GiB RAM, {swap:.1f} GiB swap"
    if ram < SMALL_GIB and swap < SWAP_GIB:
        mend = (
            "a build may be killed: sudo systemctl disable nvzramconfig; sudo fallocate -l 8G "
            "/swapfile; sudo chmod 600 /swapfile; sudo mkswap /swapfile; sudo swapon /swapfile; "
            "and boot without the desktop"
        )
        yield wrong("memory", seen, mend)
    else:
        yield fine("memory", seen)


def _gstreamer(place: Place) -> Iterator[Finding]:
    if place.origin("gi") is None:
        mend = (
            "sudo apt install python3-gi gir1.2-gst-plugins-base-1.0, and an environment made "
            "with --system-site-packages"
        )
        yield wrong("python3-gi", "not installed: no camera by GStreamer from Python", mend)
    else:
        yield fine("python3-gi", "installed")


def _cameras(place: Place) -> Iterator[Finding]:
    devices = [
        f"{one.path.name} ({one.name})" if one.name else one.path.name
        for one in present(place.root)
    ]
    argus = csi_daemon(place)
    daemon = "its daemon answers" if argus else "its daemon does not run"
    if devices:
        seen = f"{', '.join(devices)}; for CSI cameras {daemon}"
        mend = "for a picture of each: edgeseg doctor --camera"
        if not argus:
            mend = f"for a CSI camera: sudo systemctl restart nvargus-daemon; {mend}"
        yield Finding(name="cameras", ok=True, seen=seen, mend=mend)
        return
    yield open_question("cameras", f"no /dev/video*; for CSI cameras {daemon}", NO_CAMERA)


def _disk(place: Place) -> Iterator[Finding]:
    try:
        free = shutil.disk_usage(place.home).free / (1 << 30)
    except OSError:
        yield open_question("disk", "its free space cannot be read")
        return
    if free < DISK_GIB:
        yield wrong("disk", f"{free:.1f} GiB free", "sudo apt clean; an NVMe drive for engines")
    else:
        yield fine("disk", f"{free:.1f} GiB free")


LOOKS: tuple[Callable[[Place], Iterator[Finding]], ...] = (
    _clocks,
    _memory,
    _gstreamer,
    _cameras,
    _disk,
)
