"""edgeseg.video.v4l2 against the kernel: numbers, errors, the layer that other tests replace.

No kernel loopback device was available, so no real camera was opened. The sizes, offsets and
numbers are what gcc says of linux/videodev2.h on x86-64.
"""

import ctypes
import errno
import fcntl
import os
import re
import struct
import termios
from pathlib import Path

import numpy as np
import pytest

from edgeseg.types import Size
from edgeseg.video.v4l2 import structs
from edgeseg.video.v4l2.card import Taken
from edgeseg.video.v4l2.colours import tags_of
from edgeseg.video.v4l2.ioctl import open_node
from edgeseg.video.v4l2.refusals import holders, lost, present, refused


def test_sizes_and_offsets_are_those_of_the_header() -> None:
    sizes = {
        structs.Capability: 104, structs.FormatDescription: 64, structs.FrameSize: 44,
        structs.FrameInterval: 52, structs.Format: 208, structs.Parameters: 204,
        structs.RequestBuffers: 20, structs.Buffer: 88, structs.Plane: 64,
        structs.PixelFormatSingle: 48, structs.PixelFormatPlanes: 192,
        structs.PlaneFormat: 20, structs.CaptureParameters: 40,
    }  # fmt: skip
    assert {kind: ctypes.sizeof(kind) for kind in sizes} == sizes
    offsets = [
        (structs.Format.fmt, 8), (structs.Parameters.parm, 4), (structs.Buffer.timestamp, 24),
        (structs.Buffer.sequence, 56), (structs.Buffer.memory, 60), (structs.Buffer.m, 64),
        (structs.Buffer.length, 72), (structs.FrameSize.values, 12),
        (structs.FrameInterval.values, 20), (structs.Plane.offset, 8),
        (structs.Plane.data_offset, 16), (structs.PixelFormatSingle.ycbcr_enc, 36),
        (structs.PixelFormatPlanes.plane_fmt, 20), (structs.PixelFormatPlanes.num_planes, 180),
        (structs.PixelFormatPlanes.ycbcr_enc, 182), (structs.FormatDescription.pixelformat, 44),
    ]  # fmt: skip
    assert [field.offset for field, _ in offsets] == [offset for _, offset in offsets]


def test_requests_are_those_of_the_header() -> None:
    assert {
        "QUERYCAP": structs.QUERYCAP, "ENUM_FMT": structs.ENUM_FMT, "G_FMT": structs.G_FMT,
        "S_FMT": structs.S_FMT, "REQBUFS": structs.REQBUFS, "QUERYBUF": structs.QUERYBUF,
        "QBUF": structs.QBUF, "DQBUF": structs.DQBUF, "STREAMON": structs.STREAMON,
        "STREAMOFF": structs.STREAMOFF, "G_PARM": structs.G_PARM, "S_PARM": structs.S_PARM,
        "ENUM_FRAMESIZES": structs.ENUM_FRAMESIZES,
        "ENUM_FRAMEINTERVALS": structs.ENUM_FRAMEINTERVALS,
    } == {
        "QUERYCAP": 0x80685600, "ENUM_FMT": 0xC0405602, "G_FMT": 0xC0D05604, "S_FMT": 0xC0D05605,
        "REQBUFS": 0xC0145608, "QUERYBUF": 0xC0585609, "QBUF": 0xC058560F, "DQBUF": 0xC0585611,
        "STREAMON": 0x40045612, "STREAMOFF": 0x40045613, "G_PARM": 0xC0CC5615,
        "S_PARM": 0xC0CC5616, "ENUM_FRAMESIZES": 0xC02C564A, "ENUM_FRAMEINTERVALS": 0xC034564B,
    }  # fmt: skip
    assert structs.fourcc("YUYV") == struct.unpack("<I", b"YUYV")[0]
    assert structs.fourcc_name(structs.fourcc("GREY")) == "GREY"


class _WindowSize(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ushort) for name in ("rows", "columns", "x", "y")]


def test_the_kernel_writes_its_answer_into_the_structure() -> None:
    keeper, terminal = os.openpty()
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
        node = open_node(Path(os.ttyname(terminal)))
        size = _WindowSize()
        node.ioctl(termios.TIOCGWINSZ, size)
        assert (size.rows, size.columns) == (33, 77)
        node.close()
        node.close()
    finally:
        os.close(keeper)
        os.close(terminal)


def test_waiting_is_bounded_and_ends_when_something_comes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    node = open_node(pipe)
    writer = os.open(pipe, os.O_WRONLY)
    try:
        assert node.wait(0.01) is False
        os.write(writer, b"x")
        assert node.wait(10) is True
    finally:
        os.close(writer)
        node.close()


def test_mapped_memory_is_shared_and_outlives_the_node(tmp_path: Path) -> None:
    file = tmp_path / "memory"
    file.write_bytes(bytes(2 * 65536))
    node = open_node(file)
    view = node.map(65536, 65536)
    node.close()
    with file.open("r+b") as other:
        other.seek(65536 + 7)
        other.write(b"\x2a")

    assert view.shape == (65536,)
    assert np.flatnonzero(view).tolist() == [7]
    assert view[7] == 42


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


