"""Quantised graphs drawn node by node: right ones, and ones that break a rule."""

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = np.ndarray

CHANNELS = 4
SHAPE = (1, CHANNELS, 8, 8)


class Sketch:
    """Nodes from the input `x`, float32 of SHAPE; what a node gives is called NODE_out."""

    def __init__(self, opset: int = 17) -> None:
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, Array] = {}
        self.entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)

    def constant(self, name: str, value: Array) -> str:
        self.weights[name] = value
        return name

    def add(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        output = f"{name}_out"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def pair(
        self,
        source: str,
        name: str,
        scale: object = 0.1,
        zero: object = np.int8(0),
    ) -> str:
        """A Q and a DQ, called NAME_q and NAME_dq, behind `source`; None is no zero point."""
        numbers = [self.constant(f"{name}_scale", np.asarray(scale, np.float32))]
        if zero is not None:
            numbers.append(self.constant(f"{name}_zero", np.asarray(zero)))
        integers = self.add("QuantizeLinear", [source, *numbers], f"{name}_q")
        return self.add("DequantizeLinear", [integers, *numbers], f"{name}_dq")

    def weight(self, name: str, shape: tuple[int, ...], axis: int = 0, scale: object = None) -> str:
        """INT8 of `shape` behind a DQ, with a scale for each index of `axis` unless told."""
        step = np.full(shape[axis], 0.01) if scale is None else np.asarray(scale)
        numbers = [
            self.constant(f"{name}_s8", np.ones(shape, np.int8)),
            self.constant(f"{name}_scale", step.astype(np.float32)),
            self.constant(f"{name}_zero", np.zeros(step.shape, np.int8)),
        ]
        return self.add("DequantizeLinear", numbers, f"{name}_dq", axis=axis)

    def conv(self, source: str, name: str, *more: str, **attributes: object) -> str:
        """An INT8 convolution: the pair on its input is NAME_x, its weight NAME_w."""
        weight = self.weight(f"{name}_w", (CHANNELS, CHANNELS, 1, 1))
        pair = self.pair(source, f"{name}_x")
        return self.add("Conv", [pair, weight, *more], name, **attributes)

    def node(self, name: str) -> NodeProto:
        return next(node for node in self.nodes if node.name == name)

    def model(self, *outputs: str, kind: int = TensorProto.FLOAT) -> ModelProto:
        """The checked model with these outputs."""
        graph = helper.make_graph(
            self.nodes,
            "sketch",
            [self.entry],
            [helper.make_tensor_value_info(name, kind, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid("own", 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=9)
        model = onnx.shape_inference.infer_shapes(model)
        for value in model.graph.output:
            if not value.type.tensor_type.HasField("shape"):  # of an operator that is not ONNX's
                value.CopyFrom(helper.make_tensor_value_info(value.name, kind, [None] * 4))
        onnx.checker.check_model(model)
        return model
