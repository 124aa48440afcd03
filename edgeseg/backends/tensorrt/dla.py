"""Builds for the DLA, the fixed-function core of some Orins: what runs on it, and what not."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from typing import NamedTuple

import tensorrt as trt

from edgeseg.backends.tensorrt.versions import (
    calibrate_from,
    compute_in_half,
    has_calibrators,
    prefer_layer_precisions,
    takes_qdq_on_dla,
)
from edgeseg.errors import BuildError, DeviceError, UsageError
from edgeseg.ranges import tensorrt_number
from edgeseg.types import CompileOptions, Precision

LISTED = 8
"""How many layers a message names."""
LARGEST_DIMENSION, LARGEST_BATCH = 8192, 4096

REASONS = {
    "CAST": "a DLA converts no types; the uint8 borders of the graph are the GPU's",
    "CONVOLUTION": "a kernel of at most 32, a stride of at most 8, and a scale for each tensor in "
    "INT8",
    "DECONVOLUTION": "no padding, no groups, no dilation, and a kernel of at most 22",
    "GATHER": "a DLA has no Gather",
    "MATRIX_MULTIPLY": "a DLA has no MatMul of two activations",
    "POOLING": "a window of at most 8",
    "REDUCE": "only sums and means over some axes",
    "RESIZE": "whole scales, 1 to 32 for nearest and 1 to 4 for linear",
    "SLICE": "FP16 only, on some boards",
    "SOFTMAX": "FP16 only, on Orin, along the channels",
    "TOPK": "a DLA has no ArgMax",
}
"""What a DLA wants of a layer, by its type; TensorRT itself gives no reason."""
QDQ = frozenset({"QUANTIZE", "DEQUANTIZE"})
FLOATS = frozenset({"FLOAT", "HALF"})

log = logging.getLogger(__name__)


class Layer(NamedTuple):
    """One layer of a network, and where it runs."""

    name: str
    kind: str
    """Of trt.LayerType."""
    on_dla: bool
    why: str
    """Why it runs on the GPU; "" on the DLA."""


def refuse_unfit(builder: trt.Builder, options: CompileOptions) -> None:
    """Raise where the board, this TensorRT or the options leave no way to the DLA.

    Raises:
        DeviceError: the board, or this TensorRT on it, has no DLA.
        UsageError: no such core, or options that a DLA does not go with.
    """
    cores = int(builder.num_DLA_cores)
    if cores == 0:
        raise DeviceError(
            f"TensorRT {trt.__version__} finds no DLA here",
            fix="leave --dla out: AGX Orin and Orin NX have DLAs, with JetPack 6 (and AGX Orin "
            "from 7.2.2 on); Orin Nano, Thor and other GPUs have none",
        )
    if options.dla not in range(cores):
        raise UsageError(
            f"there is no DLA core {options.dla}: this board has {cores}",
            fix=f"--dla {' or '.join(str(core) for core in range(cores))}",
        )
    if options.precision is Precision.FP32:
        raise UsageError("a DLA computes in INT8 and FP16 only", fix="add --int8 or --fp16")
    if not (has_calibrators() or takes_qdq_on_dla()):
        raise UsageError(
            f"TensorRT {trt.__version__} takes neither a calibration cache nor Q/DQ on a DLA",
            fix="use 8.6 to 10.7 (JetPack 6) or 11.4 and later (JetPack 7.2.2), or leave --dla out",
        )
    _refuse_without_scales(options)


def _refuse_without_scales(options: CompileOptions) -> None:
    if wants_cache(options) and options.calibration_cache is None:
        raise UsageError(
            f"a DLA takes its INT8 scales from a calibration cache in TensorRT {trt.__version__}, "
            "and there is none",
            fix="build from a network that edgeseg calibrates (--int8 --calibrate DATA:SPLIT)",
        )


def wants_cache(options: CompileOptions) -> bool:
    """Whether this build takes its scales from a calibration cache."""
    return options.dla is not None and options.precision is Precision.INT8 and has_calibrators()


def put_on_dla(config: trt.IBuilderConfig, options: CompileOptions) -> None:
    """Let layers run on the DLA by default, and on the GPU where that was allowed."""
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = options.dla
    if options.gpu_fallback:
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def prepare(
    network: trt.INetworkDefinition, config: trt.IBuilderConfig, options: CompileOptions
) -> object:
    """Tell a build how `network` goes to the DLA, and the log what does not.

    What it gives is to be kept until the build is over: the calibrator, where there is one.

    Raises:
        BuildError: a shape is left open, or layers need the GPU and that was not allowed.
    """
    refuse_open_shapes(network)
    calibrator: object = None
    if wants_cache(options) and options.calibration_cache is not None:
        calibrator = calibrate_from(config, with_header(options.calibration_cache))
        keep_out_of_int8(network, config, options.float_nodes)
    check_coverage(coverage(network, config), options)
    return calibrator


def keep_out_of_int8(
    network: trt.INetworkDefinition, config: trt.IBuilderConfig, names: Collection[str]
) -> None:
    """Let the layers of the nodes `names` compute in FP16, but for those of whole numbers."""
    prefer_layer_precisions(config)
    for index in range(network.num_layers):
        layer: trt.ILayer = network.get_layer(index)
        if layer.name in names and _is_float(layer):
            compute_in_half(layer)


def with_header(cache: bytes) -> bytes:
    """`cache` with the header of this TensorRT, which ignores a cache of any other version."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", trt.__version__)
    if found is None:
        return cache
    number = tensorrt_number(*(int(part) for part in found.groups()))
    first, _, scales = cache.partition(b"\n")
    if not first.startswith(b"TRT-"):
        raise UsageError(
            "the calibration cache does not start with TRT-", fix="build the engine again"
        )
    return b"TRT-%d-EntropyCalibration2\n%b" % (number, scales)


