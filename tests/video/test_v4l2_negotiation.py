"""edgeseg.video.v4l2.negotiation: which format, size and rate is taken, on recorded tables."""

from dataclasses import replace
from fractions import Fraction

import pytest

from edgeseg.errors import VideoError
from edgeseg.types import PixelFormat, Size
from edgeseg.video.v4l2.negotiation import Choice, Mode, Wish, chosen, table
from tests.video.v4l2_fake import C920, IMX219, Table


def modes(given: Table) -> list[Mode]:
    return [
        Mode(name, Size(height, width), tuple(map(Fraction, rates)))
        for name, sizes in given.items()
        for (width, height), rates in sizes.items()
    ]


def choose(given: Table, wish: Wish | None = None) -> Choice:
    return chosen(modes(given), wish or Wish(), camera="/dev/video0")


HD, VGA = Size(720, 1280), Size(480, 640)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (Wish(), ("MJPG", HD, 30)),  # which YUYV has at 10 a second
        (Wish(size=VGA), ("YUYV", VGA, 30)),
        (Wish(size=HD, rate=Fraction(10)), ("YUYV", HD, 10)),
        (Wish(size=HD, rate=Fraction(12)), ("MJPG", HD, 15)),
        (Wish(size=HD, format="yuyv"), ("YUYV", HD, 10)),
        (Wish(size=HD, format="YUYV"), ("YUYV", HD, 10)),
        (Wish(format="yuyv"), ("YUYV", VGA, 30)),
        (Wish(format="mjpeg", size=VGA, rate=Fraction(15)), ("MJPG", VGA, 15)),
        (Wish(delivered=VGA), ("YUYV", VGA, 30)),
        (Wish(prefers=VGA), ("YUYV", VGA, 30)),
        (Wish(prefers=Size(333, 777)), ("MJPG", HD, 30)),  # which it has not
        (Wish(prefers=VGA, size=HD), ("MJPG", HD, 30)),
        (Wish(delivered=Size(256, 512)), ("YUYV", Size(360, 640), 30)),  # the least that covers it
        (Wish(delivered=Size(2000, 3000)), ("MJPG", Size(1080, 1920), 30)),
        (Wish(rate=Fraction(60)), ("MJPG", HD, 30)),  # as fast as it goes
        (Wish(rate=Fraction(7), pixel_format=PixelFormat.NV12), ("YUYV", HD, Fraction(15, 2))),
    ],
)
def test_a_usb_camera(wish: Wish, expected: tuple[str, Size, Fraction]) -> None:
    assert choose(C920, wish) == expected


@pytest.mark.parametrize(
    ("slot", "cheapest"),
    [
        (PixelFormat.NV12, ["NV12", "YU12", "YUYV", "BGR3", "MJPG", "GREY"]),
        (PixelFormat.I420, ["YU12", "NV12", "YUYV", "BGR3", "MJPG", "GREY"]),
        (PixelFormat.RGB8, ["BGR3", "YUYV", "NV12", "MJPG", "GREY"]),
        (PixelFormat.BGRX8, ["XR24", "BGR3", "YUYV", "NV12", "MJPG", "GREY"]),
    ],
)
def test_the_format_that_costs_least_for_the_slot(slot: PixelFormat, cheapest: list[str]) -> None:
    left = {name: {(640, 480): (30.0,)} for name in sorted(cheapest)}
    taken = []
    while left:
        taken.append(choose(left, Wish(pixel_format=slot)).format)
        del left[taken[-1]]

    assert taken == cheapest


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"YUYV": {(320, 240): (30,), (640, 480): (15,)}}, (VGA, 15)),  # a usual size first
        ({"YUYV": {(320, 240): (30,)}}, (Size(240, 320), 30)),
        ({"YUYV": {(1920, 1080): (30,), (3840, 2160): (30,)}}, (Size(1080, 1920), 30)),
        ({"YUYV": {(640, 480): (60, 30, 29), (800, 600): (25,)}}, (VGA, 30)),
        ({"YUYV": {(720, 576): (25,)}}, (Size(576, 720), 25)),
        ({"YUYV": {(1920, 1080): (5,)}}, (Size(1080, 1920), 5)),
    ],
)
def test_nobody_said_what_is_wanted(given: Table, expected: tuple[Size, int]) -> None:
    assert choose(given)[1:] == expected


def test_a_little_less_than_thirty_is_thirty() -> None:
    ntsc = Fraction(30000, 1001)
    offered = [Mode("MJPG", VGA, (Fraction(60),)), Mode("YUYV", VGA, (ntsc,))]

    assert chosen(offered, Wish(), camera="") == ("YUYV", VGA, ntsc)


def test_a_driver_that_names_no_rates_is_asked_for_the_one_that_is_wanted() -> None:
    offered = [Mode("UYVY", HD)]

    assert chosen(offered, Wish(), camera="") == ("UYVY", HD, 30)
    assert chosen(offered, Wish(rate=Fraction(50)), camera="").rate == 50


@pytest.mark.parametrize("sensor", [IMX219, {"pBAA": {(640, 480): (30,)}}])
def test_a_sensor_before_its_isp_is_sent_to_the_isp(sensor: Table) -> None:
    with pytest.raises(VideoError, match="raw Bayer") as caught:
        choose(sensor)
    assert "csi://0" in caught.value.fix


def test_nothing_that_can_be_read() -> None:
    with pytest.raises(VideoError, match="no format that can be read: H264") as caught:
        choose({"H264": C920["H264"]})
    assert "'gst://v4l2src device=/dev/video0 ! decodebin" in caught.value.fix
    assert "YUYV" in caught.value.fix


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(size=Size(481, 641)), "no 641x481\n"),
        (Wish(format="nv12"), "no nv12\n"),
        (Wish(format="mjpeg", size=Size(1536, 2304)), "no 2304x1536 in mjpeg\n"),
    ],
)
def test_what_is_not_offered_is_refused_with_what_is(wish: Wish, said: str) -> None:
    with pytest.raises(VideoError, match=said) as caught:
        choose(C920, wish)
    assert "MJPG: 1920x1080 at 30, 1280x720 at 30" in caught.value.fix


def test_the_table_of_a_camera_is_short() -> None:
    yuyv, h264, mjpg = table(modes(C920))

    assert yuyv.startswith("YUYV: 2304x1536 at 2, 1920x1080 at 5, 1600x896 at 7.5, ")
    assert yuyv.endswith(" and 5 more")
    assert "2304" not in mjpg
    assert h264.endswith("(not read here)")


def test_a_format_by_its_name_or_its_letters() -> None:
    base = Wish(size=VGA)

    assert {choose(C920, replace(base, format=one)).format for one in ("mjpeg", "MJPG")} == {"MJPG"}
