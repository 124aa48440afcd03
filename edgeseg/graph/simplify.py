"""The core: `pixels` float32 (1, 3, H, W) in, `logits` (1, C, h, w) out, fixed size, opset 17."""

from collections import Counter
from collections.abc import Sequence, Set
from typing import Literal

import numpy as np
import onnx
import onnxsim
from onnx import ModelProto, NodeProto, TensorProto, helper, version_converter

from edgeseg.errors import BuildError, InputFileError
from edgeseg.graph.load import ImageInput, image_input
from edgeseg.graph.nodes import (
    OPSET,
    attribute,
    constants,
    hoist_constants,
    initializer,
    prune,
    tensor_shape,
)
from edgeseg.graph.quantized_input import QDQ, explicit_zero_points
from edgeseg.graph.smooth import TENSORS
from edgeseg.types import Array, Size

Output = Literal["logits", "softmax", "sigmoid"]

RESIZE_SAYS_HOW = 11
"""The opset from which a Resize says where its pixels lie."""
AXES_AS_INPUT = frozenset(
    {"ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"}
)
"""Reductions whose axes became an input with opset 18."""

RESERVED = TENSORS | frozenset(
    {"pixels", "logits", "frame", "bytes", "planes", "channel_order", "ordered", "resized",
     "resized_sizes", "pixel_gain", "pixel_bias", "scaled", "yuv_zero", "yuv_rows", "yuv_end",
     "yuv_axis", "luma_rows", "chroma_rows", "luma_shape", "luma", "chroma_shape", "chroma_pairs",
     "chroma_pairs_shape", "chroma", "wide_chroma", "wide_chroma_sizes", "luma_gain", "grey",
     "blue_index", "red_index", "blue_chroma", "red_chroma", "r_offset", "r_of_red", "r_by_red",
     "r_with_red", "g_offset", "g_of_blue", "g_by_blue", "g_with_blue", "g_of_red", "g_by_red",
     "g_with_red", "b_offset", "b_of_blue", "b_by_blue", "b_with_blue", "tint", "tint_rows",
     "tint_rows_shape", "levels_unclipped", "levels_unrounded", "levels_paired", "levels_shape",
     "levels", "byte_min", "byte_max", "full_logits", "full_logits_sizes", "ids", "float_ids",
     "labels", "pixels_nhwc", "scores_nchw", "sigmoid_one", "background", "two_classes"}
)  # fmt: skip
"""What the frame graph and this file call their own tensors: a stranger's are renamed."""

RESIZE_SINCE_18 = frozenset({"antialias", "axes", "keep_aspect_ratio_policy"})
QDQ_SINCE_19 = frozenset({"saturate", "output_dtype", "block_size", "precision"})


def fixed_core(model: ModelProto, size: Size, *, output: Output = "logits") -> ModelProto:
    """`model` (from torch or from a stranger) as a simplified core for pictures of `size`.

    Raises:
        InputFileError: no picture input, another fixed size, or an output that is no score map.
        BuildError: the graph cannot be simplified or brought to opset 17.
    """
    source = image_input(model)
    if source.size is not None and source.size != size:
        raise InputFileError(
            f"the network takes pictures of {source.size}, not {size}",
            fix=f"--size {source.size}, or export it with open height and width",
        )
    shape = [1, 3, *size] if source.layout == "nchw" else [1, *size, 3]
    if not any(entry.domain in {"", "ai.onnx"} for entry in model.opset_import):
        raise InputFileError("the graph uses no standard ONNX operator", fix="export it again")
    explicit = explicit_zero_points(model)
    simple = _simplified(_at_opset(explicit, minimum=OPSET), source.name, shape)
    simple = _at_opset(simple, minimum=OPSET, maximum=OPSET)
    core = _with_core_names(simple, source, size, output)
    onnx.checker.check_model(core, full_check=True)
    return core


def opset_of(model: ModelProto) -> int:
    """The version of the standard operators that `model` uses."""
    return next(
        int(entry.version) for entry in model.opset_import if entry.domain in {"", "ai.onnx"}
    )


def _simplified(model: ModelProto, name: str, shape: list[int]) -> ModelProto:
    own = ModelProto()
    own.CopyFrom(model)  # onnxsim 0.7, the newest for Python 3.10, writes into what it is given
    try:
        # Its own check compares random noise by absolute error; `build` compares real pictures.
        simple, _ = onnxsim.simplify(own, check_n=0, overwrite_input_shapes={name: shape})
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise BuildError(
            f"onnxsim cannot simplify the graph: {error}", fix="check the graph in ONNX Runtime"
        ) from error
    result: ModelProto = simple
    hoist_constants(result)
    return result


def _at_opset(model: ModelProto, *, minimum: int, maximum: int | None = None) -> ModelProto:
    """`model` with its opset raised to `minimum`, or lowered to `maximum`."""
    have = opset_of(model)
    if have < minimum:
        try:
            raised: ModelProto = version_converter.convert_version(model, minimum)
        except (RuntimeError, ValueError) as error:
            raise BuildError(
                f"the graph cannot be raised from opset {have} to {minimum}: {error}",
                fix=f"export the network with opset {minimum}",
            ) from error
        if have < RESIZE_SAYS_HOW:
            _say_how_it_resized(raised)
        return raised
    if maximum is not None and have > maximum:
        return _lowered(model, maximum)
    return model


