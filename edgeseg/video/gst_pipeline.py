"""A GStreamer pipeline that ends in an appsink: parsed, started, pulled from, ended."""

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from edgeseg.errors import EdgesegError, MissingPackage, UsageError, VideoError
from edgeseg.video.gst_memory import Sample, is_over, pointer_of, pulled
from edgeseg.video.gstreamer import apt_line_of, glib, gst, shown_pipeline

START_S = 5.0
"""The longest that a pipeline may take to start."""
FIRST_FRAME_S = 12.0
"""And then to its first frame: rtspsrc waits for five seconds before it tries TCP."""
_END_S = 0.8
_POLL_S = 0.05
_OLDEST_S = 10.0
"""A time stamp further back than this is not believed."""

_FIXES = {
    ("gst-resource-error-quark", 3): "check the name of the device, the file or the address",
    ("gst-resource-error-quark", 4): "end the program that holds it: fuser -v shows which",
    ("gst-resource-error-quark", 5): "check that it is there, and that you may read it",
    ("gst-stream-error-quark", 6): "install the decoder: sudo apt install gstreamer1.0-libav",
    ("gst-core-error-quark", 12): "install it: sudo apt install gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-libav",
}
_ANY_FIX = "try it by itself: gst-launch-1.0 -v PIPELINE ! fakesink"
_RAW_FIX = "let it end in raw video: ... ! decodebin; on a Jetson: ... ! nvvidconv"

_PARSE_NO_ELEMENT, _PARSE_LINK = 1, 3

log = logging.getLogger(__name__)
T = TypeVar("T")


class NotNegotiated(VideoError):
    """The pipeline cannot deliver frames in the format that was asked for."""


