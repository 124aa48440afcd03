"""ONNX Runtime on a CPU: the portable reference. The whole frame graph, and nothing beside it."""

import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edgeseg.backends.host_slots import HostState, state_arrays, state_for
from edgeseg.backends.plans import refuse_gpu_options, spec
from edgeseg.errors import BuildError, EngineMismatch
from edgeseg.types import (
    STATE,
    STATE_OUT,
    Array,
    CompileOptions,
    OnProgress,
    Precision,
    RuntimeOptions,
    Slot,
)

PRECISIONS = frozenset({Precision.FP32, Precision.INT8})
NEEDS = frozenset({"unsigned"})
NOTE = "the whole frame graph in ONNX Runtime, whose INT8 kernels for symmetric S8 are slow"


def fingerprint() -> dict[str, str]:
    """What a plan is tied to: nothing but the version that checked it, since it is the graph."""
    return {"backend": "onnxruntime", "version": ort.__version__}


def compile(graph: Path, options: CompileOptions, on_progress: OnProgress | None = None) -> bytes:
    """The plan is the graph; it is loaded once to see that ONNX Runtime takes it.

    Raises:
        BuildError: ONNX Runtime refuses the graph.
    """
    del options
    if on_progress:
        on_progress("check in ONNX Runtime", 0, 1)
    plan = graph.read_bytes()
    try:
        _session(plan, threads=1)
    except Exception as error:  # its exceptions share no base class but Exception
        raise BuildError(
            f"ONNX Runtime {ort.__version__} cannot load {graph.name}: {error}",
            fix="report the graph",
        ) from error
    if on_progress:
        on_progress("check in ONNX Runtime", 1, 1)
    return plan


def load(
    plan: bytes,
    device: int = 0,
    *,
    workers: int = 1,
    threads: int | None = None,
    runtime: RuntimeOptions | None = None,
) -> "OnnxRuntimeRunner":
    """The runner of `plan`; its `workers` share `threads` threads (None: all cores)."""
    del device  # there is one CPU
    refuse_gpu_options(runtime, "onnxruntime")
    total = threads or 0
    try:
        session = _session(plan, threads=1 if workers > 1 else total)
    except Exception as error:
        raise EngineMismatch(
            f"ONNX Runtime does not take this plan: {error}", fix="build the engine again"
        ) from error
    return OnnxRuntimeRunner(session)


class OnnxRuntimeRunner:
    """A session that is bound to the slots' own memory."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session: ort.InferenceSession | None = session
        self.inputs = {v.name: spec(v.name, v.shape) for v in session.get_inputs()}
        self.outputs = {v.name: spec(v.name, v.shape) for v in session.get_outputs()}

    def new_state(self) -> HostState | None:
        """What is remembered of one more camera; None where the plan smooths nothing."""
        return state_for(self.inputs)

    def launch(self, slot: Slot) -> None:
        """Run on `slot`; synchronous, and safe from several threads with a slot each."""
        assert self._session is not None
        if slot.bound is None:
            slot.bound = _bound(self._session, slot)
        start = time.perf_counter()
        state = slot.state if isinstance(slot.state, HostState) else None
        if STATE in self.inputs:
            _remember(slot.bound, slot, state)
        self._session.run_with_iobinding(slot.bound)
        if state is not None:
            state.swap()
        slot.stages_ms["infer"] = 1e3 * (time.perf_counter() - start)

    def close(self) -> None:
        """Free the session."""
        self._session = None


def _bound(session: ort.InferenceSession, slot: Slot) -> ort.IOBinding:
    binding = session.io_binding()
    for name, array in slot.inputs.items():
        binding.bind_ortvalue_input(name, _shared(array))
    for name, array in slot.outputs.items():
        binding.bind_ortvalue_output(name, _shared(array))
    return binding


def _remember(binding: ort.IOBinding, slot: Slot, state: HostState | None) -> None:
    """Bind the two buffers of `state` in their turn; those of a frame alone where it is None."""
    if state is None:
        read, written = (_shared(array) for array in state_arrays(slot))
    else:
        if not isinstance(state.bound, tuple):
            state.bound = tuple(_shared(array) for array in state.buffers)
        read, written = state.bound[state.turn], state.bound[1 - state.turn]
    binding.bind_ortvalue_input(STATE, read)
    binding.bind_ortvalue_output(STATE_OUT, written)


def _shared(array: Array) -> ort.OrtValue:
    value = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
    return value


def _session(plan: bytes, *, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(plan, options, providers=["CPUExecutionProvider"])
