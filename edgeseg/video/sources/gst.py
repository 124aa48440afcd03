"""Any GStreamer pipeline as a source: `gst://videotestsrc ! video/x-raw,width=640,height=480`.

Through PyGObject, where this Python has it; else through an OpenCV that was built with GStreamer.
"""

import logging
from urllib.parse import unquote

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from edgeseg.errors import MissingPackage, UsageError, VideoError
from edgeseg.frames import VideoInfo, YuvKind, usual_yuv
from edgeseg.types import Buffer, PixelFormat, Size
from edgeseg.video.av_frames import FrameWriter
from edgeseg.video.capture import Capture
from edgeseg.video.gst_memory import Layout, Mapped, Sample
from edgeseg.video.gst_pipeline import NotNegotiated, Pipeline
from edgeseg.video.gstreamer import gst
from edgeseg.video.pixels import checked
from edgeseg.video.planes import planes_of
from edgeseg.video.sources import SourceOptions
from edgeseg.video.sources.gst_cv2 import Cv2Pipeline, cv2_has_gstreamer

GST_FORMATS = {
    PixelFormat.RGB8: "RGB",
    PixelFormat.BGR8: "BGR",
    PixelFormat.RGBA8: "RGBA",
    PixelFormat.BGRX8: "BGRx",
    PixelFormat.NV12: "NV12",
    PixelFormat.I420: "I420",
}
"""GStreamer's names."""

# What swscale converts, by GStreamer's names; those that lose least come first.
_AV_FORMATS = {
    "I420": "yuv420p",
    "NV12": "nv12",
    "NV21": "nv21",
    "RGB": "rgb24",
    "BGR": "bgr24",
    "RGBA": "rgba",
    "BGRA": "bgra",
    "RGBx": "rgb0",
    "BGRx": "bgr0",
    "YUY2": "yuyv422",
    "UYVY": "uyvy422",
    "Y42B": "yuv422p",
    "Y444": "yuv444p",
    "GRAY8": "gray",
    "I420_10LE": "yuv420p10le",
    "P010_10LE": "p010le",
    "I422_10LE": "yuv422p10le",
}
_RGB_NAMES = frozenset({"RGB", "BGR", "RGBA", "BGRA", "RGBx", "BGRx"})
_AV_MATRICES = {"bt709": 1, "bt601": 6, "bt2020": 9}
_UNKNOWN_MATRIX, _RGB_MATRIX = 2, 0
_AV_RANGES = {None: 0, False: 1, True: 2}

log = logging.getLogger(__name__)


class GstCamera:
    """The frames of a pipeline, still in GStreamer's memory until somebody copies them."""

    def __init__(
        self, text: str, wanted: SourceOptions, *, scale_to: Size | None = None, name: str = "gst"
    ) -> None:
        self._wanted = wanted
        self._pipeline, first = _started(text, wanted)
        self._first: Sample | None = first
        layout = first.layout
        try:
            self.info = VideoInfo(
                size=scale_to or layout.size,
                fps=layout.fps,
                pixel_format=wanted.pixel_format,
                name=name,
                live=True,
                pixel_aspect=layout.pixel_aspect,
            )
            wanted.pixel_format.frame_shape(self.info.size)  # refuses an odd size in 4:2:0
        except BaseException:
            self.close()
            raise
        self._staged: VideoFrame | None = None
        log.info("%s delivers %s in %s", name, layout.format, layout.size)
        self._writer = FrameWriter(
            wanted.pixel_format, self.info.size, yuv=wanted.yuv, counts=wanted.counts
        )

    @property
    def ended(self) -> bool:
        """Whether the pipeline is at its end."""
        return self._first is None and self._pipeline.is_over

    def grab(self, timeout_s: float) -> "GstGrab | None":
        """The next frame; None where none came in time, or at the end.

        Raises:
            VideoError: the pipeline broke, or a camera in it has ended.
        """
        sample, self._first = self._first, None
        if sample is None:
            sample = self._pipeline.pull(timeout_s)
        if sample is None:
            self._refuse_to_end()
            return None
        return GstGrab(self, sample, self._pipeline.captured_s(sample))

    def write(self, sample: Sample, pixels: Buffer) -> None:
        """Fill `pixels` with `sample`: row by row where it fits as it is, else converted."""
        checked(pixels, self.info.pixel_format, self.info.size)
        with sample.mapped() as planes:
            if self._fits(sample.layout):
                _copy(planes, pixels, self.info.pixel_format)
            else:
                self._staged = _staged(self._staged, planes, sample.layout)
                self._writer.write(self._staged, pixels)

    def close(self) -> None:
        """End the pipeline; frames that are held stay valid."""
        if self._first is not None:
            self._first.release()
            self._first = None
        self._pipeline.close()

    def _refuse_to_end(self) -> None:
        """Nothing, unless what never ends by itself did: a server or a camera went away."""
        pipeline = self._pipeline
        if pipeline.live and not pipeline.bounded and pipeline.is_over:
            raise VideoError(f"the pipeline {pipeline.text} ended", fix="look after its camera")

    def _fits(self, layout: Layout) -> bool:
        pixel_format = self.info.pixel_format
        if layout.size != self.info.size or layout.format != GST_FORMATS[pixel_format]:
            return False
        return layout.format in _RGB_NAMES or kind_of(layout) == self._wanted.yuv


