"""edgeseg doctor --camera, on cameras behind the ioctl layer of edgeseg.video.v4l2.

No kernel loopback device was available, so no real camera was opened.
"""

import errno
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.cli.camera_report import print_cameras
from edgeseg.cli.doctor_verb import command
from edgeseg.doctor_camera import CameraDiagnosis, doctor_cameras
from edgeseg.doctor_finding import Finding
from edgeseg.doctor_jetson import jetson_findings
from edgeseg.doctor_place import Place
from edgeseg.errors import MissingPackage, UsageError, VideoError
from edgeseg.video.v4l2 import ioctl, structs
from edgeseg.video.v4l2.photographer import take_portrait
from edgeseg.video.v4l2.portrait import Portrait
from tests.device.trees import write
from tests.video.v4l2_fake import C920, IMX219, FakeNode
from tests.well_board import well_board

pytestmark = pytest.mark.needs("av", "cv2", "typer", "rich")

Plug = Callable[..., dict[str, FakeNode]]
SMALL = {"YUYV": {(64, 48): (30.0,)}}


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plug]:
    """Cameras under tmp_path/dev."""
    plugged: dict[str, FakeNode] = {}

    def plug_in(**nodes: FakeNode) -> dict[str, FakeNode]:
        plugged.update(nodes)
        write(tmp_path, {f"dev/{name}": "" for name in nodes})
        names = {name: node.card for name, node in nodes.items()}
        write(
            tmp_path,
            {f"sys/class/video4linux/{node}/name": f"{card}\n" for node, card in names.items()},
        )
        return plugged

    def open_node(path: Path) -> FakeNode:
        if path.name not in plugged:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return plugged[path.name].open(path)

    monkeypatch.setattr(ioctl, "open_node", open_node)
    yield plug_in
    for node in plugged.values():
        node.free()


def place_at(root: Path, *, said: str = "", origins: tuple[str, ...] = ("av", "cv2")) -> Place:
    return Place(
        root=root,
        ask=lambda _: said,
        origin=lambda module: f"/{module}" if module in origins else None,
    )


def portrait(device: Path, folder: Path, **changes: object) -> Portrait:
    values = {
        "file": folder / f"{device.name}.png", "format": "YUYV", "width": 640, "height": 480,
        "fps": 30.0, "measured_fps": 29.9, "damaged": 0, "brightness": 100.0, "contrast": 40.0,
        "hint": "",
    }  # fmt: skip
    return Portrait(**{**values, **changes})  # type: ignore[arg-type]


def looked(root: Path, **settings: object) -> CameraDiagnosis:
    all_here = {"missing": lambda _: [], "take": portrait, "place": place_at(root)}
    return doctor_cameras(root / "pictures", **{**all_here, **settings})  # type: ignore[arg-type]


def finding(found: CameraDiagnosis, name: str) -> Finding:
    (one,) = (one for one in found.findings if one.name == name)
    return one


def test_a_machine_without_cameras_says_what_to_check(tmp_path: Path) -> None:
    found = looked(tmp_path)

    assert found.cameras == []
    assert finding(found, "cameras").ok is None
    for word in ("lsusb", "--device /dev/video0", "jetson-io"):
        assert word in finding(found, "cameras").mend
    assert not (tmp_path / "pictures").exists()


def test_a_usb_camera_and_its_metadata_node(tmp_path: Path, plug: Plug) -> None:
    metadata = structs.CAP_META | structs.CAP_STREAMING
    plug(video0=FakeNode(C920), video1=FakeNode({}, capabilities=metadata))
    found = looked(tmp_path)

    camera, second = found.cameras
    path = tmp_path / "dev/video0"
    assert (camera.name, camera.kind, camera.driver) == ("HD Pro Webcam C920", "camera", "uvcvideo")
    assert camera.opens[0] == f"v4l2://{path}"
    assert camera.opens[1].startswith(f"gst://v4l2src device={path} ! ")
    assert [(one.format, one.read) for one in camera.formats] == [
        ("YUYV", True), ("H264", False), ("MJPG", True),
    ]  # fmt: skip
    hd = next(one for one in camera.formats[2].sizes if one.width == 1280)
    assert (hd.height, hd.fps) == (720, [30, 24, 20, 15, 10, 7.5, 5])
    assert camera.picture is not None
    assert finding(found, "video0").ok is True
    assert "29.9 frames per second" in finding(found, "video0").seen
    assert (second.kind, second.opens, second.picture) == ("metadata", [], None)
    assert len(found.findings) == 1


