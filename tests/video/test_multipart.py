"""edgeseg.video.sources.multipart: the parts of an MJPEG answer, byte by byte."""

import pytest

from edgeseg.errors import VideoError
from edgeseg.video.sources import multipart
from edgeseg.video.sources.multipart import pictures
from tests.video.mjpeg_server import grey_level

ONE, TWO = grey_level(10), grey_level(200)
# A JPEG with a whole small one in its head, as cameras write previews.
WITH_PREVIEW = ONE[:2] + b"\xff\xe1" + (len(TWO) + 2).to_bytes(2, "big") + TWO + ONE[2:]


def split(data: bytes, boundary: str = "b", *, size: int = 7) -> list[bytes]:
    """What comes of `data` that arrives in pieces of `size` bytes."""
    pieces = iter([data[at : at + size] for at in range(0, len(data), size)])
    return list(pictures(lambda: next(pieces, b""), boundary))


def part(body: bytes, *, mark: bytes = b"--b", length: bool = False, end: bytes = b"\r\n") -> bytes:
    lines = [mark, b"Content-Type: image/jpeg"]
    lines += [b"content-length: %d" % len(body)] if length else []
    return end.join([*lines, b"", body, b""])


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("body", [ONE, WITH_PREVIEW])
def test_parts_are_found_whatever_their_form(length: bool, end: bytes, body: bytes) -> None:
    data = part(body, length=length, end=end) + part(TWO, length=length, end=end) + b"--b--"
    assert split(b"preamble" + end + data) == [body, TWO]


@pytest.mark.parametrize("boundary", ["--b", '"b"', "b"])
def test_a_boundary_may_be_named_with_dashes_or_quotes(boundary: str) -> None:
    assert split(part(ONE), boundary) == [ONE]


def test_a_part_without_an_end_of_its_jpeg_ends_before_the_boundary() -> None:
    assert split(part(ONE[:100]) + part(TWO)) == [ONE[:100], TWO]


def test_a_wrong_length_spoils_one_part_only() -> None:
    wrong = part(ONE, length=True).replace(b": %d" % len(ONE), b": %d" % (len(ONE) - 9))
    assert split(wrong + part(TWO, length=True)) == [ONE[:-9], TWO]


def test_a_part_that_is_no_picture_is_left_out() -> None:
    text = part(b"now", length=True).replace(b"image/jpeg", b"text/plain")
    assert split(text + part(ONE)) == [ONE]


def test_an_empty_part_is_left_out_and_does_not_end_the_decoder() -> None:
    assert split(part(ONE, length=True) + part(b"", length=True) + part(b"") + part(TWO)) == [
        ONE,
        TWO,
    ]


def test_what_has_no_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "MOST_BYTES", 1000)
    with pytest.raises(VideoError, match="more than 1000 bytes"):
        split(part(ONE[:-2] + bytes(2000)))
    with pytest.raises(VideoError, match="1000 are the most"):
        split(part(bytes(1001), length=True))
    with pytest.raises(VideoError, match="no end of its head"):
        split(b"--b" + b"x" * 70_000, size=1000)
