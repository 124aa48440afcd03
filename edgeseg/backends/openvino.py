"""OpenVINO on a CPU: head and network in its graph, the tail as a running maximum beside it."""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import Core, Model, Tensor

from edgeseg.backends.host_slots import HostState, state_arrays, state_for
from edgeseg.backends.plans import packed, refuse_gpu_options, spec, unpacked
from edgeseg.backends.tail import LabelsFromLogits
from edgeseg.device.info import machine
from edgeseg.device.signals import handle_on_own_stack
from edgeseg.errors import BuildError, EngineMismatch
from edgeseg.types import (
    STATE,
    STATE_OUT,
    Array,
    CompileOptions,
    OnProgress,
    Precision,
    RuntimeOptions,
    Size,
    Slot,
)

PRECISIONS = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})
_FLAGS = frozenset(str(machine()["cpu_flags"]).split())
NEEDS = frozenset({"pools", "concats"})
"""What graph/prepare.py is to do before `compile`."""
if "avx2" in _FLAGS and "amx_int8" not in _FLAGS:
    # An x86 CPU without AMX multiplies U8 by S8. With AMX, S8 is faster.
    NEEDS |= {"unsigned"}
    if not _FLAGS & {"avx512_vnni", "avx_vnni"}:
        # Its sums of two products saturate: U-Net's logits came out at 11 dB, not at 33 dB.
        NEEDS |= {"narrow"}
NOTE = "head and network in OpenVINO, upsampling and ArgMax as a running maximum in OpenCV"

SCORES = ("steady_logits", "logits")
"""What the tail reads: the first of these that a graph has."""

# OpenVINO's own default on a CPU with AMX is bf16, which moves masks without saying so.
HINTS = {Precision.FP32: "f32", Precision.FP16: "f16", Precision.INT8: "f32"}


