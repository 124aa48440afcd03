"""Making inner tensors of a graph visible, for calibration."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from edgeseg.graph.nodes import constants, initializer, producers, shapes

FAR = 1 << 31
"""Beyond the end of every axis."""


class Tap(NamedTuple):
    """Where a graph of `condensed` gives what it knows of one tensor."""

    tensor: str
    sample: str
    """The output that holds its values, or some of many."""
    figures: tuple[str, str, str] | None
    """The outputs with the minimum, the maximum and the sum of all its values, where the sample
    does not hold them all. The sum shows a NaN, which a minimum may pass over."""


def float_activations(model: ModelProto) -> list[str]:
    """The float32 tensors that depend on the input, in the order of the graph, inputs first."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    floats = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    fixed = {*constants(model), ""}
    found = [value.name for value in model.graph.input if value.name not in fixed]
    for node in model.graph.node:
        if all(name in fixed for name in node.input):
            fixed.update(node.output)
        else:
            found.extend(name for name in node.output if name)
    return [name for name in found if name in floats]


def computed_by(model: ModelProto, tensor: str) -> str:
    """What makes `tensor`, in words: the op and the name of its node, or that it is the input."""
    node = producers(model).get(tensor)
    return f"{node.op_type} {node.name!r}" if node is not None else "the network's input"


def tapped(model: ModelProto, names: Sequence[str]) -> ModelProto:
    """A copy of `model` whose outputs are exactly the float32 tensors `names`."""
    copy = ModelProto()
    copy.CopyFrom(model)
    inputs = {value.name for value in copy.graph.input}
    del copy.graph.output[:]
    for name in names:
        source = name
        if name in inputs:  # an input cannot be an output as well
            source = _add(copy, "Identity", [name], f"{name}_seen")
        _show(copy, source)
    return onnx.shape_inference.infer_shapes(copy)


def condensed(model: ModelProto, samples: Mapping[str, int]) -> tuple[ModelProto, list[Tap]]:
    """A copy of `model` whose outputs are samples of the float32 tensors that `samples` names.

    Of a tensor with more values than `samples` says, every nth row and column comes out, an odd
    n, so that no grid is favoured. So the outputs stay small whatever the size of the maps, and
    the graph's own memory is freed as it is when nobody looks.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    known = shapes(model)
    inputs = {value.name for value in copy.graph.input}
    del copy.graph.output[:]
    taps = []
    for name, most in samples.items():
        step = _step(known.get(name, ()), most)
        if step > 1:
            sample = _sliced(copy, name, step, len(known[name]))
            low, high, total = (_reduced(copy, name, what) for what in ("Min", "Max", "Sum"))
            tap = Tap(name, sample, (low, high, total))
        else:
            given = name in inputs
            sample = _add(copy, "Identity", [name], f"{name}_seen") if given else name
            tap = Tap(name, sample, None)
        for output in (tap.sample, *(tap.figures or ())):
            _show(copy, output)
        taps.append(tap)
    return copy, taps


def _step(shape: Sequence[int], most: int) -> int:
    size = int(np.prod(shape))
    if len(shape) < 3 or size <= most:
        return 1
    return int(np.ceil(np.sqrt(size / most))) | 1


def _sliced(model: ModelProto, name: str, step: int, rank: int) -> str:
    """The name of every `step`-th row and column of the tensor `name`, which is added."""
    inputs = [name]
    spatial = [rank - 2, rank - 1]
    values = {"starts": [0, 0], "ends": [FAR, FAR], "axes": spatial, "steps": [step, step]}
    for what, value in values.items():
        inputs.append(f"{name}_{what}")
        model.graph.initializer.append(initializer(inputs[-1], np.array(value, np.int64)))
    return _add(model, "Slice", inputs, f"{name}_seen")


def _reduced(model: ModelProto, name: str, what: str) -> str:
    """The name of the minimum, maximum or sum over the whole tensor `name`, which is added."""
    output = f"{name}_{what.lower()}"
    node = helper.make_node(f"Reduce{what}", [name], [output], name=output, keepdims=0)
    model.graph.node.append(node)
    return output


def _add(model: ModelProto, op: str, inputs: Sequence[str], output: str) -> str:
    model.graph.node.append(helper.make_node(op, inputs, [output], name=output))
    return output


def _show(model: ModelProto, name: str) -> None:
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
