"""edgeseg.video.sources.v4l2 on cameras behind its ioctl layer.

No kernel loopback device was available, so no real camera was opened: the driver's side is
tests/video/v4l2_fake.py, which hands out memory that is really mapped.
"""

import errno
import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import UsageError, VideoError
from edgeseg.frames import Grab
from edgeseg.types import PixelFormat, Pixels, Size
from edgeseg.video import SourceOptions, open_source
from edgeseg.video.capture import Capture
from edgeseg.video.sources.v4l2 import V4l2Camera
from edgeseg.video.v4l2 import ioctl, structs
from edgeseg.video.v4l2.negotiation import Wish
from edgeseg.video.v4l2.stream import BUFFERS
from tests.video.v4l2_fake import C920, IMX219, PLANES, FakeNode, Table

pytestmark = pytest.mark.needs("av", "cv2")

W, H = 64, 48
SMALL = {(W, H): (30.0,)}
TIMEOUT_S = 5.0
PATH = Path("/dev/video0")

Attach = Callable[..., FakeNode]


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch) -> Iterator[Attach]:
    """Puts a camera in the place of the kernel's."""
    nodes: list[FakeNode] = []

    def put(table: Table | None = None, **settings: object) -> FakeNode:
        node = FakeNode({"YUYV": SMALL} if table is None else table, **settings)  # type: ignore[arg-type]
        monkeypatch.setattr(ioctl, "open_node", node.open)
        nodes.append(node)
        return node

    yield put
    for node in nodes:
        node.free()


@pytest.fixture
def opened() -> Iterator[Callable[..., V4l2Camera]]:
    cameras: list[V4l2Camera] = []

    def open_(scale_to: Size | None = None, wish: Wish | None = None, **options) -> V4l2Camera:  # type: ignore[no-untyped-def]
        wanted = SourceOptions(**options)
        wish = wish or Wish(pixel_format=wanted.pixel_format)
        cameras.append(V4l2Camera(PATH, wish, wanted, scale_to=scale_to))
        return cameras[-1]

    yield open_
    for camera in cameras:
        camera.close()


Opened = Callable[..., V4l2Camera]


def taken(camera: V4l2Camera) -> Grab:
    grab = camera.grab(TIMEOUT_S)
    assert grab is not None
    return grab


def written(camera: V4l2Camera) -> Pixels:
    pixels = np.empty(camera.info.pixel_format.frame_shape(camera.info.size), np.uint8)
    grab = taken(camera)
    try:
        grab.write_into(pixels)
    finally:
        grab.release()
    return pixels


def rgb_of(y: float, u: float, v: float, *, red: float, blue: float, full: bool) -> list[float]:
    """The formula of the recommendations, for the luma weights of red and blue."""
    luma = y / 255 if full else (y - 16) / 219
    pb, pr = ((one - 128) / (255 if full else 224) for one in (u, v))
    r, b = luma + 2 * (1 - red) * pr, luma + 2 * (1 - blue) * pb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return [float(np.clip(255 * one, 0, 255)) for one in (r, g, b)]


