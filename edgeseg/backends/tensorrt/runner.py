"""Plans on the GPU: slots whose memory it reaches, and their frames."""

import contextlib
import logging
import threading
from collections.abc import Mapping
from functools import partial

import numpy as np
import tensorrt as trt

from edgeseg.backends.tensorrt.borders import STATES, Border, borders_of
from edgeseg.backends.tensorrt.frames import Frame
from edgeseg.backends.tensorrt.loading import LoadedEngine, cameras, checked
from edgeseg.backends.tensorrt.states import DeviceState
from edgeseg.backends.tensorrt.versions import activation_bytes
from edgeseg.backends.tensorrt.work import Lane, Work, closed
from edgeseg.device.choice import mode_for, open_device
from edgeseg.device.memory import Block, Device, GpuFacts, Kind, MemoryMode
from edgeseg.errors import DeviceError
from edgeseg.types import RuntimeOptions, Slot, TensorSpec

LEAST_ACTIVATION = 256
"""Bytes: TensorRT wants an address also where it needs no activation memory."""

log = logging.getLogger(__name__)


def opened(plan: bytes, device: int, *, runtime: RuntimeOptions) -> "TensorRTRunner":
    """The runner of `plan` on GPU number `device`, for as many frames at once as it has slots.

    Raises:
        EngineMismatch: the plan is truncated or altered, or this TensorRT does not take it.
        DeviceError: no GPU, or one without the memory that `runtime` asks for.
    """
    header, body = checked(plan)
    gpu = open_device(device)
    with contextlib.ExitStack() as on_error:
        on_error.callback(gpu.close)
        mode = _mode(runtime, gpu.facts)
        with gpu.active():
            loaded = LoadedEngine(header, body)
            on_error.callback(loaded.close)
            borders = borders_of(loaded.engine, cameras(header))
        on_error.pop_all()
    log.info("TensorRT %s on %s, %s memory", trt.__version__, gpu.facts.name, mode)
    remembers = any(border.name in STATES for border in borders)
    if remembers and runtime.cuda_graph:
        log.info("frames are launched one by one, without a CUDA graph: their states take turns")
    return TensorRTRunner(
        gpu,
        loaded,
        borders,
        mode=mode,
        lanes=2 if mode == "copy" and not remembers else 1,
        blocking=runtime.sync == "blocking",
        captures=runtime.cuda_graph and header.get("dla") is None and not remembers,
    )


