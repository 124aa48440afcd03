"""A tiny segmentation network in ONNX with seeded weights: every construct of the real ones."""

from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Head = Literal["logits", "softmax", "sigmoid"]
Array = np.ndarray

CLASSES = 5
SIZE = (48, 64)
"""(height, width) of the default network; its logits have a quarter of both."""

BALANCED = frozenset({"refine", "classifier"})
"""Convolutions whose weights sum to zero, so that no class wins everywhere."""


def tiny_core(
    size: tuple[int, int] = SIZE,
    *,
    classes: int = CLASSES,
    symbolic: bool = False,
    layout: Literal["nchw", "nhwc"] = "nchw",
    head: Head = "logits",
    opset: int = 17,
    seed: int = 0,
    names: tuple[str, str] = ("pixels", "logits"),
) -> ModelProto:
    """The network for pictures of `size`, or with open N, H and W; its logits have stride 4.

    Stem of stride 2 with Clip, depthwise convolution, residual block, image pooling behind
    ReduceMean and Expand, 1x1 convolutions, Concat, Resize to the low-level map, classifier.
    """
    net = _Net(opset, np.random.default_rng(seed))
    entry, last = names
    image = entry
    if layout == "nhwc":
        image = net.add("Transpose", [entry], "planes_nchw", perm=[0, 3, 1, 2])
    low = net.conv(image, "stem", 3, 16, kernel=3, stride=2, act="Clip")
    low = net.conv(low, "down", 16, 16, kernel=3, stride=2, group=16, act="Clip")
    low = net.conv(low, "project", 16, 16)
    inner = net.conv(low, "expand", 16, 32, act="Clip")
    inner = net.conv(inner, "depthwise", 32, 32, kernel=3, group=32, act="Clip")
    inner = net.conv(inner, "linear", 32, 16)
    low = net.add("Add", [low, inner], "residual")
    deep = net.conv(low, "deep", 16, 24, kernel=3, stride=2, act="Relu")
    local = net.conv(deep, "local", 24, 16, act="Relu")
    pooled = net.conv(net.mean(deep), "pooled", 24, 16, act="Relu")
    spread = net.add("Expand", [pooled, net.shape_like(local, 16, _part(size, 8), symbolic)], "far")
    context = net.add("Concat", [local, spread], "context", axis=1)
    context = net.conv(context, "fuse", 32, 16, act="Relu")
    context = net.resize(context, net.shape_like(low, 16, _part(size, 4), symbolic), "enlarged")
    detail = net.conv(low, "detail", 16, 8, act="Relu")
    both = net.add("Concat", [context, detail], "both", axis=1)
    both = net.conv(both, "refine", 24, 16, kernel=3, act="Relu")
    scores = net.conv(both, "classifier", 16, classes)
    if head != "logits":
        options = {"axis": 1} if head == "softmax" else {}
        scores = net.add(head.capitalize(), [scores], "probabilities", **options)
    if layout == "nhwc":
        scores = net.add("Transpose", [scores], "scores_nhwc", perm=[0, 2, 3, 1])
    net.nodes[-1].output[0] = last
    return net.model(
        _border(entry, 3, size, layout, symbolic, "height", "width"),
        _border(last, classes, _part(size, 4), layout, symbolic, "rows", "columns"),
    )


