"""The network definition: a parsed ONNX graph, its layers and its tensors."""

from typing import Any

import onnx
from onnx import NodeProto, TensorProto

from tests.tensorrt.fake_binding import Dims
from tests.tensorrt.fake_graph import GraphView
from tests.tensorrt.fake_state import State

DATA_TYPES = {
    TensorProto.FLOAT: "FLOAT", TensorProto.FLOAT16: "HALF", TensorProto.INT8: "INT8",
    TensorProto.INT32: "INT32", TensorProto.INT64: "INT64", TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8", TensorProto.BFLOAT16: "BF16",
}  # fmt: skip
LAYER_TYPES = {
    "Conv": "CONVOLUTION", "ConvTranspose": "DECONVOLUTION", "Relu": "ACTIVATION",
    "LeakyRelu": "ACTIVATION", "Sigmoid": "ACTIVATION", "Clip": "ACTIVATION",
    "Tanh": "ACTIVATION", "Elu": "ACTIVATION", "HardSigmoid": "ACTIVATION",
    "PRelu": "PARAMETRIC_RELU",
    "MaxPool": "POOLING", "AveragePool": "POOLING", "GlobalAveragePool": "REDUCE",
    "GlobalMaxPool": "REDUCE", "ReduceMean": "REDUCE", "ReduceSum": "REDUCE", "ReduceMax": "REDUCE",
    "Add": "ELEMENTWISE", "Mul": "ELEMENTWISE", "Sub": "ELEMENTWISE", "Div": "ELEMENTWISE",
    "Max": "ELEMENTWISE", "Min": "ELEMENTWISE", "Pow": "ELEMENTWISE", "Equal": "ELEMENTWISE",
    "Greater": "ELEMENTWISE", "Less": "ELEMENTWISE", "And": "ELEMENTWISE",
    "Concat": "CONCATENATION", "Resize": "RESIZE", "Upsample": "RESIZE", "Softmax": "SOFTMAX",
    "ArgMax": "TOPK", "TopK": "TOPK", "Cast": "CAST", "Slice": "SLICE", "Pad": "SLICE",
    "Split": "SLICE", "Gather": "GATHER", "MatMul": "MATRIX_MULTIPLY", "Gemm": "MATRIX_MULTIPLY",
    "QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE", "Shape": "SHAPE",
    "Transpose": "SHUFFLE", "Reshape": "SHUFFLE", "Flatten": "SHUFFLE", "Squeeze": "SHUFFLE",
    "Unsqueeze": "SHUFFLE", "DepthToSpace": "SHUFFLE", "Expand": "SLICE", "Where": "SELECT",
    "BatchNormalization": "SCALE", "InstanceNormalization": "NORMALIZATION", "LRN": "LRN",
    "Identity": "IDENTITY", "Constant": "CONSTANT", "ScatterND": "SCATTER", "Einsum": "EINSUM",
    "GridSample": "GRID_SAMPLE", "NonMaxSuppression": "NMS", "ConstantOfShape": "FILL",
}  # fmt: skip
"""ONNX operators to `LayerType`; all others are UNARY."""

WEIGHTS = {"Conv": 1, "ConvTranspose": 1, "Clip": 1, "Resize": 1, "BatchNormalization": 1}
"""Inputs that are no tensors of the layer where they are constant."""


class ITensor:
    _fake: State

    def _setup(self, network: Any, name: str, role: str) -> None:
        self._network, self._name, self._role = network, name, role

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._network._renamed(self._name, value)
        self._name = value

    @property
    def dtype(self) -> Any:
        kind = DATA_TYPES[self._network._view.types[self._name]]
        kind = "INT32" if kind == "INT64" and self._fake.release[0] < 10 else kind
        return self._network._dtypes.get(self._name, self._fake.value(f"DataType.{kind}"))

    @dtype.setter
    def dtype(self, value: Any) -> None:
        self._fake.deprecated((10, 12))
        self._network._dtypes[self._name] = value

    @property
    def shape(self) -> Any:
        return Dims(self._network._view.shapes.get(self._name, ()))

    @property
    def is_network_input(self) -> bool:
        return self._role == "input"

    @property
    def is_network_output(self) -> bool:
        return self._name in self._network._view.outputs

    @property
    def is_shape_tensor(self) -> bool:
        return False

    @property
    def is_execution_tensor(self) -> bool:
        return True

    @property
    def location(self) -> Any:
        return self._fake.value("TensorLocation.DEVICE")

    @property
    def dynamic_range(self) -> Any:
        return self._network._ranges.get(self._name)

    @dynamic_range.setter
    def dynamic_range(self, value: Any) -> None:
        self.set_dynamic_range(*value)

    def set_dynamic_range(self, min: float, max: float) -> bool:
        self._fake.deprecated((10, 1))
        self._network._ranges[self._name] = (min, max)
        return True


