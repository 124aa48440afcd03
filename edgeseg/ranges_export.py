"""Calibrated ranges in the forms that others read: DLA takes a calibration cache, not Q/DQ nodes.

A scale is the step of INT8: amax / 127. The tensors are those of `float.onnx`, the float core,
which is the graph that a DLA is given; head and tail of the frame graph stay on GPU or CPU.
"""

import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import EngineMismatch, InputFileError, UsageError
from edgeseg.files import write_whole
from edgeseg.manifest import check_files, read_manifest
from edgeseg.ranges import Range, Ranges, read_ranges, tensorrt_number
from edgeseg.tables import known, needs
from edgeseg.types import Precision

LEVELS = 127
SMALLEST_SCALE = 1e-8
"""Of a tensor that is zero throughout, as in the Q/DQ graph: TensorRT refuses a scale of 0."""
LISTED = 8
"""How many tensors an error names."""


@dataclass(frozen=True, kw_only=True)
class TensorScale:
    """The range of one activation, and its INT8 step."""

    min: float
    max: float
    amax: float
    scale: float
    method: str


@dataclass(frozen=True, kw_only=True)
class RangesExport:
    """The ranges of an engine, and what was made of them."""

    engine: str
    method: str
    pictures: int
    """How many they were calibrated with."""
    tensors: dict[str, TensorScale]
    """In the order of the graph, the input first."""
    format: str | None
    """A row of `FORMATS`; None for the ranges alone."""
    text: str | None
    """In that format."""
    file: Path | None
    """Where the text was written."""


def export_ranges(
    engine: str | Path,
    *,
    form: str | None = None,
    tensorrt_version: str | None = None,
    out: str | Path | None = None,
) -> RangesExport:
    """The ranges of every activation of the engine folder's core, in `form` where one is named.

    `form` "tensorrt-cache" needs `tensorrt_version` (X.Y.Z): TensorRT ignores the cache of another
    version. `out` is the file that the text goes to.

    Raises:
        UsageError: no such format, or options that do not belong together.
        EngineMismatch: no engine folder, an altered one, or one without ranges.
        InputFileError: ranges that do not cover the core.
        OutputError: `out` cannot be written.
    """
    write = None if form is None else FORMATS[known(FORMATS, form, kind="format")]
    if write is None and (out is not None or tensorrt_version is not None):
        raise UsageError(
            "a file or a TensorRT version was given, but no format",
            fix=f"--format {', --format '.join(FORMATS)}",
        )
    folder = Path(engine)
    ranges = _ranges_in(folder)
    scales = _scales(folder, ranges)
    steps = {name: item.scale for name, item in scales.items()}
    text = write(steps, tensorrt_version) if write else None
    file = Path(out) if out is not None else None
    if file is not None and text is not None:
        write_whole(file, text.encode())
    return RangesExport(
        engine=str(folder),
        method=ranges.method,
        pictures=ranges.count,
        tensors=scales,
        format=form,
        text=text,
        file=file,
    )


def scale_of(amax: float) -> float:
    """The INT8 step of a tensor whose magnitude `amax` 127 stands for."""
    return max(amax / LEVELS, SMALLEST_SCALE)


def tensorrt_cache(scales: Mapping[str, float], version: str | None) -> str:
    """The calibration cache that TensorRT `version` reads: a header, then `tensor: hex`.

    The hex digits are those of the scale as a big-endian IEEE 754 float32.
    """
    if version is None:
        raise UsageError(
            "a calibration cache is for one version of TensorRT, and none was given",
            fix="--tensorrt-version X.Y.Z, which tensorrt.__version__ says on the board",
        )
    lines = [f"TRT-{version_number(version)}-EntropyCalibration2"]
    for name, scale in scales.items():
        lines.append(f"{name}: {struct.pack('>f', scale).hex()}")
    return "\n".join(lines) + "\n"


def version_number(version: str) -> int:
    """NV_TENSORRT_VERSION of TensorRT `version`: 8602 of 8.6.2, 100300 of 10.3.0.

    Raises:
        UsageError: it is no X.Y.Z, or that version reads no calibration cache.
    """
    found = re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{1,2})(\.\d+)?", version.strip(), re.ASCII)
    if found is None:
        raise UsageError(
            f"{version!r} is no version of TensorRT",
            fix="X.Y.Z, such as 8.6.2 or 10.3.0: what tensorrt.__version__ says on the board",
        )
    major, minor, patch = (int(part) for part in found.groups()[:3])
    if major >= 11:
        raise UsageError(
            f"TensorRT {version} has no calibrators: they were removed in 11.0",
            fix="give it graph.onnx of the engine folder, whose Q/DQ nodes hold the same ranges; "
            "TensorRT 11.4 takes them on a DLA too",
        )
    if major not in {8, 10}:
        raise UsageError(
            f"TensorRT {version} is on no board that edgeseg builds for",
            fix="8.x (JetPack 5 and 6.0) or 10.x (JetPack 6.1 and later)",
        )
    return tensorrt_number(major, minor, patch)


FORMATS: dict[str, Callable[[Mapping[str, float], str | None], str]] = {
    "tensorrt-cache": tensorrt_cache,
}
"""Each makes the text of scales by tensor and a TensorRT version, if one was given."""


def _ranges_in(folder: Path) -> Ranges:
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    if manifest.precision is not Precision.INT8:
        raise EngineMismatch(
            f"{folder} was built in {manifest.precision.value}: it has no ranges",
            fix=f"edgeseg build {manifest.network} --int8 --calibrate DATA:SPLIT",
        )
    path = folder / "ranges.json"
    if not path.is_file():
        raise EngineMismatch(
            f"{folder} has no ranges of its own: its network came quantised",
            fix="build from the float network: edgeseg build FILE.onnx --int8 --calibrate DATA",
        )
    return read_ranges(path)


def _scales(folder: Path, ranges: Ranges) -> dict[str, TensorScale]:
    with needs("graph"):
        from edgeseg.graph.load import load_model
        from edgeseg.graph.tap import float_activations

    names = float_activations(load_model(folder / "float.onnx"))
    lacking = [name for name in names if name not in ranges.tensors]
    if lacking:
        listed = ", ".join(lacking[:LISTED]) + (", ..." if len(lacking) > LISTED else "")
        raise InputFileError(
            f"{folder / 'ranges.json'} covers {len(names) - len(lacking)} of the "
            f"{len(names)} activations; it lacks {listed}",
            fix=f"build it again: edgeseg build {folder / 'recipe.toml'} -o {folder}",
        )
    return {name: _scale(name, ranges.tensors[name], ranges.method) for name in names}


def _scale(name: str, item: Range, method: str) -> TensorScale:
    if not math.isfinite(item.amax) or item.amax < 0:
        raise InputFileError(
            f"the range of {name} is no range: amax is {item.amax}", fix="build the engine again"
        )
    return TensorScale(
        min=item.min,
        max=item.max,
        amax=item.amax,
        scale=scale_of(item.amax),
        method=item.method or method,
    )