def _say_how_it_resized(model: ModelProto) -> None:
    """Spell out, in place, what Upsample 9 and Resize 10 did unsaid: the converter forgets it."""
    for node in model.graph.node:
        if node.op_type == "Resize" and attribute(node, "coordinate_transformation_mode") is None:
            made = helper.make_attribute("coordinate_transformation_mode", "asymmetric")
            floor = helper.make_attribute("nearest_mode", "floor")
            node.attribute.extend([made, floor])


def _lowered(model: ModelProto, opset: int) -> ModelProto:
    """`model` (opset 18 and later) with the forms that opset 17 has."""
    lowered = ModelProto()
    lowered.CopyFrom(model)
    values = constants(lowered)
    for node in lowered.graph.node:
        _lower(node, values)
    prune(lowered)
    for entry in lowered.opset_import:
        if entry.domain in {"", "ai.onnx"}:
            entry.version = opset
    lowered.ir_version = 8
    try:
        onnx.checker.check_model(lowered, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BuildError(
            f"the graph uses operators newer than opset {opset}: {error}",
            fix=f"export the network with opset {opset}",
        ) from error
    return lowered


def _lower(node: NodeProto, values: dict[str, Array]) -> None:
    """Give `node`, in place, the form that it has in opset 17."""
    if node.op_type in AXES_AS_INPUT and len(node.input) == 2:
        if (axes := node.input.pop()) and axes in values:
            _drop_attributes(node, {item.name for item in node.attribute} - {"keepdims"})
            node.attribute.append(helper.make_attribute("axes", values[axes].tolist()))
    elif node.op_type == "Resize":
        if attribute(node, "antialias", 0):
            raise BuildError("an antialiased Resize has no form in opset 17", fix="turn it off")
        _drop_attributes(node, RESIZE_SINCE_18)
    elif node.op_type in QDQ:
        if attribute(node, "block_size", 0):
            raise BuildError(
                f"{node.name} has a scale for each block, which opset 17 does not know",
                fix="quantise with a scale for each channel",
            )
        _drop_attributes(node, QDQ_SINCE_19)


def _drop_attributes(node: NodeProto, names: Set[str]) -> None:
    kept = [item for item in node.attribute if item.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)


def _with_core_names(
    model: ModelProto, source: ImageInput, size: Size, output: Output
) -> ModelProto:
    """`model` in NCHW with the names `pixels` and `logits`."""
    graph = model.graph
    score = _score_map(model)
    nodes: list[NodeProto] = list(graph.node)
    shape = [dim for dim in tensor_shape(score) if isinstance(dim, int)]
    score_is_nhwc = _is_nhwc(shape, size, source)
    own = {name: f"own_{name}" for name in RESERVED - {source.name, score.name}}
    nodes = [_renamed(node, own) for node in nodes]
    for item in graph.initializer:
        item.name = own.get(item.name, item.name)
    entry, last = "pixels", score.name
    if source.layout == "nhwc":
        nodes.insert(
            0, helper.make_node("Transpose", ["pixels"], ["pixels_nhwc"], perm=[0, 2, 3, 1])
        )
        entry = "pixels_nhwc"
    nodes = [_renamed(node, {source.name: entry}) for node in nodes]
    if score_is_nhwc:
        nodes.append(helper.make_node("Transpose", [last], ["scores_nchw"], perm=[0, 3, 1, 2]))
        shape, last = [shape[0], shape[3], shape[1], shape[2]], "scores_nchw"
    if output == "sigmoid" and shape[1] == 1:
        graph.initializer.append(initializer("sigmoid_one", np.ones((), np.float32)))
        nodes.append(helper.make_node("Sub", ["sigmoid_one", last], ["background"]))
        nodes.append(helper.make_node("Concat", ["background", last], ["two_classes"], axis=1))
        shape, last = [shape[0], 2, *shape[2:]], "two_classes"
    nodes = [_renamed(node, {last: "logits"}) for node in nodes]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, *size]))
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape))
    _name_every_node(graph.node)
    return model


def _name_every_node(nodes: Sequence[NodeProto]) -> None:
    """Give each node a name that no other node has: Q/DQ sites are kept by it."""
    held = Counter(node.name for node in nodes)
    for index, node in enumerate(nodes):
        if not node.name or held[node.name] > 1:
            node.name = f"{node.op_type}_{index}"
            while node.name in held:
                node.name += "_"
            held[node.name] = 1


def _score_map(model: ModelProto) -> onnx.ValueInfoProto:
    value: onnx.ValueInfoProto
    for value in model.graph.output:
        shape = tensor_shape(value)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT and len(shape) == 4:
            return value
    raise InputFileError(
        "the graph has no float32 output (N, C, h, w) or (N, h, w, C) with a score per class",
        fix="export the network without its ArgMax, up to the scores",
    )


def _is_nhwc(shape: list[int], size: Size, source: ImageInput) -> bool:
    """Whether scores of `shape` end with the classes: the side that fits the picture decides."""
    aspect = size.width / size.height
    as_nchw = abs(shape[3] / shape[2] / aspect - 1)
    as_nhwc = abs(shape[2] / shape[1] / aspect - 1)
    return as_nhwc < as_nchw if as_nhwc != as_nchw else source.layout == "nhwc"


def _renamed(node: NodeProto, names: dict[str, str]) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    return copy
