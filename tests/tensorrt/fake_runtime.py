"""The runtime, engines and their inspector."""

import json
from typing import Any

import onnxruntime as ort

from tests.tensorrt.fake_binding import Dims
from tests.tensorrt.fake_builder import NO_OBJECT
from tests.tensorrt.fake_plan import HostMemory, packed, unpacked
from tests.tensorrt.fake_state import State

REBUILD = "Please rebuild the engine"


class Runtime:
    _fake: State

    def __init__(self, logger: Any) -> None:
        if self._fake.gpu is None:
            raise TypeError(NO_OBJECT)
        self._logger = logger
        self._dla, self._host_code = 0, False

    @property
    def logger(self) -> Any:
        return self._logger

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802
        return self._fake.board.dla_cores

    @property
    def DLA_core(self) -> int:  # noqa: N802
        return self._dla

    @DLA_core.setter
    def DLA_core(self, value: int) -> None:  # noqa: N802
        self._dla = value

    @property
    def engine_host_code_allowed(self) -> bool:
        return self._host_code

    @engine_host_code_allowed.setter
    def engine_host_code_allowed(self, value: bool) -> None:
        self._host_code = value

    @property
    def max_threads(self) -> int:
        return 1

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        fake = self._fake
        fake.deserialized += 1
        try:
            header, body = unpacked(bytes(serialized_engine))
            refusal = self._refusal(header)
        except (ValueError, KeyError) as error:
            fake.garbage += 1
            refusal = f"Error Code 1: Serialization ({error})"
        if refusal:
            fake.log(self._logger, "ERROR", refusal)
            fake.log(
                self._logger,
                "ERROR",
                "Error Code 4: Internal Error (Engine deserialization failed.)",
            )
            return None
        if header["gpu"] != fake.device[0]:
            text = "Using an engine plan file across different models of devices is not recommended"
            fake.log(self._logger, "WARNING", f"{text} and is likely to affect performance")
        return fake.new("ICudaEngine", header=header, body=body, logger=self._logger)

    def _refusal(self, header: dict[str, Any]) -> str | None:
        fake = self._fake
        if header["compatible"]:
            if not self._host_code:
                return "Error Code 3: the plan holds host code, and that is not allowed"
        elif header["version"] != fake.surface.version:
            built = (
                f"The engine plan file is not compatible with this version of TensorRT, {REBUILD}"
            )
            return f"Error Code 6: API Usage Error ({built}: {header['version']})"
        if header["capability"] != list(fake.device[1]):
            built = f"The engine plan file is generated on an incompatible device, {REBUILD}"
            return f"Error Code 6: API Usage Error ({built}: {header['capability']})"
        if header["dla"] is not None and not self._dla < fake.board.dla_cores:
            return f"Error Code 3: DLA core {self._dla} is not one of {fake.board.dla_cores}"
        return None


class ICudaEngine:
    _fake: State

    def _setup(self, header: dict[str, Any], body: bytes, logger: Any) -> None:
        self._header, self._body, self._logger = header, body, logger
        self._io = {item["name"]: item for item in header["io"]}
        self._session: Any = None

    def _running(self) -> Any:
        """The session of ONNX Runtime that computes what this engine does."""
        if self._session is None:
            options = ort.SessionOptions()
            options.intra_op_num_threads, options.log_severity_level = 1, 3
            # Fused INT8 kernels saturate on some CPUs; TensorRT's do not.
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            self._session = ort.InferenceSession(
                self._body, options, providers=["CPUExecutionProvider"]
            )
        return self._session

    def _known(self, name: str) -> Any:
        if name not in self._io:
            text = f"Error Code 3: API Usage Error (Given invalid tensor name: {name})"
            self._fake.log(self._logger, "ERROR", text)
        return self._io.get(name)

    @property
    def name(self) -> str:
        return str(self._header["name"])

    @property
    def num_io_tensors(self) -> int:
        return len(self._io)

    @property
    def num_layers(self) -> int:
        return len(self._header["layers"])

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._header["profiles"])

    @property
    def profiling_verbosity(self) -> Any:
        return self._fake.module.ProfilingVerbosity(self._header["verbosity"])

    @property
    def device_memory_size(self) -> int:
        self._fake.deprecated((10, 1))
        return int(self._header["activations"])

    @property
    def device_memory_size_v2(self) -> int:
        return int(self._header["activations"])

    def get_device_memory_size_for_profile(self, profile_index: int) -> int:
        del profile_index
        self._fake.deprecated((10, 1))
        return int(self._header["activations"])

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        del profile_index
        return int(self._header["activations"])

    def get_tensor_name(self, index: int) -> str:
        return list(self._io)[index]

    def __getitem__(self, arg0: int) -> str:
        return list(self._io)[arg0]

    def get_tensor_mode(self, name: str) -> Any:
        item = self._known(name)
        mode = "NONE" if item is None else "INPUT" if item["input"] else "OUTPUT"
        return self._fake.value(f"TensorIOMode.{mode}")

    def get_tensor_shape(self, name: str) -> Dims:
        item = self._known(name)
        return Dims(item["shape"] if item else ())

    def get_tensor_dtype(self, name: str) -> Any:
        item = self._known(name)
        return self._fake.module.DataType(item["dtype"] if item else 0)

    def get_tensor_format(self, name: str) -> Any:
        self._known(name)
        return self._fake.value("TensorFormat.LINEAR")

    def get_tensor_location(self, name: str) -> Any:
        self._known(name)
        return self._fake.value("TensorLocation.DEVICE")

    def is_shape_inference_io(self, name: str) -> bool:
        self._known(name)
        return False

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        item = self._known(name)
        if item is None or not item["input"]:
            return []
        shapes = self._header["profiles"][profile_index].get(name, [item["shape"]] * 3)
        return [Dims(shape) for shape in shapes]

    def serialize(self) -> HostMemory:
        return HostMemory(packed(self._header, self._body))

    def create_engine_inspector(self) -> Any:
        return self._fake.new("EngineInspector", engine=self)

    def create_execution_context(self, strategy: Any = None) -> Any:
        managed = strategy is not None and strategy.name == "USER_MANAGED"
        return self._context(own_memory=not managed)

    def create_execution_context_without_device_memory(self) -> Any:
        return self._context(own_memory=False)

    def _context(self, *, own_memory: bool) -> Any:
        made = self._fake.new("IExecutionContext", engine=self, own_memory=own_memory)
        self._fake.contexts.add(made)
        return made


class EngineInspector:
    _fake: State

    def _setup(self, engine: Any) -> None:
        self._engine = engine

    def get_engine_information(self, format: Any) -> str:
        layers = self._engine._header["layers"]
        if format.name == "JSON":
            return json.dumps({"Layers": layers, "Bindings": list(self._engine._io)})
        return "\n".join(str(layer) for layer in layers)

    def get_layer_information(self, layer_index: int, format: Any) -> str:
        layer = self._engine._header["layers"][layer_index]
        return json.dumps(layer) if format.name == "JSON" else str(layer)
