"""The frame graph: head (camera bytes to pixels) + core + tail (logits to class ids)."""

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgeseg.frames import YuvKind
from edgeseg.graph.nodes import initializer, tensor_shape
from edgeseg.types import Array, PixelFormat, Size
from edgeseg.yuv import Affine, colours_of, rgb_from_yuv


@dataclass(frozen=True, kw_only=True)
class FrameSpec:
    """What the head and the tail have to do."""

    size: Size
    """Of the camera's frame."""
    pixel_format: PixelFormat
    order: str
    """Of the channels that the core wants: "rgb" or "bgr"."""
    gain: tuple[float, float, float]
    """Per channel in that order: pixels = bytes * gain + bias."""
    bias: tuple[float, float, float]
    mask_size: Size
    """Of the labels."""
    yuv: YuvKind = "bt601-limited"
    """Matrix and range of NV12 and I420 frames."""


class _Nodes:
    """Nodes and initialisers in the making; each call adds one and returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, value: Array) -> str:
        self.constants.append(initializer(name, value))
        return name

    def add(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(
            helper.make_node(op, inputs, [output], name=f"{op}_{output}", **attributes)  # type: ignore[arg-type]
        )
        return output

    def reshape(self, source: str, to: tuple[int, ...], output: str) -> str:
        shape = self.constant(f"{output}_shape", np.array(to, np.int64))
        return self.add("Reshape", [source, shape], output)

    def resize(self, source: str, to: tuple[int, ...], output: str, *, mode: str = "linear") -> str:
        """Half-pixel bilinear, or nearest, to the shape (1, C, H, W)."""
        sizes = self.constant(f"{output}_sizes", np.array(to, np.int64))
        return self.add(
            "Resize",
            [source, "", "", sizes],
            output,
            mode=mode,
            coordinate_transformation_mode="half_pixel" if mode == "linear" else "asymmetric",
            nearest_mode="floor",
        )


def frame_graph(core: ModelProto, spec: FrameSpec) -> ModelProto:
    """`core` from uint8 `frame` to uint8 `labels` (1, H, W)."""
    model = logits_graph(core, spec)
    tail = _Nodes()
    low = tensor_shape(core.graph.output[0])
    source = "logits"
    if tuple(low[2:]) != tuple(spec.mask_size):
        source = tail.resize("logits", (1, _classes(core), *spec.mask_size), "full_logits")
    tail.add("ArgMax", [source], "ids", axis=1, keepdims=0)
    # TensorRT converts integers to uint8 only by way of a float.
    tail.add("Cast", ["ids"], "float_ids", to=TensorProto.FLOAT)
    tail.add("Cast", ["float_ids"], "labels", to=TensorProto.UINT8)
    model.graph.node.extend(tail.nodes)
    model.graph.initializer.extend(tail.constants)
    del model.graph.output[:]
    model.graph.output.append(
        helper.make_tensor_value_info("labels", TensorProto.UINT8, [1, *spec.mask_size])
    )
    return model


def logits_graph(core: ModelProto, spec: FrameSpec) -> ModelProto:
    """`core` from uint8 `frame` to float32 `logits`: the frame graph without its tail."""
    height, width = (int(dim) for dim in tensor_shape(core.graph.input[0])[2:] if dim)
    head = _head(spec, Size(height, width))
    model = ModelProto()
    model.CopyFrom(core)
    nodes = [*head.nodes, *model.graph.node]
    del model.graph.node[:], model.graph.input[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(head.constants)
    model.graph.input.append(
        helper.make_tensor_value_info(
            "frame", TensorProto.UINT8, [1, *spec.pixel_format.frame_shape(spec.size)]
        )
    )
    return model


def _head(spec: FrameSpec, network: Size) -> _Nodes:
    head = _Nodes()
    # The only reader of the uint8 input: TensorRT refuses any other.
    image = head.add("Cast", ["frame"], "bytes", to=TensorProto.FLOAT)
    if spec.pixel_format in {PixelFormat.NV12, PixelFormat.I420}:
        image = _levels_from_yuv(head, image, spec)
    else:
        image = _levels_from_packed(head, image, spec)
    if spec.size != network:
        image = head.resize(image, (1, 3, *network), "resized")
    gain = head.constant("pixel_gain", np.array(spec.gain, np.float32).reshape(1, 3, 1, 1))
    bias = head.constant("pixel_bias", np.array(spec.bias, np.float32).reshape(1, 3, 1, 1))
    scaled = head.add("Mul", [image, gain], "scaled")
    head.add("Add", [scaled, bias], "pixels")
    return head


def _levels_from_packed(head: _Nodes, image: str, spec: FrameSpec) -> str:
    """Planes (1, 3, H, W) in the core's order from pixels side by side (1, H, W, 3 or 4)."""
    planes = head.add("Transpose", [image], "planes", perm=[0, 3, 1, 2])
    order = spec.pixel_format.value[:3]
    wanted = [order.index(channel) for channel in spec.order]
    if wanted == [0, 1, 2] and spec.pixel_format in {PixelFormat.RGB8, PixelFormat.BGR8}:
        return planes
    picked = head.constant("channel_order", np.array(wanted, np.int64))
    return head.add("Gather", [planes, picked], "ordered", axis=1)


