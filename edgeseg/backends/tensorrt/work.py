"""What the frame of one slot goes through on the GPU: prepared once, launched for each frame."""

import contextlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import tensorrt as trt

from edgeseg.backends.tensorrt.borders import REBUILD
from edgeseg.backends.tensorrt.frames import Frame
from edgeseg.backends.tensorrt.log import LOG
from edgeseg.backends.tensorrt.states import DeviceState
from edgeseg.backends.tensorrt.versions import context_without_memory, set_activation_memory
from edgeseg.device.memory import Block, Device, Graph, Stream
from edgeseg.errors import DeviceError
from edgeseg.types import STATE, STATE_OUT

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One stream, and the activation memory that the contexts in it use in turn.

    Contexts are warmed up, captured and launched in it, so that none of them uses the memory while
    another one does.
    """

    stream: Stream
    activation: Block
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while one frame is put into the stream, so that two do not mix."""


class Work:
    """The context of one slot, its events, and its graph where it could be captured.

    A context that was captured is run by its graph alone: what else is done to it is undefined.
    The lock keeps another thread from closing it while a frame is launched or waited for.
    """

    def __init__(
        self,
        device: Device,
        lane: Lane,
        frames: Sequence[Frame],
        *,
        blocking: bool,
        alone: DeviceState | None = None,
    ) -> None:
        self._device, self._lane, self._frames = device, lane, frames
        self._alone = alone
        self._context: trt.IExecutionContext | None = None
        self._graph: Graph | None = None
        self._lock = threading.Lock()
        self._retired = False
        with contextlib.ExitStack() as made:
            made.callback(self._forget)
            self._start = device.event(blocking=blocking)
            made.callback(self._start.close)
            self._end = device.event(blocking=blocking)
            made.callback(self._end.close)
            self._closing = made.pop_all()

    def prepare(self, engine: trt.ICudaEngine, *, captures: bool) -> bool:
        """Make the context ready, and capture its graph if it `captures`; False: it was refused.

        Raises:
            DeviceError: TensorRT refuses a shape, an address, or to run.
        """
        self._context = self._ready_context(engine)
        if not captures:
            return True
        try:
            with self._lane.lock:
                self._graph = self._captured(self._lane.stream)
        except DeviceError as error:
            log.info("frames are launched one by one, without a CUDA graph: %s", error.problem)
            self._context = None
            self._context = self._ready_context(engine)
            return False
        self._closing.callback(self._graph.close)
        return True

    def launch(self, state: DeviceState | None = None) -> None:
        """Put the frame into the stream; safe in any thread, beside others with their own slots.

        A plan that smooths blends it with `state`, which is left behind the frame.

        Raises:
            DeviceError: CUDA or TensorRT refuses, or the engine was closed.
        """
        with self._lock:
            self._refuse_retired()
            for frame in self._frames:
                frame.to_plan()
            with self._device.active(), self._lane.lock:
                self._bind(self._context, state)
                self._put(self._lane.stream)
                if state is not None:
                    state.swap()

    def wait(self) -> float:
        """Wait until the labels are there; the milliseconds on the GPU, copies included.

        Only for this frame: others may be behind it in the stream.

        Raises:
            DeviceError: what CUDA says went wrong since the launch, or the engine was closed.
        """
        with self._lock:
            self._refuse_retired()
            with self._device.active():
                self._end.synchronize()
                spent = self._end.ms_since(self._start)
            for frame in self._frames:
                frame.from_plan()
        return spent

    def retire(self) -> None:
        """Take no more frames; returns when no thread is at one any more."""
        with self._lock:
            self._retired = True

    def close(self) -> None:
        """Free graph, events and context, after the last frame was waited for; twice is fine."""
        self.retire()
        self._closing.close()

    def _refuse_retired(self) -> None:
        if self._retired:
            raise closed()

    def _put(self, stream: Stream) -> None:
        """All that a frame is, and at its end the mark that `wait` waits for."""
        self._attach(stream)
        try:
            self._start.record(stream)
            if self._graph is not None:
                self._graph.launch(stream)
            else:
                self._enqueue(stream)
        finally:
            self._detach()  # after an error too: the CPU writes the next frame
        self._end.record(stream)

    def _bind(self, context: trt.IExecutionContext, state: DeviceState | None) -> None:
        """Give the plan the memory of `state`, or that of a frame alone; most plans have neither.

        No graph was captured then, which would hold on to the addresses.
        """
        if self._alone is None:
            return
        addresses = (state or self._alone).addresses
        for name, address in zip((STATE, STATE_OUT), addresses, strict=True):
            if not context.set_tensor_address(name, address):
                raise _refused(f"did not take the address of {name}")

    def _forget(self) -> None:
        self._graph = None
        self._context = None

    def _ready_context(self, engine: trt.ICudaEngine) -> trt.IExecutionContext:
        """A context with shapes and addresses, run once: that loads what is loaded late."""
        LOG.clear()
        context: trt.IExecutionContext = context_without_memory(engine)
        if context is None:
            raise _refused("made no execution context")
        activation, stream = self._lane.activation, self._lane.stream
        set_activation_memory(context, activation.pointer, activation.nbytes)
        if problem := _unbound(context, self._frames, stream):
            raise _refused(problem)
        self._bind(context, None)
        with self._lane.lock:
            self._attach(stream)
            try:
                ran = context.execute_async_v3(stream.handle)
            finally:
                self._detach()
                stream.synchronize()
        if not ran:
            raise _refused("did not run the plan")
        return context

    def _captured(self, stream: Stream) -> Graph:
        self._device.begin_capture(stream)
        try:
            self._enqueue(stream)
        except BaseException:
            with contextlib.suppress(DeviceError):  # it may say again what is raised here
                self._device.end_capture(stream).close()
            raise
        return self._device.end_capture(stream)

    def _enqueue(self, stream: Stream) -> None:
        LOG.clear()
        context: trt.IExecutionContext = self._context
        for frame in self._frames:
            frame.upload(self._device, stream)
        if not context.execute_async_v3(stream.handle):
            raise _refused("did not take a frame")
        for frame in self._frames:
            frame.download(self._device, stream)

    def _attach(self, stream: Stream) -> None:
        for frame in self._frames:
            frame.attach(stream)

    def _detach(self) -> None:
        for frame in self._frames:
            frame.detach()


def closed() -> DeviceError:
    """What is raised for a slot of an engine that was closed, and where a new one is asked for."""
    return DeviceError("the engine was closed", fix="open it again")


def _unbound(context: trt.IExecutionContext, frames: Sequence[Frame], stream: Stream) -> str | None:
    """Set profile, shapes and addresses; what was refused, None where nothing was."""
    borders = [frame.border for frame in frames]
    if any(border.dynamic for border in borders):
        if not context.set_optimization_profile_async(0, stream.handle):
            return "did not take optimisation profile 0"
        stream.synchronize()
    for border in borders:
        if border.is_input and not context.set_input_shape(border.name, border.shape):
            return f"does not take the shape {border.shape} for {border.name}"
    for frame in frames:
        border = frame.border
        shape = tuple(context.get_tensor_shape(border.name))
        if shape != border.shape:
            return f"gives {border.name} the shape {shape}, not {border.shape}"
        if not context.set_tensor_address(border.name, frame.address):
            return f"did not take the address of {border.name}"
    return None


def _refused(what: str) -> DeviceError:
    return DeviceError(f"TensorRT {what}: {LOG.last_errors()}", fix=REBUILD)
