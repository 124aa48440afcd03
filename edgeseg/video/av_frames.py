"""Decoded frames of PyAV, written in the caller's format, size and colours into its memory."""

import logging
from typing import TypedDict

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from edgeseg.errors import VideoError
from edgeseg.frames import SourceCounts, YuvKind, usual_yuv
from edgeseg.types import Buffer, PixelFormat, Pixels, Size
from edgeseg.video.pixels import checked
from edgeseg.video.planes import PackedWriter, PlaneWriter
from edgeseg.yuv import Colours, colours_of

log = logging.getLogger(__name__)

_PACKED = {
    PixelFormat.RGB8: "rgb24",
    PixelFormat.BGR8: "bgr24",
    PixelFormat.RGBA8: "rgba",
    PixelFormat.BGRX8: "bgr0",
}

# Whose memory is planes of bytes already; of 4:2:2, as most MJPEG is, two rows of chroma make one.
_TALL = frozenset({"yuv422p", "yuvj422p"})
_PLANAR = _TALL | {"yuv420p", "yuvj420p", "nv12"}

# AVColorSpace; what is not here (YCgCo, ICtCp, or nothing said) is taken for the usual matrix.
_MATRICES = {
    1: "bt709",
    4: "fcc",
    5: "bt601",
    6: "bt601",
    7: "smpte240m",
    9: "bt2020",
    10: "bt2020",
}
_SWSCALE: dict[str, int] = {
    "bt709": Colorspace.ITU709,
    "fcc": Colorspace.FCC,
    "bt601": Colorspace.ITU601,
    "smpte240m": Colorspace.SMPTE240M,
    "bt2020": 9,  # SWS_CS_BT2020, which PyAV has a name for from 18 on
}

_RANGES = {False: ColorRange.MPEG, True: ColorRange.JPEG}

# By frame.rotation, which counts degrees counterclockwise, modulo 360.
_TURNS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}
_SIDEWAYS = frozenset({cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_90_COUNTERCLOCKWISE})


class _SourceColours(TypedDict, total=False):
    src_colorspace: int
    src_color_range: ColorRange