def _levels_from_yuv(head: _Nodes, flat: str, spec: FrameSpec) -> str:
    """Planes (1, 3, H, W) in the core's order from 4:2:0 `flat` (1, 3H/2, W).

    They hold whole levels of 0..255, each pixel with the chroma of its four: as a decoder gives
    that makes RGB, so that a network computes on the same numbers whoever made them.
    """
    height, width = spec.size
    colours = rgb_from_yuv(colours_of(spec.yuv))
    at = {name: head.constant(f"yuv_{name}", np.array([value], np.int64)) for name, value in (
        ("zero", 0), ("rows", height), ("end", height * 3 // 2), ("axis", 1))}  # fmt: skip
    luma = head.add("Slice", [flat, at["zero"], at["rows"], at["axis"]], "luma_rows")
    chroma = head.add("Slice", [flat, at["rows"], at["end"], at["axis"]], "chroma_rows")
    # Rows in pairs, since two have one row of chroma.
    luma = head.reshape(luma, (1, 1, height // 2, 2, width), "luma")
    gain = head.constant("luma_gain", np.array(colours.matrix[0, 0], np.float32))
    grey = head.add("Mul", [luma, gain], "grey")
    tint = _tint(head, _wide_chroma(head, chroma, spec), colours, spec.order)
    tint = head.reshape(tint, (1, 3, height // 2, 1, width), "tint_rows")
    levels = head.add("Add", [grey, tint], "levels_unclipped")
    low = head.constant("byte_min", np.zeros((), np.float32))
    high = head.constant("byte_max", np.full((), 255, np.float32))
    levels = head.add("Clip", [levels, low, high], "levels_unrounded")
    levels = head.add("Round", [levels], "levels_paired")
    return head.reshape(levels, (1, 3, height, width), "levels")


def _wide_chroma(head: _Nodes, rows: str, spec: FrameSpec) -> str:
    """Blue and red differences (1, 2, H/2, W), each twice in its row."""
    half = (spec.size.height // 2, spec.size.width // 2)
    if spec.pixel_format is PixelFormat.NV12:
        pairs = head.reshape(rows, (1, *half, 2), "chroma_pairs")
        chroma = head.add("Transpose", [pairs], "chroma", perm=[0, 3, 1, 2])
    else:
        chroma = head.reshape(rows, (1, 2, *half), "chroma")
    return head.resize(chroma, (1, 2, half[0], spec.size.width), "wide_chroma", mode="nearest")


def _tint(head: _Nodes, chroma: str, colours: Affine, order: str) -> str:
    """What `chroma` adds to grey, and the offset, (1, 3, H/2, W) in the `order` of channels.

    Plane by plane: a convolution of so few channels takes a CPU several times as long.
    """
    found = {}
    for index, name in enumerate(("blue", "red")):
        at = head.constant(f"{name}_index", np.array([index], np.int64))
        found[name] = head.add("Gather", [chroma, at], f"{name}_chroma", axis=1)
    tints = {}
    for channel, weights, offset in zip("rgb", colours.matrix, colours.offset, strict=True):
        tint = head.constant(f"{channel}_offset", np.array(offset, np.float32))
        for name, weight in zip(found, weights[1:], strict=True):
            if weight:
                factor = head.constant(f"{channel}_of_{name}", np.array(weight, np.float32))
                part = head.add("Mul", [found[name], factor], f"{channel}_by_{name}")
                tint = head.add("Add", [part, tint], f"{channel}_with_{name}")
        tints[channel] = tint
    return head.add("Concat", [tints[channel] for channel in order], "tint", axis=1)


def _classes(core: ModelProto) -> int:
    return int(tensor_shape(core.graph.output[0])[1] or 0)