def small_graph(
    nodes: list[NodeProto],
    weights: dict[str, Array],
    *,
    shape: tuple[int, ...],
    out: tuple[int, ...],
    opset: int = 17,
) -> ModelProto:
    """A checked model from `pixels` to `logits`, both float32."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def picture(size: tuple[int, int] = SIZE, seed: int = 0) -> Array:
    """An RGB picture uint8 (H, W, 3) with large patches, gradients and noise."""
    rng = np.random.default_rng(seed)
    height, width = size
    patches = rng.integers(0, 256, (4, 6, 3))
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 6 // width
    ramp = np.linspace(-40, 40, width)[None, :, None]
    noisy = patches[rows][:, columns] + ramp + rng.normal(0, 12, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def pixels_of(image: Array) -> Array:
    """What the tiny network takes: float32 (1, 3, H, W), bytes / 64 - 2."""
    return np.ascontiguousarray((image.astype(np.float32) / 64 - 2).transpose(2, 0, 1)[None])


class _Net:
    """Nodes and weights in the making."""

    def __init__(self, opset: int, rng: np.random.Generator) -> None:
        self.opset, self.rng = opset, rng
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def constant(self, name: str, value: Array) -> str:
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def add(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        output = f"{name}_out"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def conv(
        self,
        source: str,
        name: str,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        group: int = 1,
        act: str = "",
    ) -> str:
        shape = (outputs, inputs // group, kernel, kernel)
        spread = np.sqrt(2.0 / np.prod(shape[1:]))
        values = self.rng.normal(0, spread, shape)
        if name in BALANCED:
            values -= values.mean((1, 2, 3), keepdims=True)
        weight = self.constant(f"{name}_weight", values.astype(np.float32))
        bias = self.constant(f"{name}_bias", self.rng.normal(0, 0.2, outputs).astype(np.float32))
        result = self.add(
            "Conv",
            [source, weight, bias],
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=group,
        )
        if act == "Clip":
            low = self.constant(f"{name}_low", np.zeros((), np.float32))
            high = self.constant(f"{name}_high", np.full((), 6, np.float32))
            return self.add("Clip", [result, low, high], f"{name}_clip")
        return self.add(act, [result], f"{name}_{act.lower()}") if act else result

    def mean(self, source: str) -> str:
        if self.opset < 18:
            return self.add("ReduceMean", [source], "mean", axes=[2, 3], keepdims=1)
        axes = self.constant("mean_axes", np.array([2, 3], np.int64))
        return self.add("ReduceMean", [source, axes], "mean", keepdims=1)

    def shape_like(self, source: str, channels: int, fixed: tuple[int, int], symbolic: bool) -> str:
        """The name of the shape (N, channels, rows and columns of `source`)."""
        if not symbolic:
            return self.constant(f"{source}_sizes", np.array([1, channels, *fixed], np.int64))
        whole = self.add("Shape", [source], f"{source}_shape")
        ends = {
            name: self.constant(f"{source}_{name}", np.array([value], np.int64))
            for name, value in {"zero": 0, "one": 1, "two": 2, "four": 4, "width": channels}.items()
        }
        batch = self.add("Slice", [whole, ends["zero"], ends["one"]], f"{source}_batch")
        plane = self.add("Slice", [whole, ends["two"], ends["four"]], f"{source}_plane")
        return self.add("Concat", [batch, ends["width"], plane], f"{source}_wanted", axis=0)

    def resize(self, source: str, sizes: str, name: str) -> str:
        unused = ["", ""]
        if self.opset < 13:  # roi and scales were no optional inputs yet
            unused = [self.constant(f"no_{what}", np.zeros(0, np.float32)) for what in ("a", "b")]
        return self.add("Resize", [source, *unused, sizes], name, mode="linear")

    def model(self, entry: onnx.ValueInfoProto, last: onnx.ValueInfoProto) -> ModelProto:
        graph = helper.make_graph(self.nodes, "tiny", [entry], [last], self.weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def _part(size: tuple[int, int], stride: int) -> tuple[int, int]:
    return (-(-size[0] // stride), -(-size[1] // stride))


def _border(
    name: str,
    channels: int,
    size: tuple[int, int],
    layout: str,
    symbolic: bool,
    rows: str,
    columns: str,
) -> onnx.ValueInfoProto:
    plane: list[int | str] = [rows, columns] if symbolic else [*size]
    batch: int | str = "batch" if symbolic else 1
    dims = [batch, channels, *plane] if layout == "nchw" else [batch, *plane, channels]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
