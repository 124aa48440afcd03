"""edgeseg.video.sources.synthetic and edgeseg.video.sources.null."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.frames import Source
from edgeseg.scene import Street
from edgeseg.types import PixelFormat, Pixels, Size
from edgeseg.video import SourceOptions, open_source
from edgeseg.video.sources.endless import ToAndFro
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
    source = open_source(
        "synthetic://", SourceOptions(rate=Fraction(30000, 1001), scale_to=Size(64, 96))
    )
    assert (source.info.fps, source.info.size) == (Fraction(30000, 1001), Size(64, 96))
    source.close()
    with pytest.raises(UsageError, match="96x64"):
        open_source(SMALL, SourceOptions(scale_to=Size(64, 64)))


def test_a_rate_plays_the_street_like_a_camera() -> None:
    options = SourceOptions(rate=Fraction(50))
    source = open_source(SMALL, options)
    pixels = np.empty((64, 96, 3), np.uint8)

    while source.read_into(pixels) is not None:
        pass

    assert source.info.live
    assert options.counts.captured == 2  # half a second at the 4 fps of the URI
    source.close()


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
        open_source("null://?size=33x16", SourceOptions(pixel_format=PixelFormat.I420))


def test_an_endless_street_goes_to_and_fro(read_all: ReadAll) -> None:
    drawn = read_all(open_source(SMALL))
    street = open_source(SMALL)
    source = ToAndFro(street, replace(street.info, frames=None))
    pixels = np.empty((64, 96, 3), np.uint8)

    order, indices = [], []
    for _ in range(4):
        moment = source.read_into(pixels)
        assert moment is not None
        indices.append(moment.index)
        apart = [np.abs(frame.astype(int) - pixels).mean() for frame in drawn]
        order.append(int(np.argmin(apart)))
        assert min(apart) < 8  # JPEG of the noise

    assert len(drawn) == 2
    assert order == [0, 1, 0, 1]
    assert indices == [0, 1, 2, 3]
    source.close()
    assert source.read_into(pixels) is None


def test_a_street_that_is_watched_is_a_camera_without_an_end() -> None:
    watched = open_source("synthetic://?size=64x48", SourceOptions(live=True))
    limited = open_source("synthetic://?size=64x48&seconds=1", SourceOptions(live=True))

    assert (watched.info.live, watched.info.frames) == (True, None)
    assert (limited.info.live, limited.info.frames) == (False, 30)
    watched.close()
