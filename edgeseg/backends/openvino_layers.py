"""The layers of an OpenVINO plan, from the graph that its CPU plugin runs."""

import io
from typing import Any

from openvino import Core

from edgeseg.backends.layers import Layer
from edgeseg.backends.plans import unpacked
from edgeseg.device.signals import handle_on_own_stack
from edgeseg.errors import EngineMismatch

NAMES = {"f32": "fp32", "f16": "fp16", "i8": "int8", "u8": "uint8", "i32": "int32", "i64": "int64"}
WEIGHTED = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul"})
"""They are INT8 too where what they read is never negative, and u8."""
BORDERS = frozenset({"Input", "Output", "Const"})


def layers(plan: bytes) -> list[Layer]:
    """The layers of `plan` in the order in which they run.

    Raises:
        EngineMismatch: OpenVINO does not take the plan.
    """
    _, blob = unpacked(plan)
    try:
        compiled = Core().import_model(io.BytesIO(blob), "CPU", {})
        handle_on_own_stack()
    except RuntimeError as error:
        raise EngineMismatch(
            "OpenVINO does not take this plan", fix="build the engine again"
        ) from error
    nodes = compiled.get_runtime_model().get_ordered_ops()
    return [layer for node in nodes if (layer := _layer(node)).kind not in BORDERS]


def _layer(node: Any) -> Layer:
    said = node.get_rt_info()

    def of(key: str) -> str:
        return str(said[key].astype(str)) if key in said else ""

    kind = of("layerType")
    precision = NAMES.get(of("runtimePrecision"), of("runtimePrecision"))
    if kind in WEIGHTED and precision == "uint8":
        precision = "int8"
    fused = of("originalLayersNames")
    return Layer(
        name=node.get_friendly_name(),
        kind=kind,
        precision=precision or None,
        output=" ".join(filter(None, (of("outputLayouts"), of("outputPrecisions")))),
        nodes=tuple(part for part in fused.split(",") if part),
        reformats=kind in {"Reorder", "Convert"},
    )