def coverage(network: trt.INetworkDefinition, config: trt.IBuilderConfig) -> list[Layer]:
    """Where each layer of `network` runs, as TensorRT says before the build."""
    layers = []
    for index in range(network.num_layers):
        layer: trt.ILayer = network.get_layer(index)
        kind: str = layer.type.name
        if kind == "CONSTANT":
            continue  # weights and shapes; they are part of the layers that read them
        on_dla = bool(config.can_run_on_DLA(layer))
        layers.append(Layer(layer.name, kind, on_dla, "" if on_dla else _why(layer, kind)))
    return layers


def check_coverage(layers: list[Layer], options: CompileOptions) -> None:
    """Say which layers run on the GPU and why.

    Raises:
        BuildError: some do, and that was not allowed.
    """
    away = [layer for layer in layers if not layer.on_dla]
    count = f"{len(layers) - len(away)} of {len(layers)} layers run on DLA {options.dla}"
    if away and not options.gpu_fallback:
        raise BuildError(
            f"only {count}; the others need the GPU:\n{_table(away)}", fix="add --gpu-fallback"
        )
    level = logging.WARNING if len(away) == len(layers) else logging.INFO
    log.log(level, "%s%s", count, f"; on the GPU:\n{_table(away)}" if away else "")


def refuse_open_shapes(network: trt.INetworkDefinition) -> None:
    """Raise BuildError where the shape of an input is left open."""
    for index in range(network.num_inputs):
        tensor: trt.ITensor = network.get_input(index)
        shape = shape_of(tensor)
        if any(size < 0 for size in shape):
            raise BuildError(
                f"a DLA takes fixed shapes, and the input {tensor.name} is {shape}",
                fix="build for one camera and one frame size, or leave --dla out",
            )


def shape_of(tensor: trt.ITensor) -> tuple[int, ...]:
    """The sizes of `tensor`, -1 where open; () where TensorRT does not know its rank."""
    try:
        return tuple(tensor.shape)
    except ValueError:  # it has a length of -1
        return ()


def _is_float(layer: trt.ILayer) -> bool:
    """Whether all that `layer` reads and gives is float: the type of nothing else can be chosen."""
    tensors = [layer.get_input(index) for index in range(layer.num_inputs)]
    tensors += [layer.get_output(index) for index in range(layer.num_outputs)]
    return all(tensor is None or tensor.dtype.name in FLOATS for tensor in tensors)


def _why(layer: trt.ILayer, kind: str) -> str:
    for index in range(layer.num_inputs):
        tensor: trt.ITensor = layer.get_input(index)
        shape = () if tensor is None else shape_of(tensor)
        if any(size > LARGEST_DIMENSION for size in shape) or (shape and shape[0] > LARGEST_BATCH):
            return f"{shape} is larger than a DLA takes"
    if kind in QDQ and has_calibrators():
        return "this DLA takes INT8 scales from a calibration cache, not from Q/DQ"
    return REASONS.get(kind, "a DLA has no such layer, or not with these inputs")


def _table(layers: list[Layer]) -> str:
    """A line for each type of layer, with the names of the first ones."""
    by_kind: dict[tuple[str, str], list[str]] = {}
    for layer in layers:
        by_kind.setdefault((layer.kind, layer.why), []).append(layer.name)
    lines = []
    for (kind, why), names in by_kind.items():
        listed = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
        lines.append(f"  {kind:<16} {len(names):>3}  {why}: {listed}")
    return "\n".join(lines)
