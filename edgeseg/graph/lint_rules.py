"""The rules that a graph is checked by: what each wants, and what TensorRT does where it is broken.

They are read off TensorRT's documentation and the source of its ONNX parser.
"""

from dataclasses import dataclass
from typing import Literal

from edgeseg.errors import UsageError

Severity = Literal["refused", "slower", "accuracy"]
Version = tuple[int, int]

WIDE_TARGET: Version = (8, 6)
"""What a graph is checked for unless told: the oldest TensorRT that takes the wide dialect."""
TYPED_TARGET: Version = (10, 0)
"""The same for the typed dialect, which no older one parses."""
OLDEST: Version = (8, 5)

NEWEST_OPSETS: dict[Version, int] = {
    (8, 5): 17,
    (9, 0): 19,
    (10, 0): 20,
    (10, 6): 22,
    (10, 15): 24,
    (11, 5): 25,
}
"""The newest opset that each TensorRT parses, by the version that first did."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One node that breaks one rule."""

    node: str
    id: str
    """Of the rule, the same in every release."""
    rule: str
    """What should be so."""
    cost: str
    """What TensorRT does instead."""
    severity: Severity


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One line of the table below; texts may have places for details in braces."""

    severity: Severity
    text: str
    cost: str


RULES: dict[str, Rule] = {
    "uint8-input": Rule(
        severity="refused",
        text="a uint8 input feeds one Cast to float and nothing else",
        cost="refused: bytes are read by a Cast alone",
    ),
    "uint8-output": Rule(
        severity="refused",
        text="uint8 is cast from a float, never from an integer",
        cost="refused: bytes are made of FP32 and FP16 only",
    ),
    "uint8-inside": Rule(
        severity="refused",
        text="uint8 is the type of inputs and outputs only",
        cost="refused: no layer computes with bytes",
    ),
    "opset": Rule(
        severity="refused",
        text="opset {newest} is the newest of TensorRT {tensorrt} (here {opset})",
        cost="refused: an operator in an unknown form",
    ),
    "operator": Rule(
        severity="refused",
        text="operators are those of TensorRT's parser (here {op})",
        cost="refused: no layer does it",
    ),
    "operator-form": Rule(
        severity="refused",
        text="operators are used in a form that TensorRT has (here {what} of {op})",
        cost="refused: no layer does that",
    ),
    "foreign-operator": Rule(
        severity="refused",
        text="operators are those of the ONNX standard (here {op} of {domain})",
        cost="refused unless a plugin of that name is loaded",
    ),
    "pool-indices": Rule(
        severity="refused",
        text="a MaxPool gives no Indices",
        cost="refused: its second output does not exist",
    ),
    "integer-operator": Rule(
        severity="refused",
        text="INT8 is written as Q/DQ around float operators (here {op})",
        cost="refused: no integer operator is parsed",
    ),
    "scale-constant": Rule(
        severity="refused",
        text="scales are constants",
        cost="refused: a scale must be known when the engine is built",
    ),
    "scale-positive": Rule(
        severity="refused",
        text="scales are positive and finite",
        cost="refused: such a scale means nothing",
    ),
    "scale-fp16": Rule(
        severity="refused",
        text="FP16 scales need opset 19 and TensorRT 10",
        cost="refused: scales are FP32 in this opset or version",
    ),
    "zero-point-type": Rule(
        severity="refused",
        text="zero points are int8 (here {kind})",
        cost="refused, or read as INT8, which ends at 127",
    ),
    "zero-point-missing": Rule(
        severity="refused",
        text="zero points are given: without one ONNX means uint8",
        cost="refused: three inputs are expected",
    ),
    "zero-point-guessed": Rule(
        severity="accuracy",
        text="zero points are given: without one ONNX means uint8",
        cost="read as INT8: what lies above 127 is cut off",
    ),
    "zero-point-constant": Rule(
        severity="refused",
        text="zero points are constants",
        cost="refused: a zero point must be known when the engine is built",
    ),
    "zero-point-zero": Rule(
        severity="refused",
        text="zero points are 0",
        cost="refused: quantisation is symmetric",
    ),
    "activation-scale": Rule(
        severity="refused",
        text="an activation has one scale (here {count})",
        cost="refused: only weights have a scale for each channel",
    ),
    "weight-axis": Rule(
        severity="refused",
        text="the scales of a {op} weight lie on axis {axis} (here {found})",
        cost="refused: no INT8 kernel scales another axis",
    ),
    "weight-scale": Rule(
        severity="accuracy",
        text="the weight of a Conv has a scale for each output channel",
        cost="one scale for all: channels with small weights lose their bits",
    ),
    "bias": Rule(
        severity="refused",
        text="the bias is not quantised",
        cost="refused: INT32 is never dequantised, and the bias stays float",
    ),
    "grouped-deconvolution": Rule(
        severity="refused",
        text="a ConvTranspose in groups is not quantised",
        cost="refused before 10.9: no INT8 kernel does it",
    ),
    "lone-dequantize": Rule(
        severity="refused",
        text="a DequantizeLinear reads a QuantizeLinear or a constant",
        cost="refused: INT8 comes from nothing but quantisation",
    ),
    "lone-quantize": Rule(
        severity="refused",
        text="a QuantizeLinear is read by DequantizeLinear only",
        cost="refused: no layer is written for bare INT8",
    ),
    "one-input": Rule(
        severity="slower",
        text="both inputs of a weighted layer are quantised, or none (here the {which})",
        cost="runs in float, and the Q/DQ is extra work",
    ),
    "activation": Rule(
        severity="slower",
        text="no Q/DQ between convolution and activation",
        cost="one kernel more: the activation is not fused",
    ),
    "add-branch": Rule(
        severity="slower",
        text="only the residual input of an Add is quantised",
        cost="one kernel more: the Add is not fused into its convolution",
    ),
    "some-inputs": Rule(
        severity="slower",
        text="all inputs of a {op} are quantised, or none",
        cost="runs in float behind a reformat of the others",
    ),
    "concat-scales": Rule(
        severity="slower",
        text="the quantised inputs of a Concat share one scale",
        cost="one kernel more for each input that is scaled anew",
    ),
    "float-output": Rule(
        severity="slower",
        text="a {op} that reads INT8 is quantised again behind it",
        cost="runs in float, and the Q/DQ is extra work",
    ),
    "resize": Rule(
        severity="slower",
        text="a linear or cubic Resize is left unquantised",
        cost="a reformat before it, and values rounded that were exact",
    ),
    "double": Rule(
        severity="slower",
        text="no Q/DQ directly behind another",
        cost="one kernel more, which rounds a second time",
    ),
    "softmax": Rule(
        severity="accuracy",
        text="Softmax is left unquantised",
        cost="small differences of scores are rounded away before the exponential",
    ),
    "float32": Rule(
        severity="slower",
        text="what is outside Q/DQ is FP16 in the graph",
        cost="runs in FP32: TensorRT {tensorrt} has no FP16 flag",
    ),
}
"""By the id of the rule."""


def finding(rule: str, node: str, **details: object) -> Finding:
    """That `node` breaks the rule with the id `rule`."""
    found = RULES[rule]
    return Finding(
        node=node,
        id=rule,
        rule=found.text.format(**details),
        cost=found.cost.format(**details),
        severity=found.severity,
    )


def version_from_text(text: str) -> Version:
    """Major and minor of "8.6", "10.3.0" or "11".

    Raises:
        UsageError: no version, or one that is too old for uint8 frames.
    """
    parts = text.strip().split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(
            f"{text!r} is no version of TensorRT", fix="give one such as 8.6, 10.3 or 11.4"
        )
    version = (int(parts[0]), int(parts[1]) if len(parts) > 1 else 0)
    if len(parts) == 1 and version[0] == OLDEST[0]:
        raise UsageError("TensorRT 8 is several versions", fix="give 8.5 or 8.6")
    if version < OLDEST:
        raise UsageError(
            f"TensorRT {text} takes no uint8 frames",
            fix=f"{text_of(OLDEST)} is the oldest that can be checked for",
        )
    return version


def text_of(version: Version) -> str:
    """Such as "8.6"."""
    return f"{version[0]}.{version[1]}"


def newest_opset(version: Version) -> int:
    """The newest opset that TensorRT `version` parses."""
    return max(opset for first, opset in NEWEST_OPSETS.items() if first <= version)