def fingerprint() -> dict[str, str]:
    """What a plan is tied to: the OpenVINO version and the CPU's instruction sets."""
    core = Core()
    return {
        "backend": "openvino",
        "version": ov.get_version(),
        "cpu": str(core.get_property("CPU", "FULL_DEVICE_NAME")),
        "capabilities": " ".join(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
    }


def compile(graph: Path, options: CompileOptions, on_progress: OnProgress | None = None) -> bytes:
    """The plan of a frame graph: its network as OpenVINO's own blob, cut before the upsampling.

    Raises:
        BuildError: OpenVINO refuses the graph.
    """
    if on_progress:
        on_progress("compile for OpenVINO", 0, 1)
    core = Core()
    try:
        whole = core.read_model(graph)
        mask = whole.output("labels").shape
        network = _before_the_tail(whole)
        compiled = core.compile_model(network, "CPU", _config(HINTS[options.precision], 1, 1))
        handle_on_own_stack()
        blob = io.BytesIO()
        compiled.export_model(blob)
    except RuntimeError as error:
        raise BuildError(
            f"OpenVINO {ov.get_version()} cannot compile {graph.name}: {_last_line(error)}",
            fix="build with --backend onnxruntime, and report the graph",
        ) from error
    if on_progress:
        on_progress("compile for OpenVINO", 1, 1)
    header = {
        "frame": list(whole.input("frame").shape),
        "labels": list(mask),
        "hint": HINTS[options.precision],
        "state": _state_shape(whole),
    }
    return packed(header, blob.getvalue())


def load(
    plan: bytes,
    device: int = 0,
    *,
    workers: int = 1,
    threads: int | None = None,
    runtime: RuntimeOptions | None = None,
) -> "OpenVINORunner":
    """The runner of `plan` for `workers` frames at once, over `threads` threads (None: all cores).

    Raises:
        EngineMismatch: OpenVINO does not take the blob.
    """
    del device  # there is one CPU
    refuse_gpu_options(runtime, "openvino")
    header, blob = unpacked(plan)
    core = Core()
    total = threads or int(core.get_property("CPU", "RANGE_FOR_STREAMS")[1])
    config = _config(str(header["hint"]), workers, max(total, workers))
    try:
        compiled = core.import_model(io.BytesIO(blob), "CPU", config)
        handle_on_own_stack()
    except RuntimeError as error:
        raise EngineMismatch(
            f"OpenVINO does not take this plan: {_last_line(error)}", fix="build the engine again"
        ) from error
    return OpenVINORunner(compiled, header)


class OpenVINORunner:
    """An OpenVINO network whose requests are bound to the slots' own memory."""

    def __init__(self, compiled: Any, header: dict[str, Any]) -> None:
        self._compiled = compiled
        self.inputs = {"frame": spec("frame", header["frame"])}
        self.outputs = {"labels": spec("labels", header["labels"])}
        if shape := header.get("state"):  # plans that smooth nothing name none
            self.inputs[STATE] = spec(STATE, shape)
            self.outputs[STATE_OUT] = spec(STATE_OUT, shape)

    def new_state(self) -> HostState | None:
        """What is remembered of one more camera; None where the plan smooths nothing."""
        return state_for(self.inputs)

    def launch(self, slot: Slot) -> None:
        """Run on `slot`; synchronous, and safe from several threads with a slot each."""
        if slot.bound is None:
            slot.bound = _Bound(self._compiled, slot)
        assert isinstance(slot.bound, _Bound)
        slot.bound.run(slot)

    def close(self) -> None:
        """Free the network; slots that were bound keep their requests until they go."""
        self._compiled = None


class _Bound:
    """The request of one slot: its input is the slot's memory, its logits are its own."""

    def __init__(self, compiled: Any, slot: Slot) -> None:
        self.request = compiled.create_infer_request()
        self.request.set_tensor("frame", Tensor(slot.inputs["frame"], shared_memory=True))
        scores = compiled.output(0)
        self.logits = np.empty(list(scores.shape), np.float32)
        self.request.set_tensor(scores, Tensor(self.logits, shared_memory=True))
        self.alone = _tensors(*state_arrays(slot)) if STATE in slot.inputs else None
        height, width = slot.labels.shape
        self.tail = LabelsFromLogits(Size(height, width))

    def run(self, slot: Slot) -> None:
        start = time.perf_counter()
        state = slot.state if isinstance(slot.state, HostState) else None
        if self.alone is not None:
            self._remember(self.alone, state)
        self.request.infer(share_outputs=True)  # else it returns a copy of the logits
        if state is not None:
            state.swap()
        middle = time.perf_counter()
        self.tail(self.logits[0], slot.labels)
        slot.stages_ms["infer"] = 1e3 * (middle - start)
        slot.stages_ms["post"] = 1e3 * (time.perf_counter() - middle)

    def _remember(self, alone: tuple[Tensor, Tensor], state: HostState | None) -> None:
        """Bind the buffers of `state` in their turn; those of a frame alone where it is None."""
        pair, turn = alone, 0
        if state is not None:
            if not isinstance(state.bound, tuple):
                state.bound = _tensors(*state.buffers)
            pair, turn = state.bound, state.turn
        self.request.set_tensor(STATE, pair[turn])
        self.request.set_tensor(STATE_OUT, pair[1 - turn])


def _tensors(first: Array, second: Array) -> tuple[Tensor, Tensor]:
    """Both in the form that requests take, without a copy."""
    return Tensor(first, shared_memory=True), Tensor(second, shared_memory=True)


def _before_the_tail(model: Model) -> Model:
    """What gives the scores that the tail reads, and the state that is left where there is one."""
    named = {
        name: output
        for node in model.get_ordered_ops()
        for output in node.outputs()
        for name in output.get_names()
    }
    scores = next((named[name] for name in SCORES if name in named), None)
    if scores is None:
        raise BuildError(f"the graph has no tensor {SCORES[-1]!r}", fix="build the engine again")
    left = [named[STATE_OUT]] if STATE_OUT in named else []
    return Model([scores, *left], model.get_parameters(), "core")


def _state_shape(model: Model) -> list[int] | None:
    shapes = {name: list(port.shape) for port in model.inputs for name in port.get_names()}
    return shapes.get(STATE)


def _config(hint: str, streams: int, threads: int) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": hint,
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": threads,
        # Pinned threads would share one core with whatever else the frame loop runs.
        "ENABLE_CPU_PINNING": False,
    }


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
