"""The execution context: what must be set before it runs, and what a captured one refuses."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import onnx

from tests.device.gpu_parts import Capture, Queue
from tests.tensorrt.fake_binding import Dims
from tests.tensorrt.fake_graph import GraphView
from tests.tensorrt.fake_state import State

NUMPY = {
    "FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8, "INT32": np.int32,
    "INT64": np.int64, "UINT8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
ALIGNMENT = 256
"""Of the memory for activations, in bytes."""


class IExecutionContext:
    _fake: State

    def _setup(self, engine: Any, own_memory: bool) -> None:
        self._engine, self._own_memory = engine, own_memory
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._memory = (0, 0)
        self._emits, self._profiler, self._name = True, None, ""
        self._is_warm = False
        self._capture: Capture | None = None
        self._profile = 0 if self._may_take(0) else -1

    def _may_take(self, profile: int) -> bool:
        """Whether no other context has it, where profiles are not shared."""
        dynamic = any(-1 in item["shape"] for item in self._engine._header["io"])
        if self._engine._header["shared_profiles"] or not dynamic:
            return True
        others = [c for c in self._fake.contexts if c is not self and c._engine is self._engine]
        return all(other._profile != profile for other in others)

    def _refused(self, text: str) -> bool:
        self._fake.log(self._engine._logger, "ERROR", f"Error Code 3: API Usage Error ({text})")
        return False

    def _is_free(self, what: str) -> bool:
        """Whether no captured graph owns this context."""
        if self._capture is None or not self._capture.valid:
            return True
        text = f"{what} on a context that was captured: its graph would be undefined"
        self._fake.faults.append(text)
        return self._refused(text)

    @property
    def engine(self) -> Any:
        return self._engine

    @property
    def name(self) -> str:
        return str(self._name)

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    @property
    def active_optimization_profile(self) -> int:
        return self._profile

    @property
    def all_binding_shapes_specified(self) -> bool:
        return not self.infer_shapes()

    @property
    def profiler(self) -> Any:
        return self._profiler

    @profiler.setter
    def profiler(self, value: Any) -> None:
        self._profiler = value

    @property
    def enqueue_emits_profile(self) -> bool:
        return self._emits

    @enqueue_emits_profile.setter
    def enqueue_emits_profile(self, value: bool) -> None:
        self._emits = value

    def _write_memory(self, value: Any) -> None:
        if not hasattr(value, "__index__"):
            raise TypeError("device_memory takes an int")
        self._give_memory(int(value), self._engine._header["activations"])

    device_memory = property(None, _write_memory)

    def set_device_memory(self, memory: int, size: int) -> None:
        self._give_memory(memory, size)

    def _give_memory(self, memory: int, size: int) -> None:
        if not self._is_free("set_device_memory"):
            return
        if self._own_memory:
            self._refused("device memory of a context that has its own")
        elif memory % ALIGNMENT or size < self._engine._header["activations"]:
            self._refused(f"device memory is not aligned to {ALIGNMENT} bytes, or too small")
        else:
            self._memory, self._is_warm = (memory, size), False

    def update_device_memory_size_for_shapes(self) -> int:
        return int(self._engine._header["activations"])

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if not self._is_free("set_optimization_profile_async"):
            return False
        if not 0 <= profile_index < len(self._engine._header["profiles"]):
            return self._refused(f"no optimization profile {profile_index}")
        if not self._may_take(profile_index):
            return self._refused(f"optimization profile {profile_index} is in use")
        self._fake.gpu.enqueue(stream_handle, lambda: None)  # type: ignore[union-attr]
        self._profile, self._shapes, self._is_warm = profile_index, {}, False
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        wanted, item = tuple(shape), self._engine._known(name)
        if item is None or not self._is_free("set_input_shape"):
            return False
        if not item["input"] or self._profile < 0:
            return self._refused(f"{name} is no input, or no optimization profile is active")
        profile = self._engine._header["profiles"][self._profile]
        low, _, high = profile.get(name, [item["shape"]] * 3)
        inside = zip(low, wanted, high, strict=False)
        if len(wanted) != len(low) or not all(a <= b <= c for a, b, c in inside):
            return self._refused(f"{name}: {wanted} is not in the profile's {low} to {high}")
        if self._shapes.get(name) != wanted:
            self._shapes[name], self._is_warm = wanted, False
        return True

    def get_tensor_shape(self, name: str) -> Dims:
        item = self._engine._known(name)
        if item is None or -1 not in item["shape"]:
            return Dims(item["shape"] if item else ())
        if item["input"]:
            return Dims(self._shapes.get(name, item["shape"]))
        if self.infer_shapes():
            return Dims(item["shape"])
        return Dims(_output_shapes(self._engine._body, tuple(self._shapes.items()))[name])

    def infer_shapes(self) -> list[str]:
        """The inputs whose shape is not yet known."""
        dynamic = [i["name"] for i in self._engine._header["io"] if i["input"] and -1 in i["shape"]]
        return [name for name in dynamic if name not in self._shapes]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if self._engine._known(name) is None or not self._is_free("set_tensor_address"):
            return False
        if self._addresses.get(name) != memory:
            self._addresses[name], self._is_warm = memory, False
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def get_max_output_size(self, name: str) -> int:
        return math.prod(self.get_tensor_shape(name)) * self._dtype(name).itemsize  # type: ignore[call-overload]

    def report_to_profiler(self) -> bool:
        return self._report()

    def execute_async_v3(self, stream_handle: int) -> bool:
        fake, gpu = self._fake, self._fake.gpu
        assert gpu is not None
        gpu.require_context()
        if not self._is_free("execute_async_v3") or not self._is_ready(stream_handle):
            return False
        if gpu.is_capturing(stream_handle) and not self._can_be_captured(stream_handle):
            gpu.invalidate_capture(stream_handle)
            return False
        run = self._work()
        if gpu.is_capturing(stream_handle):
            queue = gpu.thing(stream_handle)
            assert isinstance(queue, Queue)
            self._capture = queue.capture
            fake.captured[self._memory[0]] = stream_handle
            gpu.enqueue(stream_handle, run)
            return True
        token = object()
        fake.pending[token] = (self._memory[0], stream_handle, self)

        def finish() -> None:
            fake.pending.pop(token)
            run()

        gpu.enqueue(stream_handle, finish)
        self._is_warm = True
        return True

    def _is_ready(self, stream: int) -> bool:
        if self._profile < 0:
            return self._refused("no optimization profile is active")
        if missing := self.infer_shapes():
            return self._refused(f"the shape of {missing[0]} is not set")
        for name in self._engine._io:
            if not self._addresses.get(name):
                return self._refused(f"Address is not set for tensor {name}")
        if not self._own_memory and self._engine._header["activations"] and not self._memory[0]:
            return self._refused("device memory is not set")
        return self._is_alone(stream)

    def _is_alone(self, stream: int) -> bool:
        """Whether nothing else runs on another stream in this context or in its memory."""
        for memory, other, context in self._fake.pending.values():
            if other != stream and (context is self or (memory and memory == self._memory[0])):
                text = f"streams {other:#x} and {stream:#x} share activation memory or a context"
                self._fake.faults.append(text)
                return self._refused(text)
        if self._memory[0] and self._fake.captured.get(self._memory[0], stream) != stream:
            text = "activation memory of a captured graph is used on another stream"
            self._fake.faults.append(text)
            return self._refused(text)
        return True

    def _can_be_captured(self, stream: int) -> bool:
        if self._engine._header["dla"] is not None:
            return self._refused("DLA layers cannot be captured in a CUDA graph")
        if self._profiler is not None and self._emits:
            return self._refused("a context that emits a profile cannot be captured")
        if not self._is_warm:
            return self._refused(f"stream {stream:#x}: run once before the capture")
        return True

    def _dtype(self, name: str) -> np.dtype[Any]:
        return np.dtype(NUMPY[self._engine.get_tensor_dtype(name).name])

    def _work(self) -> Any:
        """What the GPU does later, with the addresses and shapes of now."""
        gpu, session, where = self._fake.gpu, self._engine._running(), dict(self._addresses)
        assert gpu is not None
        shapes = {name: tuple(self.get_tensor_shape(name)) for name in where}  # type: ignore[call-overload]
        kinds = {name: self._dtype(name) for name in where}
        inputs = [item.name for item in session.get_inputs()]
        outputs = [item.name for item in session.get_outputs()]
        memory, size = self._memory[0], self._engine._header["activations"]

        def seen(name: str) -> Any:
            view = gpu.view(where[name], math.prod(shapes[name]) * kinds[name].itemsize)
            return view.view(kinds[name]).reshape(shapes[name])

        def run() -> None:
            if memory:
                gpu.view(memory, size)[:] = 0xA5  # what others kept there is lost
            results = session.run(
                outputs, {name: _ort(session, name, seen(name)) for name in inputs}
            )
            for name, result in zip(outputs, results, strict=True):
                seen(name)[...] = result
            if self._emits:
                self._report()

        return run

    def _report(self) -> bool:
        if self._profiler is None:
            return False
        for layer in self._engine._header["layers"]:
            name = layer if isinstance(layer, str) else layer["Name"]
            self._fake.called(self._profiler.report_layer_time, name, 0.25)
        return True


def _ort(session: Any, name: str, value: np.ndarray) -> np.ndarray:
    """A copy in the type that the graph has: 8.x takes INT32 where the graph says INT64."""
    kinds = {item.name: item.type for item in session.get_inputs()}
    return value.astype(np.int64) if kinds[name] == "tensor(int64)" else value.copy()


@lru_cache(maxsize=64)
def _output_shapes(
    body: bytes, inputs: tuple[tuple[str, tuple[int, ...]], ...]
) -> dict[str, tuple[int, ...]]:
    model = onnx.load_from_string(body)
    for item in model.graph.input:
        for dim, size in zip(
            item.type.tensor_type.shape.dim, dict(inputs).get(item.name, ()), strict=False
        ):
            dim.dim_value = size
    for item in (*model.graph.output, *model.graph.value_info):
        item.type.tensor_type.ClearField("shape")
    return GraphView(model).shapes