def test_sensors_before_their_isp_are_opened_through_it_where_that_is_possible(
    tmp_path: Path, plug: Plug
) -> None:
    plug(video0=FakeNode(IMX219, card="imx219 9-0010"), video1=FakeNode(IMX219, card="imx219 10"))
    elsewhere = looked(tmp_path)
    board = well_board(tmp_path)
    at_board = looked(tmp_path, place=board)

    assert [one.opens for one in elsewhere.cameras] == [[], []]
    assert finding(elsewhere, "video0").ok is False
    assert "raw Bayer only (RG10)" in finding(elsewhere, "video0").seen
    assert [one.opens for one in at_board.cameras] == [["csi://0"], ["csi://1"]]
    assert {one.kind for one in at_board.cameras} == {"sensor before its ISP"}
    assert at_board.findings == []


@pytest.mark.parametrize(
    ("number", "mend"), [(errno.EACCES, "usermod -aG video"), (errno.ENODEV, "plug it in")]
)
def test_a_camera_that_does_not_open_is_wrong_with_its_mend(
    tmp_path: Path, plug: Plug, number: int, mend: str
) -> None:
    plug(video0=FakeNode(C920, fails={0: number}), video2=FakeNode(SMALL, card="other"))
    found = looked(tmp_path)

    assert finding(found, "video0").ok is False
    assert mend in finding(found, "video0").mend
    assert finding(found, "video2").ok is True
    assert (found.cameras[0].name, found.cameras[0].kind) == ("HD Pro Webcam C920", "unknown")


def test_a_camera_that_gives_no_picture_and_one_with_its_cap_on(tmp_path: Path, plug: Plug) -> None:
    plug(video0=FakeNode(SMALL), video1=FakeNode(SMALL))

    def take(device: Path, folder: Path) -> Portrait:
        if device.name == "video0":
            raise VideoError("no picture came", fix="another cable")
        return portrait(device, folder, hint="all black: a lens cap")

    found = looked(tmp_path, take=take)

    assert finding(found, "video0") == Finding(
        name="video0", ok=False, seen="no picture came", mend="another cable"
    )
    assert finding(found, "video1").ok is None
    assert finding(found, "video1").mend == "all black: a lens cap"


def test_ways_to_a_camera(tmp_path: Path, plug: Plug) -> None:
    plug(video0=FakeNode(SMALL))

    def without_gi(_: tuple[str, ...]) -> list[str]:
        raise MissingPackage("PyGObject is not installed", fix="sudo apt install python3-gi")

    bare = looked(tmp_path, missing=without_gi, place=place_at(tmp_path, origins=()))
    partly = looked(tmp_path, missing=lambda names: list(names[:1]))
    built = place_at(tmp_path, said="  GStreamer:      YES (1.20.3)", origins=("cv2",))
    with_cv2 = looked(tmp_path, place=built)

    ways = {one.name: one for one in bare.ways}
    assert {name for name, one in ways.items() if one.usable} == {"V4L2"}
    assert ways["GStreamer"].detail.endswith("sudo apt install python3-gi")
    assert "edgeseg[video]" in ways["av"].detail
    assert "only on a Jetson" in ways["nvarguscamerasrc"].detail
    assert bare.cameras[0].opens == [f"v4l2://{tmp_path / 'dev/video0'}"]
    assert "no v4l2src" in next(one.detail for one in partly.ways if one.name == "GStreamer")
    assert {one.name for one in with_cv2.ways if one.usable} == {"V4L2", "GStreamer", "cv2"}


def test_the_daemon_of_csi_cameras_has_to_run(tmp_path: Path) -> None:
    board = well_board(tmp_path)
    (tmp_path / "tmp/argus_socket").unlink()
    (way,) = (one for one in looked(tmp_path, place=board).ways if one.name == "nvarguscamerasrc")

    assert way.usable is False
    assert "nvargus-daemon" in way.detail


def _photographed(node: FakeNode, folder: Path, frame: Callable[[], bytes]) -> Portrait:
    stop = threading.Event()

    def feed() -> None:
        while not stop.wait(0.01):
            node.fill(frame())

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    try:
        device = folder.parent / "dev/video0"
        return take_portrait(device, folder, settling_s=0.1, patience_s=20)
    finally:
        stop.set()
        feeder.join(5)


PIXELS = 64 * 48


