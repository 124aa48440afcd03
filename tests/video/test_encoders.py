"""edgeseg.video.sinks.encoders."""

from fractions import Fraction

import pytest

from edgeseg.errors import OutputError, UsageError
from edgeseg.types import Size
from edgeseg.video.sinks import encoders
from edgeseg.video.sinks.encoders import Encoder

SIZE = Size(64, 96)
NTSC = Fraction(30000, 1001)


def chosen(name: str | None) -> str:
    return encoders.chosen_encoder(name, SIZE, NTSC).name


def test_codecs_fall_back_and_unknown_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="did you mean 'libx264'"):
        chosen("x264")
    monkeypatch.setattr(encoders, "has_encoder", lambda name: name == "mpeg4")
    assert chosen(None) == "mpeg4"
    with pytest.raises(UsageError, match="no encoder libx264"):
        chosen("libx264")


def test_an_encoder_in_hardware_is_taken_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {
        "h264_nvenc": Encoder(name="h264_nvenc", options={"gpu": "63"}, in_hardware=True),
        "mpeg4": Encoder(name="mpeg4", in_hardware=True),
        "libx264": Encoder(name="libx264"),
    }
    monkeypatch.setattr(encoders, "ENCODERS", table)
    assert chosen(None) == "mpeg4"
    with pytest.raises(OutputError, match=r"h264_nvenc does not work here for 96x64: \w+"):
        chosen("h264_nvenc")


def test_an_encoder_that_loses_frames_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    tested = Encoder(name="libx264")
    assert encoders.failure_of(tested, SIZE, NTSC) is None
    monkeypatch.setattr(encoders, "TRIAL_FRAMES", 0)
    assert encoders.failure_of(tested, SIZE, NTSC) is not None