class TensorRTRunner:
    """A plan on the GPU, and the memory of its slots.

    `close` frees that memory too: its slots are empty then, and arrays that were taken out of them
    must not be touched.
    """

    def __init__(
        self,
        device: Device,
        loaded: LoadedEngine,
        borders: tuple[Border, ...],
        *,
        mode: MemoryMode,
        lanes: int,
        blocking: bool,
        captures: bool,
    ) -> None:
        held = tuple(border for border in borders if border.name not in STATES)
        specs = {border.name: (border.is_input, border.spec()) for border in held}
        self.inputs: Mapping[str, TensorSpec] = {n: spec for n, (i, spec) in specs.items() if i}
        self.outputs: Mapping[str, TensorSpec] = {
            n: spec for n, (i, spec) in specs.items() if not i
        }
        self.memory_mode: MemoryMode = mode
        self._device, self._loaded, self._borders = device, loaded, held
        self._state_bytes = max((b.nbytes for b in borders if b.name in STATES), default=0)
        """Of what a plan that smooths remembers; 0 where it smooths nothing."""
        self._alone: DeviceState | None = None
        self._zeros: Block | None = None
        self._lane_count, self._blocking, self._captures = lanes, blocking, captures
        self._lanes: list[Lane] = []
        self._slots: list[Slot] = []
        self._lock = threading.Lock()
        self._closed = False
        self._closing = contextlib.ExitStack()
        self._closing.callback(loaded.close)

    def new_slot(self) -> Slot:
        """Memory for one more frame, a context that is bound to it, and its graph.

        Any thread may ask for it, also while others run; what does not fit leaves nothing behind.

        Raises:
            DeviceError: no memory is left, TensorRT refuses, or the engine was closed.
        """
        with self._lock:
            if self._closed:
                raise closed()
            with self._device.active(), contextlib.ExitStack() as made:
                slot = self._made_slot(made)
                self._closing.callback(made.pop_all().close)
            self._slots.append(slot)
        return slot

    def new_state(self) -> DeviceState | None:
        """What is remembered of one more camera; None where the plan smooths nothing.

        Raises:
            DeviceError: no memory is left, or the engine was closed.
        """
        if not self._state_bytes:
            return None
        with self._lock:
            if self._closed:
                raise closed()
            with self._device.active():
                return self._made_state()

    def launch(self, slot: Slot) -> None:
        """Start on `slot` and return; `slot.pending` waits. Any thread may, with its own slot."""
        work = slot.bound
        assert isinstance(work, Work)
        work.launch(slot.state if isinstance(slot.state, DeviceState) else None)
        slot.pending = partial(_finish, slot, work)

    def close(self) -> None:
        """Wait for what runs, then free everything, slots included; closing twice is fine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            works = [slot.bound for slot in self._slots if isinstance(slot.bound, Work)]
            for step in (*(lane.stream.synchronize for lane in self._lanes),
                         *(work.retire for work in works)):  # fmt: skip
                self._closing.callback(step)  # comes before the rest: the order is reversed
            try:
                with self._device.active():
                    self._closing.close()
            finally:
                for slot in self._slots:
                    _empty(slot)
                self._device.close()

    def _made_slot(self, made: contextlib.ExitStack) -> Slot:
        """A slot whose parts `made` frees."""
        lane = self._next_lane()
        allocate = partial(self._allocate, made)
        frames = [Frame(border, self.memory_mode, allocate) for border in self._borders]
        if self._state_bytes and self._alone is None:
            self._alone = self._made_state()
        work = Work(self._device, lane, frames, blocking=self._blocking, alone=self._alone)
        made.callback(work.close)
        ready = work.prepare(self._loaded.engine, captures=self._captures)
        self._captures = self._captures and ready
        arrays = {frame.border.name: frame.array for frame in frames}
        return Slot(
            inputs={name: arrays[name] for name in self.inputs},
            outputs={name: arrays[name] for name in self.outputs},
            pixels=arrays["frame"][0],
            labels=arrays["labels"][0],
            bound=work,
        )

    def _made_state(self) -> DeviceState:
        """A state that is all zeros; its memory goes with the runner."""
        with contextlib.ExitStack() as made:
            blocks = [self._allocate(made, Kind.DEVICE, self._state_bytes) for _ in range(2)]
            for block in blocks:
                self._fill_with_zeros(block)
            self._closing.callback(made.pop_all().close)
        return DeviceState((blocks[0], blocks[1]), self._forget)

    def _forget(self, block: Block) -> None:
        with self._lock:
            if self._closed:
                raise closed()
            with self._device.active():
                self._fill_with_zeros(block)

    def _fill_with_zeros(self, block: Block) -> None:
        """Put it into the one stream that there is, behind the frames that are in it."""
        lane = self._next_lane()
        if self._zeros is None:
            with contextlib.ExitStack() as made:
                self._zeros = self._allocate(made, Kind.PINNED, self._state_bytes)
                self._closing.callback(made.pop_all().close)
        with lane.lock:
            self._device.copy(block, self._zeros, lane.stream)

    def _next_lane(self) -> Lane:
        """The lane of the next slot; slots take them in turn."""
        index = len(self._slots) % self._lane_count
        if index == len(self._lanes):
            with contextlib.ExitStack() as made:
                stream = self._device.stream()
                made.callback(stream.close)
                nbytes = max(activation_bytes(self._loaded.engine), LEAST_ACTIVATION)
                activation = self._allocate(made, Kind.DEVICE, nbytes)
                self._closing.callback(made.pop_all().close)
            self._lanes.append(Lane(stream=stream, activation=activation))
        return self._lanes[index]

    def _allocate(self, made: contextlib.ExitStack, kind: Kind, nbytes: int) -> Block:
        block = self._device.allocate(kind, nbytes)
        made.callback(block.free)
        return block


def _finish(slot: Slot, work: Work) -> None:
    slot.stages_ms["infer"] = work.wait()


def _empty(slot: Slot) -> None:
    """Take the arrays out of a slot whose memory is gone: reading there would end the process."""
    slot.inputs, slot.outputs = {}, {}
    slot.pixels = slot.labels = np.empty(0, np.uint8)


def _mode(runtime: RuntimeOptions, facts: GpuFacts) -> MemoryMode:
    if runtime.memory == "auto":
        return mode_for(facts)
    if runtime.memory == "mapped" and not facts.can_map_host:
        raise DeviceError(
            f"{facts.name} cannot reach the host's memory, which --memory mapped asks for",
            fix="--memory auto, managed or copy",
        )
    return runtime.memory