@pytest.mark.parametrize(
    ("frame", "hint"),
    [
        (bytes([16, 128]) * PIXELS, "all black: a lens cap"),
        (bytes([235, 128]) * PIXELS, "all white"),
        (bytes([128, 128]) * PIXELS, "one even grey"),
        (bytes([60, 128]) * (PIXELS // 2) + bytes([180, 128]) * (PIXELS // 2), ""),
    ],
)
def test_a_portrait_is_a_whole_file_and_says_what_is_in_it(
    tmp_path: Path, plug: Plug, frame: bytes, hint: str
) -> None:
    node = plug(video0=FakeNode(SMALL))["video0"]
    taken = _photographed(node, tmp_path / "pictures", lambda: frame)

    picture = cv2.imread(str(taken.file))
    luma = (np.frombuffer(frame, np.uint8)[::2].astype(float) - 16) * 255 / 219
    assert picture.shape == (48, 64, 3)
    assert taken.hint.startswith(hint)
    assert bool(taken.hint) is bool(hint)
    assert taken.brightness == pytest.approx(luma.mean(), abs=2)
    assert taken.contrast == pytest.approx(luma.std(), abs=2)
    assert (taken.format, taken.width, taken.height, taken.fps) == ("YUYV", 64, 48, 30.0)
    assert taken.measured_fps is not None
    assert 1 < taken.measured_fps < 200
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["video0.png"]
    assert node.opened == 0


def test_a_portrait_says_how_many_pictures_were_damaged(tmp_path: Path, plug: Plug) -> None:
    node = plug(video0=FakeNode({"MJPG": {(64, 48): (30.0,)}}))["video0"]
    picture = np.full((48, 64, 3), (10, 90, 200), np.uint8)
    good = cv2.imencode(".jpg", picture)[1].tobytes()
    frames = itertools.cycle([good, bytes(100)])
    taken = _photographed(node, tmp_path / "pictures", lambda: next(frames))

    assert taken.damaged >= 1
    assert cv2.imread(str(taken.file)).mean(axis=(0, 1)) == pytest.approx((10, 90, 200), abs=3)


def test_no_picture_comes(tmp_path: Path, plug: Plug) -> None:
    node = plug(video0=FakeNode(SMALL))["video0"]
    with pytest.raises(VideoError, match="no whole picture came"):
        take_portrait(tmp_path / "dev/video0", tmp_path, settling_s=0.1, patience_s=0.05)
    assert node.opened == 0
    assert not list(tmp_path.glob("*.png"))


def test_the_report_has_the_formats_and_lines_to_copy(
    tmp_path: Path, plug: Plug, capsys: pytest.CaptureFixture[str]
) -> None:
    plug(video0=FakeNode(C920), video1=FakeNode(C920, fails={0: errno.EACCES}))
    print_cameras(looked(tmp_path))

    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert "H264, not read" in printed
    assert f"  edgeseg run ENGINE v4l2://{tmp_path / 'dev/video0'}" in lines
    assert any(line.startswith("  edgeseg run ENGINE 'gst://v4l2src") for line in lines)
    assert any(line.startswith("video1: mend: sudo usermod -aG video") for line in lines)


def test_the_findings_of_a_board_name_its_cameras(tmp_path: Path, plug: Plug) -> None:
    plug(video0=FakeNode(C920))
    (cameras,) = (one for one in jetson_findings(well_board(tmp_path)) if one.name == "cameras")

    assert cameras.ok is True
    assert "video0 (HD Pro Webcam C920)" in cameras.seen
    assert "--camera" in cameras.mend


def test_the_verb_prints_json_and_hands_the_folder_on(
    tmp_path: Path,
    plug: Plug,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plug(video0=FakeNode(C920))
    folders = []

    def recorded(folder: Path | None) -> CameraDiagnosis:
        folders.append(folder)
        return looked(tmp_path)

    monkeypatch.setattr("edgeseg.doctor_camera.doctor_cameras", recorded)
    command(as_json=True, camera=True, picture=tmp_path)
    printed = json.loads(capsys.readouterr().out)
    command(camera=True)

    assert folders == [tmp_path, None]
    assert printed["schema"] == 1
    assert set(printed) == {"schema", "cameras", "ways", "findings"}
    (camera,) = printed["cameras"]
    assert camera["picture"]["hint"] == ""
    assert camera["formats"][0]["sizes"][0] == {
        "width": 640, "height": 480, "fps": [30, 24, 20, 15, 10, 7.5, 5],
    }  # fmt: skip


def test_a_folder_for_pictures_without_cameras_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--picture is for --camera"):
        command(picture=tmp_path)
