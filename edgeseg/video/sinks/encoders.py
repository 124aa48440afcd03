"""Which encoder writes a video: the hardware's where it works, else x264, else MPEG-4."""

import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import av
import av.logging
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from edgeseg.errors import OutputError, UsageError
from edgeseg.tables import known
from edgeseg.types import Size

TRIAL_FRAMES = 3

# Every second is complete on the disk by itself; at the end the file becomes an ordinary one. With
# the table delayed to the first piece, times start at 0 although frames are reordered.
_IN_PIECES = {"movflags": "+hybrid_fragmented+delay_moov", "frag_duration": "1000000"}

CONTAINERS: dict[str, dict[str, str]] = {
    "mp4": _IN_PIECES,
    "mov": _IN_PIECES,
    "matroska": {"cluster_time_limit": "1000"},
    "avi": {},
}
"""Formats of FFmpeg, and what makes the part of them that is written play."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """An encoder of FFmpeg, set to about the same quality as the others."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    bits_per_pixel: float | None = None
    """For one that knows a rate and no quality."""
    in_hardware: bool = False
    finest_tick: Fraction = Fraction(1, 90_000)
    """The unit of time of frames that come when they like, in seconds."""


# Best first. MPEG-4 has a fixed quantiser, since its rate control blurs at 200 kbit/s when left
# alone, and a field of its header has 16 bits.
ENCODERS = {
    encoder.name: encoder
    for encoder in (
        Encoder(
            name="h264_nvenc",
            options={"preset": "p4", "rc": "constqp", "qp": "23"},
            in_hardware=True,
        ),
        Encoder(name="h264_v4l2m2m", bits_per_pixel=0.12, in_hardware=True),
        Encoder(name="libx264", options={"preset": "veryfast", "crf": "20"}),
        Encoder(name="mpeg4", options={"qmin": "3", "qmax": "3"}, finest_tick=Fraction(1, 60_000)),
    )
}

_MPEG4_TICKS = 65535


def chosen_encoder(name: str | None, size: Size, fps: Fraction, container: str = "mp4") -> Encoder:
    """The Encoder `name`, or the first one that works here; of CONTAINERS, `container` holds it.

    An encoder in hardware is believed when pictures of this size came back from it.

    Raises:
        UsageError: no such codec, or FFmpeg was built without it.
        OutputError: the named one is there and does not work.
    """
    if name is not None:
        return _named(known(ENCODERS, name, kind="video codec"), size, fps, container)
    for encoder in ENCODERS.values():
        if not has_encoder(encoder.name):
            continue
        reason = failure_of(encoder, size, fps, container) if encoder.in_hardware else None
        if reason is None:
            return encoder
        log.debug("%s does not work here: %s", encoder.name, reason)
    raise UsageError(f"this FFmpeg has no encoder {' or '.join(ENCODERS)}", fix="pip install av")


def has_encoder(name: str) -> bool:
    """Whether this FFmpeg was built with the encoder."""
    try:
        av.codec.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def failure_of(encoder: Encoder, size: Size, fps: Fraction, container: str = "mp4") -> str | None:
    """Why `encoder` cannot write `container` here; None where a few frames came back from it."""
    memory = io.BytesIO()
    grey = VideoFrame(size.width, size.height, "yuv420p")
    for plane in grey.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    try:
        with av.open(memory, "w", format=container, options=CONTAINERS[container]) as target:
            stream = add_stream(target, encoder, size=size, fps=fps)
            for index in range(TRIAL_FRAMES):
                grey.pts = index
                target.mux(stream.encode(grey))
            target.mux(stream.encode(None))
        memory.seek(0)
        with av.open(memory, "r") as written:
            frames = [(frame.height, frame.width) for frame in written.decode(video=0)]
    except (av.FFmpegError, OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None if frames == [tuple(size)] * TRIAL_FRAMES else "its frames do not come back"


def add_stream(
    container: OutputContainer,
    encoder: Encoder,
    *,
    size: Size,
    fps: Fraction,
    tick: Fraction | None = None,
    threads: int = 1,
    pixel_aspect: Fraction = Fraction(1),
) -> VideoStream:
    """A new stream of yuv420p frames in `container`, their times in units of `tick` seconds.

    Without a tick they count the frames of a constant rate. Colours are BT.601, limited range.
    """
    if encoder.name == "mpeg4":
        fps = 1 / (1 / fps).limit_denominator(_MPEG4_TICKS)
    options = dict(encoder.options)
    if container.format.name == "avi":
        options["bf"] = "0"  # AVI has no place for the times of frames that are reordered
    stream = container.add_stream(encoder.name, rate=fps, options=options)
    assert isinstance(stream, VideoStream)
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = tick or 1 / fps
    stream.codec_context.sample_aspect_ratio = pixel_aspect.limit_denominator(255)
    if encoder.bits_per_pixel is not None:
        stream.bit_rate = int(encoder.bits_per_pixel * size.height * size.width * fps)
    stream.thread_count = threads
    stream.colorspace = Colorspace.ITU601
    stream.color_range = ColorRange.MPEG
    return stream


def _named(name: str, size: Size, fps: Fraction, container: str) -> Encoder:
    encoder = ENCODERS[name]
    if not has_encoder(name):
        raise UsageError(f"this FFmpeg has no encoder {name}", fix="choose another codec")
    if encoder.in_hardware and (reason := _failure_in_full(encoder, size, fps, container)):
        raise OutputError(
            f"the encoder {name} does not work here for {size}: {reason}",
            fix="give no codec, and the best one that works is taken",
        )
    return encoder


def _failure_in_full(encoder: Encoder, size: Size, fps: Fraction, container: str) -> str | None:
    """What `failure_of` says, and before it what FFmpeg logs, which knows the cause."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as logged:
            reason = failure_of(encoder, size, fps, container)
    finally:
        av.logging.set_level(before)
    if reason is None:
        return None
    return "; ".join([*(message.strip() for _, _, message in logged), reason])
