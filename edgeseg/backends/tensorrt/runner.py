"""Plans on the GPU: a plan that was checked, its engine, and slots whose memory the GPU reaches."""

import contextlib
import hashlib
import logging
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

import tensorrt as trt

from edgeseg.backends.plans import unpacked
from edgeseg.backends.tensorrt.borders import REBUILD, borders_of
from edgeseg.backends.tensorrt.fingerprint import cannot_start
from edgeseg.backends.tensorrt.frames import Frame
from edgeseg.backends.tensorrt.log import LOG
from edgeseg.backends.tensorrt.versions import activation_bytes
from edgeseg.backends.tensorrt.work import Lane, Work
from edgeseg.device.choice import mode_for, open_device
from edgeseg.device.memory import Block, Device, GpuFacts, Kind, MemoryMode
from edgeseg.errors import DeviceError, EngineMismatch
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
    header, body = _whole(plan)
    gpu = open_device(device)
    try:
        mode = _mode(runtime, gpu.facts)
        with gpu.active():
            engine = _Engine(header, body)
    except BaseException:
        gpu.close()
        raise
    log.info("TensorRT %s on %s, %s memory", trt.__version__, gpu.facts.name, mode)
    return TensorRTRunner(
        gpu,
        engine,
        mode=mode,
        lanes=2 if mode == "copy" else 1,
        blocking=runtime.sync == "blocking",
        captures=runtime.cuda_graph and header.get("dla") is None,
    )


class TensorRTRunner:
    """A plan on the GPU, and the memory of its slots.

    `close` frees that memory too: the arrays of a slot must not be touched afterwards.
    """

    def __init__(
        self,
        device: Device,
        engine: "_Engine",
        *,
        mode: MemoryMode,
        lanes: int,
        blocking: bool,
        captures: bool,
    ) -> None:
        borders = engine.borders
        self.inputs: Mapping[str, TensorSpec] = {
            border.name: border.spec() for border in borders if border.is_input
        }
        self.outputs: Mapping[str, TensorSpec] = {
            border.name: border.spec() for border in borders if not border.is_input
        }
        self.memory_mode: MemoryMode = mode
        self._device, self._engine = device, engine
        self._lanes: list[Lane] = []
        self._lane_count, self._blocking, self._captures = lanes, blocking, captures
        self._slots = 0
        self._lock = threading.Lock()
        self._closed = False
        self._closing = contextlib.ExitStack()
        self._closing.callback(engine.close)

    def new_slot(self) -> Slot:
        """Memory for one more frame, a context that is bound to it, and its graph.

        Raises:
            DeviceError: no memory is left, or TensorRT refuses.
        """
        if self._closed:
            raise DeviceError("the engine was closed", fix="open it again")
        with self._lock, self._device.active():
            lane = self._next_lane()
            frames = [
                Frame(border, self.memory_mode, self._allocate) for border in self._engine.borders
            ]
            work = Work(self._device, lane, frames, blocking=self._blocking)
            self._closing.callback(work.close)
            ready = work.prepare(self._engine.engine, captures=self._captures)
            self._captures = self._captures and ready
        arrays = {frame.border.name: frame.array for frame in frames}
        return Slot(
            inputs={name: arrays[name] for name in self.inputs},
            outputs={name: arrays[name] for name in self.outputs},
            pixels=arrays["frame"][0],
            labels=arrays["labels"][0],
            bound=work,
        )

    def launch(self, slot: Slot) -> None:
        """Start on `slot` and return; `slot.pending` waits. Any thread may, with its own slot."""
        work = slot.bound
        assert isinstance(work, Work)
        work.launch()
        slot.pending = partial(_finish, slot, work)

    def close(self) -> None:
        """Wait for what runs, then free everything, slots included; closing twice is fine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for lane in self._lanes:
                self._closing.callback(
                    lane.stream.synchronize
                )  # comes first: the order is reversed
            try:
                with self._device.active():
                    self._closing.close()
            finally:
                self._device.close()

    def _next_lane(self) -> Lane:
        """The lane of the next slot; slots take them in turn."""
        index = self._slots % self._lane_count
        if index == len(self._lanes):
            nbytes = max(activation_bytes(self._engine.engine), LEAST_ACTIVATION)
            stream = self._device.stream()
            self._closing.callback(stream.close)
            activation = self._allocate(Kind.DEVICE, nbytes)
            self._lanes.append(Lane(stream=stream, activation=activation))
        self._slots += 1
        return self._lanes[index]

    def _allocate(self, kind: Kind, nbytes: int) -> Block:
        block = self._device.allocate(kind, nbytes)
        self._closing.callback(block.free)
        return block


class _Engine:
    """The engine with what has to outlive it, and its borders."""

    def __init__(self, header: dict[str, Any], body: bytes) -> None:
        LOG.clear()
        try:
            loader: trt.Runtime = trt.Runtime(LOG)
        except TypeError as error:
            raise cannot_start() from error
        _prepare_loader(loader, header)
        self._loader: trt.Runtime | None = loader
        self.engine: trt.ICudaEngine | None = loader.deserialize_cuda_engine(body)
        if self.engine is None:
            raise EngineMismatch(
                f"TensorRT {trt.__version__} does not take this plan of TensorRT "
                f"{header.get('tensorrt', 'unknown')}: {LOG.last_errors()}",
                fix=REBUILD,
            )
        try:
            self.borders = borders_of(self.engine, _cameras(header))
        except EngineMismatch:
            self.close()
            raise

    def close(self) -> None:
        """Free the engine, then what loaded it."""
        self.engine = None
        self._loader = None


def _prepare_loader(loader: trt.Runtime, header: dict[str, Any]) -> None:
    """Tell it of the DLA, and that a version-compatible plan may bring code of its own."""
    core = header.get("dla")
    if core is not None:
        if type(core) is not int or not 0 <= core < loader.num_DLA_cores:
            raise EngineMismatch(
                f"the plan is for DLA core {core}, and this machine has {loader.num_DLA_cores}",
                fix=REBUILD,
            )
        loader.DLA_core = core
    if header.get("version_compatible"):
        loader.engine_host_code_allowed = True


def _finish(slot: Slot, work: Work) -> None:
    slot.stages_ms["infer"] = work.wait()


def _whole(plan: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and body of a plan that is as it was built; no other may reach TensorRT.

    Raises:
        EngineMismatch: it is truncated or altered.
    """
    header, body = unpacked(plan)
    if header.get("bytes") != len(body):
        raise EngineMismatch(
            f"the plan has {len(body)} bytes and was built with {header.get('bytes')}", fix=REBUILD
        )
    if header.get("sha256") != hashlib.sha256(body).hexdigest():
        raise EngineMismatch("the plan was altered after the build", fix=REBUILD)
    return header, body


def _cameras(header: dict[str, Any]) -> int:
    cameras = header.get("cameras", 1)
    if type(cameras) is not int or cameras < 1:
        raise EngineMismatch(f"the plan is for {cameras!r} cameras", fix=REBUILD)
    return cameras


def _mode(runtime: RuntimeOptions, facts: GpuFacts) -> MemoryMode:
    if runtime.memory == "auto":
        return mode_for(facts)
    if runtime.memory == "mapped" and not facts.can_map_host:
        raise DeviceError(
            f"{facts.name} cannot reach the host's memory, which --memory mapped asks for",
            fix="--memory auto, managed or copy",
        )
    return runtime.memory