class FrameWriter:
    """Writes frames of one source; belongs to the thread that calls `write`.

    I420 and NV12 are the decoded planes as they are, where these have the wanted size; where matrix
    or range are others than `yuv` they are converted and counted. RGB is made of the same planes
    with the frame's own matrix and range, to the nearest level: the very levels that a network
    built for I420 or NV12 computes.
    """

    def __init__(
        self, pixel_format: PixelFormat, size: Size, *, yuv: YuvKind, counts: SourceCounts
    ) -> None:
        self._format, self._size, self._counts = pixel_format, size, counts
        self._wanted = colours_of(yuv)
        self._packed: PackedWriter | None = None
        self._planes: PlaneWriter | None = None
        if pixel_format in _PACKED:
            self._packed = PackedWriter(pixel_format, size)
        else:
            self._planes = PlaneWriter(pixel_format, size, into=self._wanted)
        self._reformatter = VideoReformatter()
        self._turned: list[Pixels] = []
        self._halved: list[Pixels] = []
        self._told: Colours | None = None

    def write(self, frame: VideoFrame, pixels: Buffer) -> None:
        """Fill `pixels` with `frame`, upright; the only copy after decoding and conversion.

        Raises:
            VideoError: FFmpeg cannot convert frames of this kind.
        """
        checked(pixels, self._format, self._size)
        try:
            source = colours_in(frame)
            if self._planes is not None:
                self._write_planes(self._planes, frame, source, pixels)
            elif self._packed is not None and source is not None and not _is_grey(frame):
                self._packed.write(self._yuv(frame, source, source), source, pixels)
            else:
                self._write_packed(frame, source, pixels)
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(
                f"{frame.format.name} frames of {frame.width}x{frame.height} cannot be converted: "
                f"{error}",
                fix="convert the video, for example with: ffmpeg -i IN -pix_fmt yuv420p OUT.mp4",
            ) from error

    def _write_packed(self, frame: VideoFrame, source: Colours | None, pixels: Buffer) -> None:
        """Let swscale make the pixels of what has them, or grey ones, already."""
        turn = _turn_of(frame)
        made = self._reformatted(frame, _PACKED[self._format], turn, source=source)
        view = _view(made.planes[0], pixels.shape[2])
        if turn is None:
            np.copyto(pixels, view)
        else:
            cv2.rotate(view, turn, dst=pixels)

    def _write_planes(
        self, writer: PlaneWriter, frame: VideoFrame, source: Colours | None, pixels: Buffer
    ) -> None:
        if source is not None and _is_grey(frame):
            source = source._replace(matrix=self._wanted.matrix)  # there is none in grey
        if source is not None and source != self._wanted:
            self._count_conversion(source)
        colours = source or self._wanted  # swscale makes them of RGB
        writer.write(self._yuv(frame, source, colours), colours, pixels)

    def _yuv(self, frame: VideoFrame, source: Colours | None, target: Colours) -> list[Pixels]:
        """The 4:2:0 planes of `frame`, upright and in the wanted size, of the colours `target`."""
        turn = _turn_of(frame)
        if not self._is_as_wanted(frame, turn):
            frame = self._reformatted(frame, "yuv420p", turn, source=source, target=target)
        luma, *chroma = frame.planes
        planes = [_view(luma, 1), *(_view(plane, 3 - len(chroma)) for plane in chroma)]
        if frame.format.name in _TALL:
            planes[1:] = self._lower(planes[1:])
        return planes if turn is None else self._upright(planes, turn)

    def _is_as_wanted(self, frame: VideoFrame, turn: int | None) -> bool:
        """Whether the planes of `frame` can be taken as they are."""
        return (
            frame.format.name in _PLANAR
            and (frame.height, frame.width) == _turned_size(self._size, turn)
            and frame.planes[0].line_size > 0
            and (frame.height % 2 == 0 or frame.format.name not in _TALL)
            and (turn is None or len(frame.planes) == 3)
        )

    def _lower(self, chroma: list[Pixels]) -> list[Pixels]:
        """The mean of every two rows; swscale takes ten times as long for it."""
        if not self._halved:
            self._halved = [np.empty((len(p) // 2, p.shape[1]), np.uint8) for p in chroma]
        for plane, target in zip(chroma, self._halved, strict=True):
            cv2.addWeighted(plane[0::2], 0.5, plane[1::2], 0.5, 0, dst=target)
        return self._halved

    def _upright(self, planes: list[Pixels], turn: int) -> list[Pixels]:
        if not self._turned:
            self._turned = [np.empty(_turned_size(Size(*p.shape), turn), np.uint8) for p in planes]
        for plane, target in zip(planes, self._turned, strict=True):
            cv2.rotate(plane, turn, dst=target)
        return self._turned

    def _count_conversion(self, colours: Colours) -> None:
        self._counts.converted += 1
        if colours != self._told:
            self._told = colours
            log.info(
                "the frames are %s and the engine is built for %s: each is converted",
                colours, self._wanted,
            )  # fmt: skip

    def _reformatted(
        self,
        frame: VideoFrame,
        name: str,
        turn: int | None,
        *,
        source: Colours | None,
        target: Colours | None = None,
    ) -> VideoFrame:
        """`frame` in the format `name` and in the size before it is turned; None is for RGB."""
        height, width = _turned_size(self._size, turn)
        if frame.planes[0].line_size < 0:
            # Bottom-up memory, which PyAV's planes do not describe; swscale copies it upright.
            frame = self._reformatter.reformat(frame, format="gbrp", threads=1, **_from(source))
            source = None
        return self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=name,
            threads=1,
            **_from(source),
            dst_colorspace=_SWSCALE[target.matrix] if target else None,
            dst_color_range=_RANGES[target is None or target.full],
        )


def upright_size(frame: VideoFrame) -> Size:
    """The size of `frame` after it was turned as its display matrix says."""
    return _turned_size(Size(frame.height, frame.width), _turn_of(frame))


def colours_in(frame: VideoFrame) -> Colours | None:
    """What the numbers of `frame` mean, as it says or as is usual for its size; None for RGB."""
    kind = frame.format
    if kind.is_rgb or kind.has_palette:
        return None
    usual = colours_of(usual_yuv(Size(frame.height, frame.width)))
    # Single luma is full range for swscale, whatever the frame says.
    full = kind.name.startswith("yuvj") or _is_grey(frame)
    return Colours(
        _MATRICES.get(int(frame.colorspace), usual.matrix),
        full or int(frame.color_range) == ColorRange.JPEG,
    )


def _is_grey(frame: VideoFrame) -> bool:
    return len(frame.format.components) == 1


def _turn_of(frame: VideoFrame) -> int | None:
    return _TURNS.get(round(frame.rotation / 90) * 90 % 360)


def _turned_size(size: Size, turn: int | None) -> Size:
    return Size(size.width, size.height) if turn in _SIDEWAYS else size


def _from(colours: Colours | None) -> _SourceColours:
    if colours is None:
        return {}
    return {
        "src_colorspace": _SWSCALE[colours.matrix],
        "src_color_range": _RANGES[colours.full],
    }


def _view(plane: VideoPlane, channels: int) -> Pixels:
    """The pixels of `plane` in its own memory, whose rows may be longer."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    rows = rows[:, : plane.width * channels]
    return rows.reshape(plane.height, plane.width, channels) if channels > 1 else rows