Y, U, V = 120, 90, 170
PLAIN = {
    "YUYV": [bytes([Y, U, Y, V]) * (W * H // 2)],
    "UYVY": [bytes([U, Y, V, Y]) * (W * H // 2)],
    "NV12": [bytes([Y]) * (W * H) + bytes([U, V]) * (W * H // 4)],
    "YU12": [bytes([Y]) * (W * H) + bytes([U]) * (W * H // 4) + bytes([V]) * (W * H // 4)],
    "NM12": [bytes([Y]) * (W * H), bytes([U, V]) * (W * H // 4)],
    "422P": [bytes([Y]) * (W * H) + bytes([U]) * (W * H // 2) + bytes([V]) * (W * H // 2)],
}
SRGB_601, REC709, JPEG_601 = (8, 0, 0), (3, 0, 0), (7, 0, 0)
WEIGHTS = {SRGB_601: (0.299, 0.114), REC709: (0.2126, 0.0722), JPEG_601: (0.299, 0.114)}


@pytest.mark.parametrize("colours", [SRGB_601, REC709, JPEG_601])
@pytest.mark.parametrize("name", PLAIN)
def test_rgb_is_made_with_the_matrix_and_range_that_the_driver_names(
    attach: Attach, opened: Opened, name: str, colours: tuple[int, int, int]
) -> None:
    planes = {"capabilities": PLANES} if name == "NM12" else {}
    node = attach({name: SMALL}, colours=colours, **planes)
    camera = opened()
    node.fill(*PLAIN[name])

    red, blue = WEIGHTS[colours]
    expected = rgb_of(Y, U, V, red=red, blue=blue, full=colours is JPEG_601)
    assert np.abs(written(camera) - expected).max() <= 3  # the other matrix is 8 away


@pytest.mark.parametrize("pixel_format", [PixelFormat.NV12, PixelFormat.I420])
@pytest.mark.parametrize("name", PLAIN)
def test_yuv_slots_get_the_luma_and_chroma_as_they_came(
    attach: Attach, opened: Opened, name: str, pixel_format: PixelFormat
) -> None:
    node = attach({name: SMALL}, **({"capabilities": PLANES} if name == "NM12" else {}))
    camera = opened(pixel_format=pixel_format)
    node.fill(*PLAIN[name])

    pixels = written(camera).reshape(-1)
    assert set(pixels[: W * H]) == {Y}
    chroma = pixels[W * H :].reshape((-1, 2) if pixel_format is PixelFormat.NV12 else (2, -1))
    chroma = chroma if pixel_format is PixelFormat.NV12 else chroma.T
    assert np.unique(chroma, axis=0).tolist() == [[U, V]]


@pytest.mark.parametrize(
    ("colours", "luma", "expected"),
    [((0, 0, 1), 255, 235), ((0, 0, 1), 0, 16), ((10, 0, 0), Y, Y)],  # full range, and BT.2020
)
def test_planes_in_what_no_engine_takes_are_converted_and_counted(
    attach: Attach, colours: tuple[int, int, int], luma: int, expected: int
) -> None:
    node = attach({"NV12": SMALL}, colours=colours)
    options = SourceOptions(pixel_format=PixelFormat.NV12)
    camera = V4l2Camera(PATH, Wish(pixel_format=PixelFormat.NV12), options)
    node.fill(bytes([luma]) * (W * H) + bytes([128]) * (W * H // 2))
    pixels = written(camera)
    camera.close()

    assert options.counts.converted == 1
    assert np.abs(pixels[:H].astype(int) - expected).max() <= 1


def noise(rows: int, row_bytes: int, stride: int) -> tuple[Pixels, bytes]:
    """Random rows, and the same with rubbish between them."""
    rng = np.random.default_rng(3)
    rows_ = rng.integers(16, 236, (rows, row_bytes), np.uint8)
    padded = rng.integers(0, 256, (rows, stride), np.uint8)
    padded[:, :row_bytes] = rows_
    return rows_, padded.tobytes()


@pytest.mark.parametrize("padding", [0, 32])
@pytest.mark.parametrize(
    ("name", "pixel_format", "shape"),
    [
        ("NV12", PixelFormat.NV12, (H * 3 // 2, W)),
        ("RGB3", PixelFormat.RGB8, (H, W * 3)),
        ("BGR3", PixelFormat.BGR8, (H, W * 3)),
    ],
)
def test_the_slots_own_format_comes_byte_for_byte_whatever_lies_between_rows(
    attach: Attach,
    opened: Opened,
    name: str,
    pixel_format: PixelFormat,
    shape: tuple[int, int],
    padding: int,
) -> None:
    node = attach({name: SMALL}, padding=padding)
    camera = opened(pixel_format=pixel_format)
    rows, data = noise(*shape, shape[1] + padding)
    node.fill(data)

    assert np.array_equal(written(camera).reshape(shape), rows)


@pytest.mark.parametrize("padding", [0, 32])
def test_i420_rows_of_chroma_are_half_as_far_apart(
    attach: Attach, opened: Opened, padding: int
) -> None:
    node = attach({"YU12": SMALL}, padding=padding)
    camera = opened(pixel_format=PixelFormat.I420)
    luma, luma_data = noise(H, W, W + padding)
    chroma, chroma_data = noise(H, W // 2, (W + padding) // 2)
    node.fill(luma_data + chroma_data)

    pixels = written(camera).reshape(-1)
    assert np.array_equal(pixels, np.concatenate([luma.reshape(-1), chroma.reshape(-1)]))


@pytest.mark.parametrize("padding", [0, 16])
def test_yuyv_pixel_by_pixel(attach: Attach, opened: Opened, padding: int) -> None:
    node = attach(padding=padding)
    camera = opened()
    rows, data = noise(H, W * 2, W * 2 + padding)
    node.fill(data)

    pixels = written(camera).reshape(H, W // 2, 2, 3).astype(float)
    quads = rows.reshape(H, W // 2, 4).astype(float)
    for y, x in [(0, 0), (17, 5), (H - 1, W // 2 - 1)]:
        left, u, right, v = quads[y, x]
        for side, luma in enumerate((left, right)):
            expected = rgb_of(luma, u, v, red=0.299, blue=0.114, full=False)
            assert np.abs(pixels[y, x, side] - expected).max() <= 2


@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB8, PixelFormat.BGRX8])
def test_nv12_pixel_by_pixel_whatever_lies_between_rows(
    attach: Attach, opened: Opened, pixel_format: PixelFormat
) -> None:
    node = attach({"NV12": SMALL}, padding=32)
    camera = opened(pixel_format=pixel_format)
    rows, data = noise(H * 3 // 2, W, W + 32)
    node.fill(data)

    pixels = written(camera).astype(float)
    order = [0, 1, 2] if pixel_format is PixelFormat.RGB8 else [2, 1, 0]
    for y, x in [(0, 0), (17, 6), (H - 1, W - 2)]:
        u, v = rows[H + y // 2, x : x + 2].astype(float)
        expected = rgb_of(float(rows[y, x]), u, v, red=0.299, blue=0.114, full=False)
        assert np.abs(pixels[y, x, order] - expected).max() <= 2


def test_grey_is_grey(attach: Attach, opened: Opened) -> None:
    node = attach({"GREY": SMALL})
    camera = opened()
    node.fill(bytes([77]) * (W * H))

    assert set(written(camera).reshape(-1)) <= {76, 77, 78}


def jpeg(color: tuple[int, int, int]) -> bytes:
    picture = np.full((H, W, 3), color, np.uint8)
    picture[:, W // 2 :] = 255 - picture[:, W // 2 :]
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def test_jpegs_are_decoded_with_what_cameras_append(attach: Attach, opened: Opened) -> None:
    node = attach({"MJPG": SMALL}, colours=JPEG_601)
    camera = opened()
    data = jpeg((40, 160, 90))
    node.fill(data + bytes(500))

    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(written(camera).astype(int) - expected)[:, : W // 2 - 4].max() <= 3


def without_huffman_tables(data: bytes) -> bytes:
    """As most USB cameras send them: an AVI1 header, and the tables are those of the standard."""
    kept, place = data[:2] + b"\xff\xe0\x00\x10AVI1" + bytes(10), 2
    while data[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place + 1] not in {0xC4, 0xE0}:
            kept += data[place:end]
        place = end
    return kept + data[place:]


def test_jpegs_without_huffman_tables_are_those_with_the_usual_ones(
    attach: Attach, opened: Opened
) -> None:
    node = attach({"MJPG": SMALL}, colours=JPEG_601)
    camera = opened()
    whole = jpeg((40, 160, 90))
    bare = without_huffman_tables(whole)
    assert b"\xff\xc4" in whole
    assert b"\xff\xc4" not in bare
    pictures = []
    for data in (whole, bare):
        node.fill(data)
        pictures.append(written(camera))

    assert np.array_equal(*pictures)
    assert pictures[0].std() > 10


def test_a_broken_jpeg_is_an_error_and_the_next_one_is_shown(
    attach: Attach, opened: Opened
) -> None:
    node = attach({"MJPG": SMALL})
    camera = opened()
    good = jpeg((40, 160, 90))
    rng = np.random.default_rng(0)
    busy = cv2.imencode(".jpg", rng.integers(0, 256, (H, W, 3), np.uint8))[1].tobytes()
    written_ones = []
    for data in (good, busy[: len(busy) // 2], bytes(100), good):
        node.fill(data)
        if data is good:
            written_ones.append(written(camera))
            continue
        with pytest.raises(VideoError, match="is broken"):
            written(camera)

    first, last = written_ones
    assert np.array_equal(first, last)


def test_a_camera_whose_every_jpeg_is_odd_is_shown_as_far_as_it_goes(
    attach: Attach, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    node = attach({"MJPG": SMALL})
    camera = opened()
    rng = np.random.default_rng(0)
    odd = cv2.imencode(".jpg", rng.integers(0, 256, (H, W, 3), np.uint8))[1].tobytes()
    odd = odd[: len(odd) // 2]
    for _ in range(10):
        node.fill(odd)
        with pytest.raises(VideoError, match="is broken"):
            written(camera)
    node.fill(odd)

    assert written(camera).std() > 10
    assert "every JPEG" in caplog.text


def test_frames_are_scaled_to_what_is_delivered(attach: Attach, opened: Opened) -> None:
    node = attach()
    camera = opened(scale_to=Size(24, 32))
    node.fill(*PLAIN["YUYV"])

    assert camera.info.size == (24, 32)
    grab = taken(camera)
    assert grab.size == (H, W)
    pixels = np.empty((24, 32, 3), np.uint8)
    grab.write_into(pixels)
    expected = rgb_of(Y, U, V, red=0.299, blue=0.114, full=False)
    assert np.abs(pixels - expected).max() <= 3


def test_what_the_driver_set_counts(
    attach: Attach, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    node = attach({"YUYV": {(W, H): (15.0,)}}, sets=lambda *_: ("UYVY", Size(32, 48)))
    camera = opened(wish=Wish(size=Size(H, W)))
    node.fill(bytes([U, Y, V, Y]) * (32 * 48 // 2))

    assert camera.info.size == (32, 48)
    assert written(camera).shape == (32, 48, 3)
    assert "/dev/video0 (HD Pro Webcam C920): UYVY, 48x32 at 15 frames per second" in caplog.text
    assert "asked for 64x48 and gives 48x32" in caplog.text


def test_a_slow_camera_is_said(
    attach: Attach, opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    attach({"YUYV": {(W, H): (7.5, 5)}})
    camera = opened(wish=Wish(rate=Fraction(60)))

    assert camera.info.fps == Fraction(15, 2)
    assert "gives 7.5 of 60 frames per second" in caplog.text


ANY_SIZE = {"table": {"YUYV": {(0, 0): (60, 5)}}, "range_": (32, 1920, 2, 32, 1080, 2)}


@pytest.mark.parametrize(("asked", "size"), [(None, (720, 1280)), (Size(100, 102), (100, 102))])
def test_a_size_between_the_ends_of_a_range(
    attach: Attach, opened: Opened, asked: Size | None, size: tuple[int, int]
) -> None:
    attach(**ANY_SIZE)
    camera = opened(wish=Wish(size=asked))

    assert camera.info.size == size
    assert camera.info.fps == 30


def test_a_size_beside_the_steps_of_a_range(attach: Attach, opened: Opened) -> None:
    attach(**ANY_SIZE)
    with pytest.raises(VideoError, match="has no 103x101"):
        opened(wish=Wish(size=Size(101, 103)))


def test_a_driver_without_lists_keeps_the_size_that_is_set(attach: Attach, opened: Opened) -> None:
    lists = [structs.ENUM_FRAMESIZES, structs.ENUM_FRAMEINTERVALS, structs.G_PARM]
    node = attach(fails=dict.fromkeys(lists, errno.ENOTTY))
    node.state = ("YUYV", Size(H, W))
    camera = opened()

    assert camera.info.size == (H, W)
    assert camera.info.fps is None


def test_the_time_of_a_frame_is_the_drivers_where_it_is_on_our_clock(
    attach: Attach, opened: Opened
) -> None:
    node = attach()
    camera = opened()
    for age_s, monotonic in ((2.0, True), (2.0, False), (1e3, True), (-1e3, True)):
        node.fill(*PLAIN["YUYV"], age_s=age_s, monotonic=monotonic)
    now_s = time.monotonic()
    ages = [now_s - taken(camera).captured_s for _ in range(4)]

    assert ages[0] == pytest.approx(2.0, abs=0.5)
    assert max(ages[1:]) < 0.5  # of no clock that is named, or times that cannot be


def test_damaged_and_short_frames_are_counted_and_their_buffers_given_back(
    attach: Attach,
) -> None:
    node = attach()
    options = SourceOptions()
    camera = V4l2Camera(PATH, Wish(), options)
    for _ in range(3):
        node.fill(*PLAIN["YUYV"], flags=structs.BUFFER_ERROR)
        node.fill(PLAIN["YUYV"][0][:-1])
    assert camera.grab(0.05) is None
    node.fill(*PLAIN["YUYV"])
    taken(camera).release()
    camera.close()

    assert options.counts.damaged == 6
    assert node.asked[structs.QBUF] == BUFFERS + 7


def test_three_frames_may_be_held_while_more_come(attach: Attach, opened: Opened) -> None:
    node = attach()
    camera = opened()
    held = []
    for luma in (30, 60, 90):
        assert node.fill(bytes([luma, 128]) * (W * H))
        held.append(taken(camera))
    for _ in range(10):
        assert node.fill(bytes([200, 128]) * (W * H))
        taken(camera).release()
    pixels = np.empty((H, W, 3), np.uint8)
    seen = []
    for grab in held:
        grab.write_into(pixels)
        grab.release()
        grab.release()
        seen.append(int(pixels[0, 0, 0]))

    expected = [(luma - 16) * 255 / 219 for luma in (30, 60, 90)]
    assert seen == pytest.approx(expected, abs=2)
    assert len(node.queued) == BUFFERS


def test_grabbing_is_bounded(attach: Attach, opened: Opened) -> None:
    node = attach()
    camera = opened()

    assert camera.grab(0.01) is None
    node.wait = lambda _: True  # type: ignore[method-assign]
    assert camera.grab(0.05) is None  # a driver that calls for nothing
    assert 1 <= node.asked[structs.DQBUF] < 50


def test_a_camera_that_is_closed_is_free_and_a_held_frame_stays_readable(attach: Attach) -> None:
    node = attach()
    camera = V4l2Camera(PATH, Wish(), SourceOptions())
    node.fill(*PLAIN["YUYV"])
    grab = taken(camera)
    memories = [weakref.ref(one) for one in node.maps]
    node.maps.clear()
    camera.close()
    camera.close()

    gc.collect()
    assert node.opened == 0
    assert node.log[-2:] == [structs.STREAMOFF, structs.REQBUFS]
    assert sum(one() is not None for one in memories) == 1
    pixels = np.empty((H, W, 3), np.uint8)
    grab.write_into(pixels)
    assert pixels.std(axis=(0, 1)).max() == 0
    grab.release()
    gc.collect()
    assert sum(one() is not None for one in memories) == 0
    assert camera.grab(0.01) is None


@pytest.mark.parametrize("number", [errno.ENODEV, errno.EIO])
def test_a_camera_that_is_unplugged_is_an_error(
    attach: Attach, opened: Opened, number: int
) -> None:
    node = attach()
    camera = opened()
    node.fill(*PLAIN["YUYV"])
    grab = taken(camera)
    node.unplug(number)
    with pytest.raises(VideoError, match=r"video0 (is gone|stopped)"):
        camera.grab(TIMEOUT_S)
    grab.release()  # nothing to tell here


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fails": {0: errno.EACCES}}, "no permission"),
        ({"fails": {structs.QUERYCAP: errno.ENOTTY}}, "is no camera"),
        ({"fails": {structs.S_FMT: errno.EBUSY}}, "is busy"),
        ({"fails": {structs.STREAMON: errno.ENOSPC}}, "cannot run"),
        ({"fails": {structs.QUERYBUF: errno.ENOMEM}}, "cannot run"),
        ({"fails": {structs.S_PARM: errno.EIO}}, "cannot be opened: Input"),
        ({"busy": True}, "is busy"),
        ({"capabilities": structs.CAP_META | structs.CAP_STREAMING}, r"gives no frames.*metadata"),
        ({"capabilities": structs.CAP_M2M | structs.CAP_STREAMING}, "no frames.*codec"),
        ({"capabilities": structs.CAP_CAPTURE}, "mapped buffers"),
        ({"table": {}}, "no format that can be read: it names none"),
        ({"table": IMX219, "card": "vi-output, imx219 9-0010"}, r"imx219 9-0010\) has raw Bayer"),
        ({"sets": lambda _, size: ("H264", size)}, "asked for YUYV at 64x48 and gives H264"),
    ],
)
def test_a_camera_that_cannot_be_opened_says_why_and_is_closed(
    attach: Attach, settings: dict[str, object], said: str
) -> None:
    node = attach(**settings)
    with pytest.raises(VideoError, match=said) as caught:
        open_source("/dev/video0")
    assert caught.value.fix
    assert node.opened == 0
    assert not node.running


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("v4l2://", "names no camera"),
        ("/dev/video0?size=big", "'big' is not a size"),
        ("/dev/video0?format=h264", "pixel format 'h264'"),
        ("/dev/video0?format=yuv2", "did you mean 'yuyv'"),
        ("/dev/video0?rate=0", "rate=0"),
        ("/dev/video0?rotate=90", "rotate"),
    ],
)
def test_a_uri_that_asks_for_nonsense(attach: Attach, uri: str, said: str) -> None:
    attach()
    with pytest.raises(UsageError, match=said):
        open_source(uri)


def test_a_camera_that_is_not_there() -> None:
    with pytest.raises(VideoError, match="there is no /dev/video4711"):
        open_source("/dev/video4711")


@pytest.mark.parametrize("uri", ["/dev/video0", "v4l2:///dev/video0", "v4l2://0"])
def test_the_options_of_a_uri(attach: Attach, uri: str) -> None:
    node = attach(C920)
    source = open_source(f"{uri}?size=640x480&format=mjpeg&rate=15")
    source.close()

    assert node.path == PATH
    assert node.state == ("MJPG", (480, 640))
    assert node.rate == 15
    assert source.info.fps == 15
    assert source.info.live


def _fed(node: FakeNode, stop: threading.Event) -> threading.Thread:
    def feed() -> None:
        while not stop.wait(0.002):
            node.fill(*PLAIN["YUYV"])

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    return thread


def test_a_capture_goes_on_when_the_camera_is_plugged_in_again(attach: Attach) -> None:
    node = attach()
    stop = threading.Event()
    feeder = _fed(node, stop)
    options = SourceOptions()
    source = open_source("/dev/video0", options)
    assert isinstance(source, Capture)
    pixels = np.empty((H, W, 3), np.uint8)
    first = source.read_into(pixels)
    node.unplug()
    time.sleep(0.05)
    node.fails.clear()
    deadline_s = time.monotonic() + 20
    times = [first]
    while options.counts.reconnects == 0 and time.monotonic() < deadline_s:
        times.append(source.read_into(pixels))
    times.append(source.read_into(pixels))
    source.close()
    stop.set()
    feeder.join(TIMEOUT_S)

    assert options.counts.reconnects == 1
    assert node.asked[structs.STREAMON] == 2
    assert node.opened == 0
    moments = [one for one in times if one is not None]
    assert moments[-1].epoch == 1
    assert all(a.captured_s < b.captured_s for a, b in pairwise(moments))
