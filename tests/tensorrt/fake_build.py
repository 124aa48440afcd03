"""What a build refuses, and what it writes about the layers that it made."""

import hashlib
import math
from collections.abc import Iterator
from typing import Any

from onnx import NodeProto, helper

from tests.tensorrt.fake_graph import FLOAT, HALF, INT32, INT64, QDQ, UINT8, GraphView
from tests.tensorrt.fake_network import DATA_TYPES
from tests.tensorrt.fake_state import State

MIB = 1 << 20
ON_DLA = {
    *("Conv", "ConvTranspose", "Relu", "Clip", "Sigmoid", "Tanh", "MaxPool", "AveragePool"),
    *("Add", "Mul", "Sub", "Max", "Min", "Concat", "Resize", "BatchNormalization", "Softmax"),
}
FORMATS = {
    "FLOAT": ("Row major linear FP32", "Float"),
    "HALF": ("Row major linear FP16 format", "Half"),
    "INT8": ("Thirty-two wide channel vectorized row major Int8 format", "Int8"),
    "UINT8": ("Row major linear UInt8 format", "UInt8"),
    "INT32": ("Row major linear INT32", "Int32"),
    "INT64": ("Row major linear INT32", "Int64"),
    "BOOL": ("Row major linear Bool", "Bool"),
}
"""As the inspector of 8.6 and that of later versions write a tensor's format."""


def refusals(network: Any, config: Any, fake: State) -> Iterator[str]:
    """The first error lines of a build that cannot be; nothing for one that can."""
    view: GraphView = network._view
    if not view.nodes or not view.outputs:
        yield "Error Code 4: Internal Error (Network must have at least one output)"
        return
    yield from _bytes_at_borders(view, fake)
    yield from _shapes(view, config)
    yield from _precision(network, config, fake)
    yield from _constraints(network)
    yield from _deconvolutions(view)
    if config._device == "DLA":
        yield from _dla(network, config, fake)


def runs_on_dla(network: Any, node: NodeProto, fake: State) -> bool:
    """Whether the DLA of this version takes a layer."""
    view: GraphView = network._view
    if node.op_type == "Constant":
        return True
    if node.op_type in QDQ:
        return fake.release[0] >= 11
    taken = {HALF} if network._strongly_typed else {HALF, FLOAT}
    names = [n for n in (*node.input[:1], *node.output) if n]
    if node.op_type not in ON_DLA or any(view.types.get(name) not in taken for name in names):
        return False
    given = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type == "Resize":
        return _resizes_on_dla(view, node)
    kernel = given.get("kernel_shape", [1])
    if node.op_type == "ConvTranspose":
        plain = not any(given.get("pads", [0])) and given.get("group", 1) == 1
        return plain and max(given.get("dilations", [1])) == 1 and max(kernel) < 23
    largest = 8 if node.op_type.endswith("Pool") else 32
    return max(kernel) <= largest and max(max(view.shapes[n], default=0) for n in names) <= 8192


def layer_key(view: GraphView, node: NodeProto) -> str:
    """By what the timing cache knows a layer: operator, shapes and types."""
    tensors = [(view.shapes.get(n), view.types.get(n)) for n in (*node.input, *node.output)]
    return hashlib.sha1(f"{node.op_type} {tensors}".encode()).hexdigest()[:16]


