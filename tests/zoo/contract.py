"""What every network of the zoo has to keep, measured on a narrow one and a small picture."""

import contextlib
import copy
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, NodeProto
from torch import nn

import edgeseg
from edgeseg.backends.floats import float_runner
from edgeseg.datasets import open_dataset
from edgeseg.graph.nodes import attribute, constants
from edgeseg.graph.simplify import fixed_core
from edgeseg.tables import pick
from edgeseg.types import Array, Size
from edgeseg.zoo import MODELS, build_network, resnet, variants_of, xception
from edgeseg.zoo.export import export_core
from edgeseg.zoo.initial import noise_pictures, random_weights
from edgeseg.zoo.training import save_weights
from tests.small import ANY_DROP, PLAIN, working_directory

CLASSES = 21
WIDTH = 0.0625
PICTURE = Size(96, 128)
ODD = Size(101, 139)
RESIDUAL_GAIN = 0.5
"""With a gain of 1 a hundred random layers double every rounding error, which trained ones do not:
logits of float32 and float64 would differ by 2e-4 in PyTorch alone."""
DEEP = (50, 101)
DEEP_BACKBONES = frozenset({"resnet50", "resnet101", "xception65"})
FEW_BLOCKS = (1, 2, 2, 3)
"""Of a ResNet's four layers: each of the last three may have a rate of its own."""
SLOW = [pytest.mark.slow]
IN_FLOAT32 = frozenset({"hdnet"})
"""Systems that compute a part in float32 whatever the rest is in."""
FLOAT16_MAX = 65504.0
QUICK_FORMS = frozenset(
    {"fcn32s-vgg16", "segnet-basic", "unet-compact", "deeplabv3plus-compact", "danet-resnet101",
     "attention-to-scale-compact", "hdnet-resnet50"}
)  # fmt: skip
"""One of each way to enlarge, to look at the whole picture, and to fuse."""

PARSED = frozenset(
    {"Abs", "Add", "And", "AveragePool", "Cast", "Clip", "Concat", "Conv", "ConvTranspose",
     "DepthToSpace", "Div", "Equal", "Exp", "Expand", "Flatten", "Gather", "Gemm",
     "GlobalAveragePool", "Greater", "HardSigmoid", "HardSwish", "Identity", "LRN", "LeakyRelu",
     "Less", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "Not", "Or", "Pad", "Pow",
     "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Resize",
     "Sigmoid", "Slice", "Softmax", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Tile",
     "Transpose", "Unsqueeze", "Where"}
)  # fmt: skip
"""Of the operators that TensorRT's ONNX parser supports (its docs/operators.md, TensorRT 8.6 to
10), those that a network may need; nothing that loops or has a shape that depends on values."""

RESIZES = frozenset({"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"})


