"""The frame graph: head (camera bytes to pixels) + core + tail (logits to class ids)."""

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgeseg.frames import YuvKind
from edgeseg.graph.nodes import initializer, tensor_shape
from edgeseg.types import Array, PixelFormat, Size
from edgeseg.yuv import colours_of, rgb_from_yuv


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
        size = _smaller(network, spec.size)
        image, order = _rgb_from_yuv(head, image, spec, size), "rgb"
    else:
        size = spec.size
        image = head.add("Transpose", [image], "planes", perm=[0, 3, 1, 2])
        order = spec.pixel_format.value[:3]
    wanted = [order.index(channel) for channel in spec.order]
    channels = len(spec.pixel_format.frame_shape(spec.size))
    has_fourth = channels == 3 and spec.pixel_format in {PixelFormat.RGBA8, PixelFormat.BGRX8}
    if wanted != [0, 1, 2] or has_fourth:
        picked = head.constant("channel_order", np.array(wanted, np.int64))
        image = head.add("Gather", [image, picked], "ordered", axis=1)
    if size != network:
        image = head.resize(image, (1, 3, *network), "resized")
    gain = head.constant("pixel_gain", np.array(spec.gain, np.float32).reshape(1, 3, 1, 1))
    bias = head.constant("pixel_bias", np.array(spec.bias, np.float32).reshape(1, 3, 1, 1))
    scaled = head.add("Mul", [image, gain], "scaled")
    head.add("Add", [scaled, bias], "pixels")
    return head


def _rgb_from_yuv(head: _Nodes, flat: str, spec: FrameSpec, to: Size) -> str:
    """RGB planes (1, 3, *to) in 0..255 from 4:2:0 `flat` (1, 3H/2, W).

    Each pixel takes the chroma of its four. The planes are resized to the size `to` first, since
    colours are made faster of few pixels than of many.
    """
    height, width = spec.size
    at = {name: head.constant(f"yuv_{name}", np.array([value], np.int64)) for name, value in (
        ("zero", 0), ("rows", height), ("end", height * 3 // 2), ("axis", 1))}  # fmt: skip
    luma = head.add("Slice", [flat, at["zero"], at["rows"], at["axis"]], "luma_rows")
    chroma = head.add("Slice", [flat, at["rows"], at["end"], at["axis"]], "chroma_rows")
    one = head.constant("luma_shape", np.array([1, 1, height, width], np.int64))
    luma = head.add("Reshape", [luma, one], "luma")
    half = (height // 2, width // 2)
    if spec.pixel_format is PixelFormat.NV12:
        shape = head.constant("chroma_shape", np.array([1, *half, 2], np.int64))
        pairs = head.add("Reshape", [chroma, shape], "chroma_pairs")
        chroma = head.add("Transpose", [pairs], "chroma", perm=[0, 3, 1, 2])
    else:
        shape = head.constant("chroma_shape", np.array([1, 2, *half], np.int64))
        chroma = head.add("Reshape", [chroma, shape], "chroma")
    chroma = head.resize(chroma, (1, 2, *spec.size), "full_chroma", mode="nearest")
    yuv = head.add("Concat", [luma, chroma], "yuv", axis=1)
    if to != spec.size:
        yuv = head.resize(yuv, (1, 3, *to), "resized")
    colours = rgb_from_yuv(colours_of(spec.yuv))
    matrix = head.constant("yuv_matrix", colours.matrix.astype(np.float32).reshape(3, 3, 1, 1))
    offset = head.constant("yuv_offset", colours.offset.astype(np.float32))
    rgb = head.add("Conv", [yuv, matrix, offset], "rgb_unclipped")
    low = head.constant("byte_min", np.zeros((), np.float32))
    high = head.constant("byte_max", np.full((), 255, np.float32))
    return head.add("Clip", [rgb, low, high], "rgb")


def _smaller(one: Size, other: Size) -> Size:
    return min(one, other, key=lambda size: size.height * size.width)


def _classes(core: ModelProto) -> int:
    return int(tensor_shape(core.graph.output[0])[1] or 0)
