"""What the tests of the fake share: tiny graphs, and the few calls that lead to an engine."""

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tests.device.gpu_parts import Queue
from tests.device.simulated_gpu import SimulatedGpu
from tests.tensorrt.fake_state import State

BYTES, FLOATS, IDS = TensorProto.UINT8, TensorProto.FLOAT, TensorProto.INT64
PICTURE = (1, 4, 6, 3)
Border = tuple[str, int, tuple[int | str, ...]]
FRAME: Border = ("frame", BYTES, PICTURE)
LABELS: Border = ("labels", BYTES, (1, 4, 6))


def node(operator: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    """The node called `output`; `inputs` are names with spaces between them."""
    return helper.make_node(operator, inputs.split(), [output], name=output, **attributes)


TAIL = (
    node("ArgMax", "scaled", "ids", axis=3, keepdims=0),
    node("Cast", "ids", "rounded", to=FLOATS),
    node("Cast", "rounded", "labels", to=BYTES),
)
NODES = (node("Cast", "frame", "pixels", to=FLOATS), node("Mul", "pixels gain", "scaled"), *TAIL)
"""The brightest of three weighted channels, as class ids."""


def model(
    *nodes: NodeProto,
    inputs: tuple[Border, ...] = (FRAME,),
    outputs: tuple[Border, ...] = (LABELS,),
    opset: int = 17,
    **constants: np.ndarray,
) -> bytes:
    """A serialised model; `gain`, three weights, is always there."""
    weights = {"gain": np.array([1.0, 0.5, 2.0], np.float32)} | constants
    graph = helper.make_graph(
        nodes or NODES,
        "tiny",
        [helper.make_tensor_value_info(*item) for item in inputs],
        [helper.make_tensor_value_info(*item) for item in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return bytes(made.SerializeToString())


def quantized(zero: np.ndarray | None = None, scale: float = 0.5) -> bytes:
    """The model with a Q/DQ pair before the weights."""
    pair = (
        node("Cast", "frame", "pixels", to=FLOATS),
        node("QuantizeLinear", "pixels scale zero", "whole"),
        node("DequantizeLinear", "whole scale zero", "real"),
        node("Mul", "real gain", "scaled"),
    )
    zero = np.zeros((), np.int8) if zero is None else zero
    return model(*pair, *TAIL, scale=np.float32(scale).reshape(()), zero=zero)


def dynamic() -> bytes:
    """The model for any number of frames."""
    return model(
        inputs=(("frame", BYTES, ("n", 4, 6, 3)),), outputs=(("labels", BYTES, ("n", 4, 6)),)
    )


def expected(pixels: np.ndarray) -> np.ndarray:
    weights = np.array([1.0, 0.5, 2.0], np.float32)
    return np.argmax(pixels.astype(np.float32) * weights, axis=3).astype(np.uint8)


class Use:
    """A logger that keeps its lines, a builder and a network of one fake."""

    def __init__(self, trt: Any, gpu: SimulatedGpu, *, typed: bool = False) -> None:
        self.trt, self.gpu = trt, gpu
        self.lines: list[tuple[str, str]] = []
        self.fake: State = trt.fake
        self.log = logger(trt, self.lines)
        self.builder = trt.Builder(self.log)
        self.config = self.builder.create_builder_config()
        kinds = trt.NetworkDefinitionCreationFlag.__members__
        wanted = ["EXPLICIT_BATCH", *(["STRONGLY_TYPED"] if typed else [])]
        flags = sum(1 << int(kinds[name]) for name in wanted if name in kinds)
        self.network = self.builder.create_network(flags)
        self.parser = trt.OnnxParser(self.network, self.log)

    @property
    def errors(self) -> str:
        return "\n".join(text for severity, text in self.lines if severity == "ERROR")

    def flag(self, name: str) -> None:
        self.config.set_flag(getattr(self.trt.BuilderFlag, name))

    def plan(self, data: bytes) -> Any:
        assert self.parser.parse(data), self.errors
        return self.builder.build_serialized_network(self.network, self.config)

    def engine(self, data: bytes) -> Any:
        plan = self.plan(data)
        assert plan is not None, self.errors
        return self.trt.Runtime(self.log).deserialize_cuda_engine(plan)


class Running:
    """A context with memory for its borders, and a stream."""

    def __init__(self, gpu: SimulatedGpu, engine: Any, context: Any = None) -> None:
        self.gpu, self.engine = gpu, engine
        self.context = context or engine.create_execution_context()
        self.stream = stream(gpu)
        self.memory = {name: gpu.allocate("mapped", PICTURE[1] * 6 * 64) for name in names(engine)}

    def address(self) -> bool:
        pairs = [(name, memory.address) for name, memory in self.memory.items()]
        return all([self.context.set_tensor_address(name, at) for name, at in pairs])

    def show(self, pixels: np.ndarray) -> None:
        self.memory["frame"].cpu[: pixels.size] = pixels.ravel()

    def labels(self) -> np.ndarray:
        return self.memory["labels"].cpu[:24].reshape(1, 4, 6)

    def execute(self) -> bool:
        return bool(self.context.execute_async_v3(self.stream))

    def wait(self) -> None:
        self.gpu.synchronize(self.stream)


def names(engine: Any) -> list[str]:
    return [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]


def stream(gpu: SimulatedGpu) -> int:
    return gpu.create(Queue(blocking=False))


def pixels_of(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, PICTURE).astype(np.uint8)


def logger(trt: Any, lines: list[tuple[str, str]]) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, msg: str) -> None:
            lines.append((severity.name, msg))

    return Log()


def with_context(gpu: SimulatedGpu) -> None:
    """Make the primary context the current one of this thread."""
    gpu.initialise()
    gpu.retain()
    gpu.push()
