"""What TensorRT does not build: in its own words, with what to do about it."""

from __future__ import annotations

import re
import shlex

import tensorrt as trt

from edgeseg.backends.tensorrt.log import LOG
from edgeseg.errors import BuildError

WEIGHTED = frozenset({"CONVOLUTION", "DECONVOLUTION"})
"""Types of layers that `--keep-fp16` knows."""

_NO_KERNEL = re.compile(r"find any implementation for node (.+)", re.IGNORECASE)
_SCARCE = re.compile(r"insufficient workspace", re.IGNORECASE)
_JOINT = re.compile(r"\s\+\s|[\s.)]+$|\s+due to ")
"""What stands between the names of fused layers, and behind them."""


class Refusal(BuildError):
    """TensorRT does not take a graph; `lines` is what it says itself."""

    def __init__(self, problem: str, *, fix: str, lines: str) -> None:
        super().__init__(problem, fix=fix)
        self.lines = lines


def unbuilt(network: trt.INetworkDefinition, name: str, *, int8: bool) -> Refusal:
    """Why `network`, of the file `name`, became no plan: the last errors say it."""
    lines = LOG.last_errors()
    fix = "edgeseg lint FILE.onnx names what TensorRT does not take; --verbose shows its log"
    if _SCARCE.search(lines):
        fix = "a larger --workspace"
    elif layers := _without_kernel(network, lines) if int8 else []:
        kept = " ".join(f"--keep-fp16 {shlex.quote(layer)}" for layer in layers)
        fix = f"quantise the network again with {kept}, or give a larger --workspace"
    return Refusal(
        f"TensorRT {trt.__version__} cannot build {name}:\n{lines}", fix=fix, lines=lines
    )


def _without_kernel(network: trt.INetworkDefinition, lines: str) -> list[str]:
    """The layers with weights that `lines` say there is no kernel for."""
    told = {part for text in _NO_KERNEL.findall(lines) for part in _JOINT.split(text)}
    found = []
    for index in range(network.num_layers):
        layer: trt.ILayer = network.get_layer(index)
        if layer.type.name in WEIGHTED and layer.name in told:
            found.append(layer.name)
    return found
