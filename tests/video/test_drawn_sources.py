"""edgeseg.video.sources.synthetic and edgeseg.video.sources.null."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.scene import Street
from edgeseg.types import PixelFormat, Pixels, Size, Source
from edgeseg.video import open_source
from edgeseg.video.sources.synthetic import SyntheticStreet

ReadAll = Callable[[Source], list[Pixels]]
SMALL = "synthetic://?seconds=0.5&size=96x64&seed=3&fps=4"


def test_defaults_are_ten_seconds_at_thirty() -> None:
    info = open_source("synthetic://").info
    assert (info.size, info.fps, info.frames) == (Size(480, 640), Fraction(30), 300)


def test_frames_and_truth_are_those_of_the_street() -> None:
    source = open_source(SMALL)
    assert isinstance(source, SyntheticStreet)
    pixels = np.empty((64, 96, 3), np.uint8)
    source.read_into(pixels)
    time = source.read_into(pixels)
    picture, truth = Street(3, Size(64, 96)).frame(0.25)
    assert time is not None
    assert time.pts_s == 0.25
    np.testing.assert_array_equal(pixels, picture)
    np.testing.assert_array_equal(source.truth, truth)
    assert source.read_into(pixels) is None


def test_rate_and_size_of_the_call_fill_what_the_uri_leaves_out() -> None:
    info = open_source("synthetic://", rate=Fraction(30000, 1001), scale_to=Size(64, 96)).info
    assert (info.fps, info.size) == (Fraction(30000, 1001), Size(64, 96))
    with pytest.raises(UsageError, match="4 fps"):
        open_source(SMALL, rate=Fraction(5))
    with pytest.raises(UsageError, match="96x64"):
        open_source(SMALL, scale_to=Size(64, 64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("?sed=3", "did you mean 'seed'"),
        ("?colour=red", "fps, seconds, seed, size"),
        ("?seed=3&seed=4", "twice"),
        ("?seed=x", "whole number"),
        ("?seconds=-1", "above 0"),
        ("?fps=1/0", "above 0"),
        ("?size=big", "not a size"),
        ("street", "seconds, size, seed, fps"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(f"synthetic://{options}")


def test_null_gives_grey_frames_in_every_format(read_all: ReadAll) -> None:
    frames = read_all(open_source("null://?seconds=1&fps=3&size=32x16"))
    assert len(frames) == 3
    assert (frames[0] == 128).all()
    with pytest.raises(UsageError, match="even"):
        open_source("null://?size=33x16", pixel_format=PixelFormat.I420)