class Pipeline:
    """The frames of a pipeline; `close` ends it, and frames that are held stay valid."""

    def __init__(self, text: str, caps: str) -> None:
        self.text = shown_pipeline(text)
        """Without passwords."""
        self.bounded = re.search(r"\bnum-buffers\s*=", text) is not None
        """Whether it was told how many frames there are."""
        self._gst = gst()
        self._pipeline: Any = _parsed(self._gst, with_appsink(text))
        self._bus = self._pipeline.get_bus()
        self._sink = _appsink_of(self._gst, self._pipeline, text)
        self._pointer = pointer_of(self._sink)
        self._over = False
        self._missing = ""
        self.live = False
        """Whether frames come at their own time; else the pipeline waits for the clock."""
        self._set_up(caps)

    def start(self) -> Sample:
        """Start, and give the first frame.

        Raises:
            NotNegotiated: it delivers no frames in the formats of the caps.
            VideoError: it does not start, or no frame came in time.
        """
        states, play = self._gst.State, self._gst.StateChangeReturn
        reached = self._set_state(states.PAUSED)
        self.live = reached == play.NO_PREROLL
        if self.live:  # a live frame that waits for its time only grows old
            self._sink.set_property("sync", False)
        if reached != play.FAILURE:
            reached = self._set_state(states.PLAYING)
        end_s = time.monotonic() + FIRST_FRAME_S
        while reached != play.FAILURE and time.monotonic() < end_s:
            sample = self.pull(_POLL_S)
            if sample is not None:
                return sample
            if self.is_over:
                raise VideoError(f"{self.text} ends without a frame", fix=_ANY_FIX)
        self.check()
        problem = "does not start" if reached == play.FAILURE else "delivers no frame"
        raise VideoError(f"the pipeline {self.text} {problem}", fix=_ANY_FIX)

    @property
    def is_over(self) -> bool:
        """Whether the last frame was given out."""
        if self._pipeline is not None:
            self._over = is_over(self._pointer)
        return self._over

    def pull(self, timeout_s: float) -> Sample | None:
        """The next frame; None where none came in time, or no more will.

        Raises:
            VideoError: the pipeline broke, in GStreamer's own words.
        """
        sample = pulled(self._pointer, int(timeout_s * 1e9)) if self._pipeline else None
        if sample is None:
            self.check()
        else:
            self._drop_messages()
        return sample

    def check(self) -> None:
        """Nothing, unless an element has reported an error: that is raised."""
        if self._pipeline is None:
            return
        kinds = self._gst.MessageType
        while (message := self._bus.pop_filtered(kinds.ERROR | kinds.ELEMENT)) is not None:
            if message.type == kinds.ERROR:
                raise _error_of(message, self.text, self._missing)
            told = message.get_structure()
            if told is not None and told.get_name() == "missing-plugin":
                self._missing = told.get_string("name") or ""

    def captured_s(self, sample: Sample) -> float:
        """When `sample` was captured, on the clock of time.monotonic()."""
        now_s, running_ns = time.monotonic(), sample.running_ns
        clock = self._pipeline.get_clock() if self.live and self._pipeline else None
        if clock is None or running_ns is None:
            return now_s
        age_s = (clock.get_time() - self._pipeline.get_base_time() - running_ns) / 1e9
        return now_s - age_s if 0 <= age_s <= _OLDEST_S else now_s

    def close(self) -> None:
        """End the pipeline; one whose driver hangs is left to a thread of its own."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is None:
            return
        try:
            within(lambda: pipeline.set_state(self._gst.State.NULL), _END_S)
        except VideoError:
            log.warning("the pipeline %s does not end", self.text)

    def _drop_messages(self) -> None:
        """Let go of what nobody reads; an error waits for the frames before it."""
        while (message := self._bus.peek()) is not None:
            if message.type == self._gst.MessageType.ERROR:
                return
            self._bus.pop()

    def _set_up(self, caps: str) -> None:
        sink = self._sink
        if sink.get_property("caps") is None:
            wanted = self._gst.Caps.from_string(caps)
            self._refuse_unless_possible(wanted)
            sink.set_property("caps", wanted)
        # Who reads decides what is dropped, and counts it.
        for name, value in (("drop", False), ("max-buffers", 2), ("enable-last-sample", False)):
            sink.set_property(name, value)

    def _refuse_unless_possible(self, wanted: Any) -> None:
        """Find out without starting a camera, which takes seconds and may fail soon after."""
        possible = self._sink.get_static_pad("sink").peer_query_caps(None)
        if possible is None or possible.can_intersect(wanted):
            return
        kinds = {possible.get_structure(i).get_name() for i in range(possible.get_size())}
        raise NotNegotiated(
            f"the pipeline {self.text} ends in {', '.join(sorted(kinds)) or 'nothing'}, not in "
            f"{wanted.to_string()}",
            fix=_RAW_FIX,
        )

    def _set_state(self, state: Any) -> Any:
        try:
            return within(lambda: self._pipeline.set_state(state), START_S)
        except VideoError as error:
            raise VideoError(
                f"the pipeline {self.text} did not start within {START_S:.0f} s", fix=_ANY_FIX
            ) from error


def with_appsink(text: str) -> str:
    """`text`, ending in an appsink."""
    return text if re.search(r"\bappsink\b", text) else f"{text.rstrip().rstrip('!')} ! appsink"


def within(call: Callable[[], T], timeout_s: float) -> T:
    """What `call` gives, made in a thread that is left alone when it takes too long.

    Raises:
        VideoError: it did.
    """
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not results:
        raise VideoError(f"no answer within {timeout_s:.0f} s")
    return results[0]


def _parsed(gst_module: Any, text: str) -> Any:
    try:
        pipeline = gst_module.parse_launch(text)
    except glib().Error as error:
        raise _parse_error(text, error.message, error.code) from error
    if not isinstance(pipeline, gst_module.Pipeline):
        raise UsageError(
            f"{shown_pipeline(text)!r} is not a whole pipeline",
            fix="write elements from a source on, joined by !",
        )
    return pipeline


def _parse_error(text: str, message: str, code: int) -> EdgesegError:
    problem = shown_pipeline(f"GStreamer does not take the pipeline {text!r}: {message}")
    if text.lstrip().startswith("gst-launch-1.0"):
        return UsageError(problem, fix="leave gst-launch-1.0 and its options away")
    if code == _PARSE_NO_ELEMENT:
        names = re.findall(r'"([^"]+)"', message)
        return MissingPackage(problem, fix=apt_line_of(names))
    if code == _PARSE_LINK:
        return NotNegotiated(
            problem, fix="let it end in raw video, before any sink: ... ! decodebin"
        )
    return UsageError(problem, fix="write it as for gst-launch-1.0, without a sink at its end")


def _appsink_of(gst_module: Any, pipeline: Any, text: str) -> Any:
    """The one appsink of `pipeline`."""
    found: list[Any] = []
    elements = pipeline.iterate_all_by_element_factory_name("appsink")
    while True:
        result, element = elements.next()
        if result != gst_module.IteratorResult.OK:
            break
        found.append(element)
    if len(found) != 1:
        raise UsageError(
            f"{shown_pipeline(text)!r} has {len(found)} appsinks",
            fix="write one, or none at all: it is added",
        )
    return found[0]


def _error_of(message: Any, text: str, missing: str) -> VideoError:
    error, debug = message.parse_error()
    where = message.src.get_name() if message.src is not None else "GStreamer"
    detail = ""
    with contextlib.suppress(IndexError):
        detail = (debug or "").strip().splitlines()[-1].strip()
    problem = f"the pipeline {text}: {where} says: {error.message}"
    if missing:
        problem += f" (missing: {missing})"
    elif detail and detail not in problem:
        problem += f" ({detail})"
    problem = shown_pipeline(problem)
    if re.search(r"not-negotiated|not-linked|[Dd]elayed linking", f"{debug} {error.message}"):
        return NotNegotiated(problem, fix=_RAW_FIX)
    return VideoError(problem, fix=_FIXES.get((error.domain, error.code), _ANY_FIX))
