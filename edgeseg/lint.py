"""Hold an ONNX file against TensorRT's rules: what it would refuse, and where INT8 is lost."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgeseg.errors import InputFileError
from edgeseg.graph.lint_rules import Finding, Severity, text_of, version_from_text
from edgeseg.tables import needs

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgeseg.graph.lint import Examination

WORST_FIRST: tuple[Severity, ...] = ("refused", "accuracy", "slower")


@dataclass(frozen=True, kw_only=True)
class LintReport:
    """What was found in one file."""

    file: str
    opset: int
    tensorrt: str
    """The version whose rules were applied, such as "8.6"."""
    quantization: Literal["none", "qdq", "operators"]
    """How INT8 is written: not at all, as Q/DQ, or as integer operators."""
    macs: int | None
    """None where a size is open."""
    macs_int8: int | None
    """Of the layers whose both inputs are quantised."""
    refused: int
    accuracy: int
    slower: int
    """How many findings there are of each severity."""
    verdict: str
    """All this in one line."""
    findings: list[Finding]
    """The worst first, then in the order of the graph."""


def lint(path: str | Path, *, tensorrt: str | None = None) -> LintReport:
    """What breaks a rule of TensorRT in the ONNX file at `path`.

    Without `tensorrt` the oldest version that takes the dialect of the graph is meant: 8.6 for
    float32 outside Q/DQ, 10.0 for FP16 there.

    Raises:
        InputFileError: no readable ONNX file.
        UsageError: `tensorrt` is no version, or older than any that can be checked for.
    """
    version = version_from_text(tensorrt) if tensorrt is not None else None
    with needs("graph"):
        from edgeseg.graph.lint import examined

    found = examined(_read(Path(path)), version)
    counts = {kind: sum(f.severity == kind for f in found.findings) for kind in WORST_FIRST}
    return LintReport(
        file=str(path),
        opset=found.opset,
        tensorrt=text_of(found.tensorrt),
        quantization=found.quantization,
        macs=found.share.macs if found.share else None,
        macs_int8=found.share.macs_int8 if found.share else None,
        refused=counts["refused"],
        accuracy=counts["accuracy"],
        slower=counts["slower"],
        verdict=f"{_what_it_is(found)}; {_what_happens(counts, text_of(found.tensorrt))}",
        findings=sorted(found.findings, key=lambda item: WORST_FIRST.index(item.severity)),
    )


def _read(path: Path) -> "ModelProto":
    with needs("graph"):
        from onnx import inliner

        from edgeseg.graph.load import load_model
    if path.is_dir():
        graph = path / "graph.onnx"
        raise InputFileError(
            f"{path} is a folder, not an ONNX file",
            fix=f"give {graph}" if graph.is_file() else "give an ONNX file",
        )
    model = load_model(path)
    return inliner.inline_local_functions(model) if model.functions else model


def _what_it_is(found: "Examination") -> str:
    if found.quantization == "none":
        return "not quantised"
    if found.quantization == "operators":
        return "quantised by integer operators"
    if not found.share or not found.share.macs:
        return "quantised"
    return f"{100 * found.share.macs_int8 / found.share.macs:.1f} % of the MACs are INT8"


def _what_happens(counts: dict[Severity, int], tensorrt: str) -> str:
    if not any(counts.values()):
        return f"no rule of TensorRT {tensorrt} is broken"
    kinds = {"refused": "refused", "accuracy": "at the cost of accuracy", "slower": "slower"}
    listed = ", ".join(f"{counts[kind]} {kinds[kind]}" for kind in WORST_FIRST if counts[kind])
    verb = "refuses it" if counts["refused"] else "takes it"
    return f"TensorRT {tensorrt} {verb}: {listed}"