def activation_bytes(view: GraphView) -> int:
    """Room for the two largest tensors inside the graph, in steps of 512 bytes."""
    inner = [n for n in view.maker if n not in view.outputs and n not in view.constants]
    sizes = sorted((4 * abs(math.prod(view.shapes.get(n, ()))) for n in inner), reverse=True)
    return -(-sum(sizes[:2]) // 512) * 512


def layers_of(network: Any, config: Any, fake: State) -> list[dict[str, Any]]:
    """What the inspector says of each layer in an engine with DETAILED verbosity."""
    view: GraphView = network._view
    return [
        {
            "Name": node.name,
            "LayerType": _layer_type(network, node, config, fake),
            "Inputs": [_tensor(view, n, fake) for n in node.input if n in view.types],
            "Outputs": [_tensor(view, n, fake) for n in node.output],
            "TacticName": f"sm80_{node.op_type.lower()}",
            "StreamId": 0,
            "Metadata": f"[ONNX Layer: {node.name}]",
        }
        for node in view.nodes
        if node.op_type != "Constant"
    ]


def _layer_type(network: Any, node: NodeProto, config: Any, fake: State) -> str:
    if config._device == "DLA" and runs_on_dla(network, node, fake):
        return "DLA"
    return {"Conv": "CaskConvolution", "Cast": "Cast", "Resize": "Resize"}.get(
        node.op_type, "PointWiseV2"
    )


def _tensor(view: GraphView, name: str, fake: State) -> dict[str, Any]:
    kind = DATA_TYPES.get(view.types.get(name, FLOAT), "FLOAT")
    return {
        "Name": name,
        "Location": "Device",
        "Dimensions": list(view.shapes.get(name, ())),
        "Format/Datatype": FORMATS[kind][fake.release[0] >= 10],
    }


def _bytes_at_borders(view: GraphView, fake: State) -> Iterator[str]:
    """Bytes go in through one Cast to a float type, and out through one; nowhere else."""
    floats = {FLOAT, HALF}
    for name in view.inputs:
        users = view.users[name]
        if view.types[name] != UINT8:
            continue
        casts = [n for n in users if n.op_type == "Cast" and view.types[n.output[0]] in floats]
        if fake.board.refuse_uint8 or len(users) != 1 or not casts or name in view.outputs:
            yield f"Error Code 9: UINT8 input {name} must feed one cast to a float type only"
    for node in view.nodes:
        for name in node.output:
            if view.types.get(name) != UINT8 or node.op_type == "Constant":
                continue
            source = view.types.get(node.input[0])
            if node.op_type != "Cast" or source not in floats:
                kind = {INT32: "INT32", INT64: "INT64"}.get(source or 0, "its input")
                yield f"Error Code 9: {node.name}: no conversion from {kind} to UINT8"
            elif fake.board.refuse_uint8 or view.users[name] or name not in view.outputs:
                yield f"Error Code 9: {node.name}: UINT8 is for network outputs only"


def _shapes(view: GraphView, config: Any) -> Iterator[str]:
    for name in view.inputs:
        if -1 not in view.shapes[name]:
            continue
        if not config._profiles:
            yield (
                "Error Code 4: Internal Error (Network has dynamic or shape inputs, but no "
                "optimization profile has been defined.)"
            )
            return
        for index, profile in enumerate(config._profiles):
            wanted = zip(view.shapes[name], *profile._shapes.get(name, [()] * 3), strict=False)
            if name not in profile._shapes or any(
                low > best or best > high or dim not in {-1, low} or (dim > 0 and dim != high)
                for dim, low, best, high in wanted
            ):
                yield f"Error Code 4: {name}: optimization profile {index} is missing or wrong"


def _precision(network: Any, config: Any, fake: State) -> Iterator[str]:
    view: GraphView = network._view
    flags = {name for name in ("INT8", "FP16") if config._has(name)}
    if network._strongly_typed and flags and fake.release[0] < 11:
        yield f"Error Code 4: API Usage Error (k{min(flags)} is set on a strongly typed network)"
    if not network._strongly_typed and view.is_quantized and "INT8" not in flags:
        yield "Error Code 4: Internal Error (networks with Q/DQ layers need the INT8 flag)"
    if view.is_quantized and config._calibrator is not None:
        yield "Error Code 4: a calibrator cannot be used with explicit quantization"
    has_scales = view.is_quantized or config._calibrator is not None or network._ranges
    if "INT8" in flags and not has_scales:
        yield "Error Code 4: Calibration: no calibrator, and no dynamic ranges are set"


def _constraints(network: Any) -> Iterator[str]:
    """Only what is float can be told to be another float, and only where types are a choice."""
    view: GraphView = network._view
    told = {*network._precisions, *(name for name, _ in network._output_types)}
    if network._strongly_typed and told:
        yield "Error Code 3: API Usage Error (a precision is set in a strongly typed network)"
    for node in view.nodes:
        tensors = [*node.input[:1], *node.output] if node.name in told else []
        if any(view.types.get(name) not in {FLOAT, HALF} for name in tensors):
            yield f"Error Code 4: {node.name}: its precision is no choice, for it has no floats"


def _deconvolutions(view: GraphView) -> Iterator[str]:
    """There is no kernel for INT8 with a scale for each output channel."""
    for node in view.nodes:
        made = view.maker.get(node.input[1]) if node.op_type == "ConvTranspose" else None
        if made is None or made.op_type != "DequantizeLinear":
            continue
        scale = view.constants.get(made.input[1])
        if scale is not None and scale.size > 1:
            fused = f"{made.input[0]} + {made.name} + {node.name}"
            yield (
                "[optimizer.cpp::computeCosts::3728] Error Code 10: Internal Error (Could not find "
                f"any implementation for node {fused}.)"
            )


def constraints(network: Any, config: Any) -> dict[str, str]:
    """The precision of each layer that was told one and keeps it: without a flag none does."""
    if not (
        config._has("PREFER_PRECISION_CONSTRAINTS") or config._has("OBEY_PRECISION_CONSTRAINTS")
    ):
        return {}
    return {
        name: chosen.name
        for name, chosen in network._precisions.items()
        if network._output_types.get((name, 0)) == chosen
    }


def _dla(network: Any, config: Any, fake: State) -> Iterator[str]:
    view: GraphView = network._view
    if not 0 <= config._dla_core < fake.board.dla_cores:
        yield f"Error Code 3: DLA core {config._dla_core} is not one of {fake.board.dla_cores}"
        return
    if view.is_dynamic:
        yield "Error Code 4: DLA does not support dynamic shapes"
    if view.is_quantized and fake.release[0] < 11:
        yield "Error Code 4: DLA does not support explicit quantization"
    if not network._strongly_typed and not (config._has("FP16") or config._has("INT8")):
        yield "Error Code 4: DLA layers need FP16 or INT8 mode"
    if not config._has("GPU_FALLBACK"):
        for node in view.nodes:
            if not runs_on_dla(network, node, fake):
                yield f"Error Code 9: {node.name}: not supported on DLA, GPU fallback is off"


def _resizes_on_dla(view: GraphView, node: NodeProto) -> bool:
    """Both scales are whole, up to 4."""
    before, after = view.shapes[node.input[0]], view.shapes[node.output[0]]
    return all(b > 0 and a % b == 0 and a // b <= 4 for b, a in zip(before, after, strict=True))