CAMERAS = {"video0": "HD Pro Webcam C920", "video1": "HD Pro Webcam C920", "video10": "loop"}


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "dev").mkdir()
    for node, name in CAMERAS.items():
        (tmp_path / "dev" / node).touch()
        (tmp_path / "sys/class/video4linux" / node).mkdir(parents=True)
        (tmp_path / "sys/class/video4linux" / node / "name").write_text(f"{name}\n")
    (tmp_path / "dev" / "videodev").touch()
    for number, program in (("4711", "cheese"), ("4712", "bash")):
        (tmp_path / "proc" / number / "fd").mkdir(parents=True)
        (tmp_path / "proc" / number / "comm").write_text(f"{program}\n")
    (tmp_path / "proc/4711/fd/5").symlink_to(tmp_path / "dev/video0")
    (tmp_path / "proc/4712/fd/0").symlink_to(tmp_path / "dev/video10")
    return tmp_path


def test_the_nodes_of_a_machine_in_the_order_of_their_numbers(machine: Path) -> None:
    assert [(one.path.name, one.name) for one in present(machine)] == list(CAMERAS.items())


@pytest.mark.parametrize(
    ("number", "problem", "fix"),
    [
        (errno.ENOENT, r"there is no .*video0; here: .*video0 \(HD Pro Webcam C920\)", "--camera"),
        (errno.EACCES, "no permission", "sudo usermod -aG video"),
        (errno.EBUSY, r"is busy: cheese \(process 4711\) has it", "end that program"),
        (errno.ENODEV, "is gone", "another number"),
        (errno.ENOTTY, "is no camera", "--camera"),
        (errno.ENOSPC, "cannot run: No space", "mjpeg"),
        (errno.EMFILE, "cannot be opened: Too many open files", ""),
        (errno.EPROTO, "cannot be opened: Protocol error", "dmesg"),
        (errno.EPIPE, "no sensor linked to it: Broken pipe", "gst://libcamerasrc"),
        (errno.ENOLINK, "no sensor linked to it: Link has been severed", "gst://libcamerasrc"),
    ],
)
def test_what_the_kernel_refuses_is_told_with_what_to_do(
    machine: Path, number: int, problem: str, fix: str
) -> None:
    told = refused(machine / "dev/video0", error(number), root=machine)

    assert re.search(problem, told.problem)
    assert fix in told.fix
    assert told.exit_code == 7


def test_no_camera_at_all(tmp_path: Path) -> None:
    told = refused(Path("/dev/video0"), error(errno.ENOENT), root=tmp_path)

    assert told.problem == "there is no /dev/video0; here: no camera at all"
    assert "lsusb" in told.fix


def test_a_camera_that_nobody_admits_to_hold(tmp_path: Path) -> None:
    told = refused(Path("/dev/video0"), error(errno.EBUSY), root=tmp_path)

    assert told.problem == "/dev/video0 is busy"
    assert "fuser -v /dev/video0" in told.fix


def test_a_camera_that_the_daemon_of_csi_cameras_holds_is_sent_there(machine: Path) -> None:
    (machine / "proc/4711/comm").write_text("nvargus-daemon\n")
    told = refused(machine / "dev/video0", error(errno.EBUSY), root=machine)

    assert "csi://0" in told.fix


def test_a_format_without_letters_has_no_name() -> None:
    assert structs.fourcc_name(0) == ""
    assert structs.fourcc_name(structs.fourcc("Y16")) == "Y16"


def test_a_camera_that_this_run_holds_itself(tmp_path: Path) -> None:
    file = tmp_path / "video0"
    with file.open("w"):
        assert "this run" in holders(file)


def test_a_camera_that_is_lost() -> None:
    assert "is gone" in lost(Path("/dev/video0"), error(errno.ENODEV)).problem
    assert "stopped: Input/output error" in lost(Path("/dev/video0"), error(errno.EIO)).problem


@pytest.mark.parametrize(
    ("colorspace", "encoding", "quantization", "said"),
    [
        (8, 0, 0, "smpte170m tv"),  # sRGB: nearly every USB camera
        (1, 0, 0, "smpte170m tv"),
        (3, 0, 0, "bt709 tv"),
        (3, 1, 0, "smpte170m tv"),
        (8, 2, 1, "bt709 pc"),
        (7, 0, 0, "smpte170m pc"),
        (0, 0, 0, "unknown unknown"),  # the driver says nothing
        (0, 0, 1, "unknown pc"),
        (10, 0, 0, "bt2020nc tv"),
    ],
)
def test_the_colours_that_a_driver_names(
    colorspace: int, encoding: int, quantization: int, said: str
) -> None:
    frames = Taken("YUYV", Size(480, 640), (1280,), colorspace, encoding, quantization)

    matrix, range_ = tags_of(frames)
    matrices = {1: "bt709", 2: "unknown", 6: "smpte170m", 9: "bt2020nc"}  # FFmpeg's names
    assert f"{matrices[matrix]} {('unknown', 'tv', 'pc')[range_]}" == said
