"""edgeseg.video.credentials."""

import pytest

from edgeseg.video.credentials import quoted_credentials, shown, split_credentials


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("rtsp://cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://user@cam/live", "rtsp://user@cam/live"),
        ("rtsp://user:secret@cam:554/a?b=c", "rtsp://user:***@cam:554/a?b=c"),
        ("rtsp://user:se@cr:et@cam/a@b", "rtsp://user:***@cam/a@b"),
        ("rtsp://user:sec/ret@cam/live", "rtsp://user:***@cam/live"),
        ("rtsp://user:sec#ret@cam/live", "rtsp://user:***@cam/live"),
        ("rtsp://cam:554/ch@1", "rtsp://cam:554/ch@1"),
        ("rtsp://[::1]:554/ch", "rtsp://[::1]:554/ch"),
        ("http://cam/v.cgi?usr=a&pwd=secret&r=1", "http://cam/v.cgi?usr=a&pwd=***&r=1"),
        ("http://cam/v?token=secret", "http://cam/v?token=***"),
        ("http://cam/v?monkey=5", "http://cam/v?monkey=5"),
        ("rtsp://cam/user=a_password=secret_channel=1", "rtsp://cam/user=a_password=***_channel=1"),
        ("cannot open 'rtsp://u:secret@cam/x': no", "cannot open 'rtsp://u:***@cam/x': no"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_what_is_shown_has_no_password(uri: str, expected: str) -> None:
    assert shown(uri) == expected


def test_a_password_is_found_whatever_is_in_it() -> None:
    assert split_credentials("us%20er:p:a@s%2Fs@[::1]:80") == ("us er", "p:a@s/s", "[::1]:80")
    assert split_credentials("cam:80") == ("", "", "cam:80")


def test_characters_of_a_password_are_quoted_once() -> None:
    assert quoted_credentials("user:p:a@s%2Fs@cam") == "user:p%3Aa%40s%2Fs@cam"
    assert quoted_credentials("cam:80") == "cam:80"