class GstGrab:
    """One frame of a GstCamera."""

    def __init__(self, camera: GstCamera, sample: Sample, captured_s: float) -> None:
        self.captured_s = captured_s
        self.size = sample.layout.size
        self._camera, self._sample = camera, sample

    def write_into(self, pixels: Buffer) -> None:
        """Fill `pixels`: one copy, with the conversion where the pipeline did not do it."""
        self._camera.write(self._sample, pixels)

    def release(self) -> None:
        """Give the frame back to GStreamer."""
        self._sample.release()


def open_gst(rest: str, wanted: SourceOptions) -> Capture:
    """The frames of the pipeline `rest`: as for gst-launch-1.0, plain or percent-encoded.

    An appsink is added at its end, unless it has one.

    Raises:
        UsageError: no pipeline, or one that does not parse.
        VideoError: one that does not start, in GStreamer's own words.
        MissingPackage: neither PyGObject nor an OpenCV with GStreamer is here, or an element.
    """
    text = (rest if any(letter.isspace() for letter in rest) else unquote(rest)).strip()
    if not text:
        raise UsageError(
            "gst:// names no pipeline", fix="write one: 'gst://v4l2src device=/dev/video0'"
        )
    return captured(text, wanted, name=text.split()[0])


def captured(text: str, wanted: SourceOptions, *, name: str) -> Capture:
    """The newest frame of the pipeline `text`, by whichever way to GStreamer there is."""
    try:
        gst()
    except MissingPackage as error:
        if not cv2_has_gstreamer():
            raise MissingPackage(
                f"{error.problem}; and this OpenCV was built without GStreamer, as all of pip's "
                "are",
                fix=error.fix,
            ) from error
        return Capture(lambda size: Cv2Pipeline(text, wanted, scale_to=size, name=name), wanted)
    return Capture(lambda size: GstCamera(text, wanted, scale_to=size, name=name), wanted)


def kind_of(layout: Layout) -> YuvKind | None:
    """The matrix and range of YUV frames; what they do not say is as usual; None for BT.2020."""
    usual = usual_yuv(layout.size)
    matrix = layout.matrix or usual.partition("-")[0]
    kinds: dict[tuple[str, bool], YuvKind] = {
        ("bt601", False): "bt601-limited",
        ("bt601", True): "bt601-full",
        ("bt709", False): "bt709-limited",
        ("bt709", True): "bt709-full",
    }
    return kinds.get((matrix, bool(layout.full_range)))


def _started(text: str, wanted: SourceOptions) -> tuple[Pipeline, Sample]:
    """The pipeline with what is wanted; where it has not got that, with what comes nearest."""
    *better, last = _caps_from_best(wanted)
    for caps in better:
        try:
            return _started_with(text, caps)
        except NotNegotiated as error:
            log.info("no %s: %s", caps, error.problem)
    return _started_with(text, last)


def _caps_from_best(wanted: SourceOptions) -> list[str]:
    """The rate before the format, which can be converted."""
    exact = f"video/x-raw,format={GST_FORMATS[wanted.pixel_format]}"
    readable = f"video/x-raw,format={{{','.join(_AV_FORMATS)}}}"
    if wanted.rate is None:
        return [exact, readable]
    rate = f"framerate={wanted.rate.numerator}/{wanted.rate.denominator}"
    return [f"{exact},{rate}", f"{readable},{rate}", exact, readable]


def _started_with(text: str, caps: str) -> tuple[Pipeline, Sample]:
    pipeline = Pipeline(text, caps)
    try:
        return pipeline, pipeline.start()
    except BaseException:
        pipeline.close()
        raise


def _copy(planes: Mapped, pixels: Buffer, pixel_format: PixelFormat) -> None:
    for index, target in enumerate(planes_of(pixels, pixel_format)):
        height = target.shape[0]
        lines = target.reshape(height, -1)
        np.copyto(lines, planes.rows(index, height, lines.shape[1]))


def _staged(last: VideoFrame | None, planes: Mapped, layout: Layout) -> VideoFrame:
    """A copy of the frame for swscale, in the memory of `last` where it fits."""
    if layout.format not in _AV_FORMATS:
        raise UsageError(
            f"the pipeline delivers {layout.format}, which is not read here",
            fix=f"ask it for one of {', '.join(_AV_FORMATS)}",
        )
    name, (height, width) = _AV_FORMATS[layout.format], layout.size
    frame = last
    if frame is None or (frame.format.name, frame.height, frame.width) != (name, height, width):
        frame = VideoFrame(width, height, name)
    for index, plane in enumerate(frame.planes):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        row_bytes = _bytes_of_row(frame.format, index)
        np.copyto(rows[:, :row_bytes], planes.rows(index, plane.height, row_bytes))
    rgb = layout.format in _RGB_NAMES
    frame.colorspace = (
        _RGB_MATRIX if rgb else _AV_MATRICES.get(layout.matrix or "", _UNKNOWN_MATRIX)
    )
    frame.color_range = _AV_RANGES[True if rgb else layout.full_range]
    return frame


def _bytes_of_row(video_format: VideoFormat, plane: int) -> int:
    if max(component.plane for component in video_format.components) == 0:
        return video_format.width * video_format.padded_bits_per_pixel // 8
    return sum(
        component.width * -(-component.bits // 8)
        for component in video_format.components
        if component.plane == plane
    )