class ILayer:
    _fake: State

    def _setup(self, network: Any, node: NodeProto) -> None:
        self._network, self._node = network, node
        view: GraphView = network._view
        first = WEIGHTS.get(node.op_type, len(node.input))
        self._inputs = [
            name
            for place, name in enumerate(node.input)
            if name and (place < first or name not in view.constants)
        ]

    @property
    def name(self) -> str:
        return self._node.name

    @property
    def type(self) -> Any:
        kind = LAYER_TYPES.get(self._node.op_type, "UNARY")
        return self._fake.value(f"LayerType.{kind}")

    @property
    def metadata(self) -> str:
        return f"[ONNX Layer: {self._node.name}]" if self._fake.release[0] >= 10 else ""

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._node.output)

    def get_input(self, index: int) -> Any:
        return self._tensor(self._inputs, index)

    def get_output(self, index: int) -> Any:
        return self._tensor(list(self._node.output), index)

    def get_output_type(self, index: int) -> Any:
        chosen = self._network._output_types.get((self._node.name, index))
        return self.get_output(index).dtype if chosen is None else chosen

    def set_output_type(self, index: int, dtype: Any) -> None:
        self._fake.deprecated((10, 12))
        self._network._output_types[self._node.name, index] = dtype

    def output_type_is_set(self, index: int) -> bool:
        return (self._node.name, index) in self._network._output_types

    @property
    def precision(self) -> Any:
        chosen = self._network._precisions.get(self._node.name)
        return self._fake.value("DataType.FLOAT") if chosen is None else chosen

    @precision.setter
    def precision(self, value: Any) -> None:
        self._fake.deprecated((10, 12))
        self._network._precisions[self._node.name] = value

    @property
    def precision_is_set(self) -> bool:
        return self._node.name in self._network._precisions

    def _tensor(self, names: list[str], index: int) -> Any:
        """None where there is no such tensor, as TensorRT has it."""
        return self._network._tensor(names[index]) if 0 <= index < len(names) else None


class INetworkDefinition:
    _fake: State

    def _setup(self, builder: Any, flags: int) -> None:
        self._builder, self._flags = builder, flags
        self._view = GraphView(onnx.helper.make_model(onnx.helper.make_graph([], "", [], [])))
        self._parser: Any = None
        """A weak reference to who parsed it, and who owns the weights."""
        self._dtypes: dict[str, Any] = {}
        self._ranges: dict[str, tuple[float, float]] = {}
        self._precisions: dict[str, Any] = {}
        self._output_types: dict[tuple[str, int], Any] = {}
        self._names = {"": "Unnamed Network 0"}
        explicit = self._fake.value("NetworkDefinitionCreationFlag.EXPLICIT_BATCH")
        self._implicit = self._fake.release[0] < 10 and not self._has(explicit)
        typed = self._fake.value("NetworkDefinitionCreationFlag.STRONGLY_TYPED")
        self._strongly_typed = self._fake.release[0] >= 11 or self._has(typed)

    def _has(self, flag: Any) -> bool:
        return flag is not None and bool(self._flags >> int(flag) & 1)

    def _renamed(self, old: str, new: str) -> None:
        raise NotImplementedError(f"the fake TensorRT does not rename {old} to {new}")

    def _tensor(self, name: str) -> Any:
        role = "input" if name in self._view.inputs else ""
        return self._fake.new("ITensor", network=self, name=name, role=role)

    @property
    def name(self) -> str:
        return self._names[""]

    @name.setter
    def name(self, value: str) -> None:
        self._names[""] = value

    @property
    def flags(self) -> int:
        return self._flags

    def get_flag(self, flag: Any) -> bool:
        return self._has(flag)

    @property
    def has_implicit_batch_dimension(self) -> bool:
        self._fake.deprecated((10, 0))
        return self._implicit

    @property
    def num_layers(self) -> int:
        return len(self._view.nodes)

    @property
    def num_inputs(self) -> int:
        return len(self._view.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._view.outputs)

    def get_layer(self, index: int) -> Any:
        if not 0 <= index < self.num_layers:
            return None
        return self._fake.new("ILayer", network=self, node=self._view.nodes[index])

    def get_input(self, index: int) -> Any:
        names = self._view.inputs
        return self._tensor(names[index]) if 0 <= index < len(names) else None

    def get_output(self, index: int) -> Any:
        names = self._view.outputs
        return self._tensor(names[index]) if 0 <= index < len(names) else None

    def __len__(self) -> int:
        return len(self._view.nodes)

    def __getitem__(self, arg0: int) -> Any:
        if arg0 >= len(self._view.nodes):
            raise IndexError(arg0)
        return self._fake.new("ILayer", network=self, node=self._view.nodes[arg0])