class Small:
    """A narrow network of one row, with its engine in `folder`, quantised `without` some steps.

    With few blocks unless it is `whole`.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        pictures: Path,
        without: Sequence[str] = PLAIN,
        *,
        whole: bool = True,
    ) -> None:
        self.name, self.folder, self.pictures, self.without = name, folder, pictures, without
        self.blocks = contextlib.nullcontext if whole else few_blocks
        self.size = MODELS[name].sizes.nearest(PICTURE)

    @cached_property
    def network(self) -> nn.Module:
        """With weights that FP16 holds exactly, as files store them."""
        with self.blocks():
            network = lifelike(self.name, self.size, classes=CLASSES, width=WIDTH)
        with torch.no_grad():
            for value in network.state_dict().values():
                if value.is_floating_point():
                    value.copy_(value.half())
        return network.eval()  # where FCN looks again whether its kernels are bilinear

    @cached_property
    def engine(self) -> Path:
        """The folder of the INT8 engine, built from a file of the weights and its card."""
        file = self.folder / "weights.safetensors"
        save_weights(self.network, file)
        names = open_dataset("synthetic:val").labels.names
        labels = [*names, *(f"class {index}" for index in range(len(names), CLASSES))]
        card = {"labels": labels, "variant": {"width": WIDTH}}
        file.with_suffix(".json").write_text(json.dumps(card))
        with working_directory(self.folder), self.blocks():
            edgeseg.build(
                self.name,
                precision="int8",
                calibrate="folder:train",
                val="folder:val",
                class_map={name: [name] for name in names},
                root=self.pictures,
                size=self.size,
                weights=file,
                max_drop=ANY_DROP,
                min_agreement=0,
                out=self.folder / "engine",
                backend="openvino",
                without=self.without,
            ).close()
        return self.folder / "engine"


def lifelike(name: str, size: Size, **options: Any) -> nn.Module:
    """A network of row `name` with random weights that keep signal and rounding in bounds."""
    network = build_network(name, **options)
    random_weights(network, size, pixels=MODELS[name].pixels)
    with torch.no_grad():
        for last in _residual_ends(network):
            last.weight.mul_(RESIDUAL_GAIN)
    return network.eval()


def _residual_ends(network: nn.Module) -> Iterator[nn.BatchNorm2d]:
    """The last normalisation of each residual branch."""
    for block in network.modules():
        if hasattr(block, "downsample"):  # ResNet
            yield getattr(block, "bn3", None) or block.bn2
        elif hasattr(block, "shortcut") and hasattr(block, "convs"):  # Xception
            yield [m for m in block.convs[-1].modules() if isinstance(m, nn.BatchNorm2d)][-1]


@contextlib.contextmanager
def few_blocks() -> Iterator[None]:
    """Deep backbones repeat a block up to 23 times: within this, two or three times at most."""
    with pytest.MonkeyPatch.context() as patch:
        for depth in DEEP:
            patch.setitem(resnet.DEPTHS, depth, FEW_BLOCKS)
        patch.setattr(xception, "MIDDLE_BLOCKS", 2)
        yield


def rows() -> list[Any]:
    """(row, whether with all its blocks): few blocks and one row of each family in every run.

    The other rows, and all blocks, are where tests may be slow. Rows that differ only in how many
    blocks they have are the same with few, and stand there once.
    """
    families: set[str] = set()
    few = []
    for name in _first_of_each("depth"):
        family = MODELS[name].make.partition(":")[0]
        quick = family not in families
        families.add(family)
        few.append(pytest.param((name, False), id=name, marks=[] if quick else SLOW))
    deep = [name for name in MODELS if name.rpartition("-")[2] in DEEP_BACKBONES]
    return few + [pytest.param((name, True), id=f"{name}-whole", marks=SLOW) for name in deep]


def forms() -> list[Any]:
    """One row of each function and variant: depth and width change nothing in how it exports."""
    names = _first_of_each("depth", "width")
    return [pytest.param(name, marks=[] if name in QUICK_FORMS else SLOW) for name in names]


def _first_of_each(*but: str) -> list[str]:
    """One row of each function and variant; `but` these make no difference."""
    first: dict[tuple[Any, ...], str] = {}
    for name, row in MODELS.items():
        kept = {key: row.variant[key] for key in row.variant if key not in but}
        first.setdefault((row.make, *sorted(kept.items())), name)
    return list(first.values())


def other_options(name: str) -> dict[str, Any]:
    """Two classes, and the shallowest backbone that the network can have."""
    make = pick({name: MODELS[name].make}, name, kind="network")
    shallow = {"depth": 18} if "depth" in variants_of(make) else {}
    return {"classes": 2, "width": WIDTH, **shallow}


def core_of(network: nn.Module, size: Size) -> ModelProto:
    """The core as `build` makes it."""
    return fixed_core(onnx.load_model_from_string(export_core(network, size=size)), size)


def picture(name: str, size: Size, seed: int = 7) -> torch.Tensor:
    """A picture (1, 3, H, W) as the network reads it."""
    return noise_pictures(size, torch.Generator().manual_seed(seed), MODELS[name].pixels)[:1]


def both_logits(name: str, network: nn.Module, core: ModelProto, size: Size) -> tuple[Array, Array]:
    """Of PyTorch in float64 where it can, and of the core in float32 on a CPU."""
    pixels = picture(name, size)
    wide = torch.float32 if MODELS[name].system in IN_FLOAT32 else torch.float64
    with torch.no_grad():
        wanted = copy.deepcopy(network).to(wide)(pixels.to(wide)).numpy()
    run = float_runner(core.SerializeToString())
    return wanted, np.array(run({"pixels": pixels.numpy()})["logits"])


def largest_error(wanted: Array, found: Array) -> float:
    """Relative to the largest logit."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def argmax_agreement(wanted: Array, found: Array, *, tie: float = 1e-5) -> float:
    """The share of positions with the same best class, of those where it leads by `tie`.

    Relative to the largest logit, too.
    """
    second, best = np.sort(wanted, axis=1)[:, -2:].swapaxes(0, 1)
    decided = best - second > tie * np.abs(wanted).max()
    assert decided.mean() > 0.95
    return float((wanted.argmax(1) == found.argmax(1))[decided].mean())


def traps(model: ModelProto) -> list[str]:
    """Forms of allowed operators that TensorRT, FP16 or INT8 handle badly or not at all."""
    values = constants(model)
    return [
        f"{node.op_type} {node.name}: {why}"
        for node in model.graph.node
        for why in _traps_of(node, values)
    ] + [
        f"constant {name}: beyond FP16"
        for name, value in values.items()
        if value.dtype.kind == "f" and not np.all(np.abs(value) <= FLOAT16_MAX)
    ]


def _traps_of(node: NodeProto, values: dict[str, Array]) -> Iterator[str]:
    if node.op_type == "MaxPool" and len(node.output) > 1:
        yield "indices"
    if node.op_type in {"MaxPool", "AveragePool"}:
        if attribute(node, "ceil_mode", 0):
            yield "ceil mode"
        window: Any = attribute(node, "kernel_shape")
        strides: Any = attribute(node, "strides", [1, 1])
        if max(strides) == 1 and np.prod(window) > 49:
            yield f"a window of {window} at every place"
    if node.op_type == "Resize":
        mode = str(attribute(node, "coordinate_transformation_mode", b"half_pixel"), "ascii")  # type: ignore[arg-type]
        if mode not in RESIZES:
            yield mode
    if node.op_type == "ConvTranspose" and _is_bilinear(values.get(node.input[1])):
        yield "a bilinear kernel, which a Resize computes in a hundredth of the work"
    if node.op_type in {"Reshape", "Expand", "Slice", "Pad", "Tile"} and not all(
        name in values for name in node.input[1:] if name
    ):
        yield "a shape that is computed"


def _is_bilinear(weight: Array | None) -> bool:
    """Whether each channel is enlarged alone."""
    if weight is None or weight.shape[0] != weight.shape[1] or weight.shape[0] == 1:
        return False
    mixing = weight[~np.eye(len(weight), dtype=bool)]
    return not mixing.any()


def quantised_share(graph: Path) -> float:
    """The share of the convolutions whose inputs are dequantised."""
    model = onnx.load(graph)
    dequantised = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    convolutions = [n for n in model.graph.node if n.op_type in {"Conv", "ConvTranspose"}]
    return float(np.mean([set(n.input[:2]) <= dequantised for n in convolutions]))
